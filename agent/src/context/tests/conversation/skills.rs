//! Skills, as clients of both eras read them. It must not know tasks.

use super::*;

const ROOT: &str = "skill://measuring";

#[test]
fn a_skill_is_listed_read_and_walked() {
    for world in [modern(), world()] {
        let is_modern = world.revision == hop::MODERN_REVISION;
        let ask = |method: &str, params: Value| world.json(1, method, params).1["result"].take();
        let list = ask("skills/list", json!({}));
        let skill = &list["skills"][0];
        assert_eq!(skill["uri"], format!("{ROOT}/SKILL.md"));
        assert_eq!(skill["frontmatter"]["name"], "measuring");
        assert_eq!(skill["resources"].as_array().unwrap().len(), 2);
        let one = ask("skills/get", json!({ "uri": format!("{ROOT}/SKILL.md") }));
        assert_eq!(one["skill"], *skill);
        assert!(one.get("nextCursor").is_none());
        let directory = ask("resources/directory/read", json!({ "uri": ROOT }));
        let children = directory["resources"].as_array().unwrap();
        assert_eq!(children.len(), 2);
        assert_eq!(children[1]["mimeType"], "inode/directory");
        for result in [&list, &one, &directory] {
            for key in ["resultType", "ttlMs", "cacheScope", "_meta"] {
                assert_eq!(result.get(key).is_some(), is_modern, "{key} in {result}");
            }
        }
        let file = children[0]["uri"].clone();
        let read = ask("resources/read", json!({ "uri": file }));
        assert_eq!(read["contents"][0]["mimeType"], "text/markdown");
        let listed = ask("resources/list", json!({}));
        let listed = listed["resources"].as_array().unwrap();
        let manifest = listed.iter().find(|r| r["uri"] == file).unwrap();
        assert_eq!(manifest["name"], "measuring");
        assert_eq!(manifest["description"], skill["frontmatter"]["description"]);
        assert_eq!(manifest["mimeType"], "text/markdown");
    }
}

#[test]
fn what_is_no_skill_or_no_directory_is_told_so() {
    let world = modern();
    for (method, params, code) in [
        // A cursor of another list.
        ("resources/directory/read", json!({ "uri": ROOT, "cursor": "MS4w" }), -32602),
        ("skills/get", json!({ "uri": "skill://nothing/SKILL.md" }), -32602),
        ("skills/get", json!({ "uri": ROOT }), -32602),
        ("skills/get", json!({}), -32602),
        ("skills/list", json!({ "cursor": "?" }), -32602),
        ("resources/directory/read", json!({ "uri": format!("{ROOT}/SKILL.md") }), -32602),
        ("resources/directory/read", json!({ "uri": "skill://nothing" }), -32602),
        ("resources/directory/read", json!({ "uri": 5 }), -32602),
    ] {
        let (_, body) = world.json(1, method, params);
        assert_eq!(body["error"]["code"], code, "{method}: {body}");
    }
}

#[test]
fn the_extension_is_declared_where_there_are_skills() {
    let world = modern();
    let (_, body) = world.json(1, "server/discover", json!({}));
    let extensions = &body["result"]["capabilities"]["extensions"];
    assert_eq!(extensions["io.modelcontextprotocol/skills"], json!({ "directoryRead": true }));
    let still = Rc::new(Still::default());
    let database = Rc::new(Embedded::in_memory());
    let platform = Rc::clone(&still) as Rc<dyn Platform>;
    let context = Context::new(Rc::new(Config::default()), database.clone(), platform);
    let plain = World { context, still, database, ..modern() };
    let (_, body) = plain.json(1, "server/discover", json!({}));
    assert!(body["result"]["capabilities"].get("extensions").is_none(), "{body}");
    for method in ["skills/list", "tasks/get"] {
        let (status, body) = plain.json(1, method, json!({ "taskId": "x" }));
        assert_eq!((status, &body["error"]["code"]), (404, &json!(-32601)), "{method}");
    }
}
