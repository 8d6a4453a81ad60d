//! Skills (`io.modelcontextprotocol/skills`): directories of files that a client reads as resources
//! and gives to its model. What a toolset hands out are texts; their digests, the manifest and the
//! directories follow from these. It must not know which skills there are.

use rmcp::model::{
    Resource, ResourceContents, SKILL_MD, Skill, SkillFrontmatter, SkillResource, SkillResources,
};
use std::collections::BTreeMap;

/// How a directory among resources is typed.
pub const DIRECTORY: &str = "inode/directory";

const MARKDOWN: &str = "text/markdown";

/// One file of a skill, besides its `SKILL.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is, below the skill's directory: `references/units.md`.
    pub path: String,
    /// What it says.
    pub text: String,
    /// What kind of text that is.
    pub mime_type: String,
}

/// One skill and its files.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The URI of its directory, without a slash at the end.
    root: String,
    entry: Skill,
    files: Vec<File>,
}

impl Bundle {
    /// A skill of this name, which is lower-case letters, digits and single hyphens (Agent Skills:
    /// at most 64). `body` is what its `SKILL.md` says after the front matter.
    #[must_use]
    pub fn new(name: &str, description: &str, body: &str, files: Vec<File>) -> Self {
        let root = format!("skill://{name}");
        // A text of JSON is one of YAML, however it has to be escaped.
        let quoted = serde_json::Value::from(description);
        let text = format!("---\nname: {name}\ndescription: {quoted}\n---\n\n{body}");
        let manifest = File { path: SKILL_MD.to_owned(), text, mime_type: MARKDOWN.to_owned() };
        let files: Vec<File> = std::iter::once(manifest).chain(files).collect();
        let uri = |file: &File| format!("{root}/{}", file.path);
        let resources =
            files.iter().map(|file| SkillResource::from_bytes(uri(file), file.text.as_bytes()));
        let resources = SkillResources::Files(resources.collect());
        let frontmatter = SkillFrontmatter::new(name, description);
        let entry = Skill::new(format!("{root}/{SKILL_MD}"), frontmatter, resources);
        Self { root, entry, files }
    }

    /// A skill at a URI with nothing in it.
    #[must_use]
    pub fn nothing(uri: String) -> Skill {
        let name = uri.rsplit('/').nth(1).unwrap_or_default().to_owned();
        let file = SkillResource::from_bytes(uri.clone(), b"");
        let files = SkillResources::Files(vec![file]);
        Skill::new(uri, SkillFrontmatter::new(name, "nothing"), files)
    }

    /// The skill, as `skills/list` and `skills/get` show it.
    #[must_use]
    pub const fn entry(&self) -> &Skill {
        &self.entry
    }

    /// Its `SKILL.md`, as `resources/list` shows it.
    #[must_use]
    pub fn manifest(&self) -> Resource {
        Resource::new(self.entry.uri.clone(), self.entry.frontmatter.name.clone())
            .with_description(self.entry.frontmatter.description.clone())
            .with_mime_type(MARKDOWN)
    }

    /// One of its files; `None` for any other URI.
    #[must_use]
    pub fn read(&self, uri: &str) -> Option<ResourceContents> {
        let path = self.below(uri)?;
        let file = self.files.iter().find(|file| file.path == path)?;
        Some(ResourceContents::text(&*file.text, uri).with_mime_type(&*file.mime_type))
    }

    /// What is in one of its directories, by name; `None` for any other URI.
    #[must_use]
    pub fn directory(&self, uri: &str) -> Option<Vec<Resource>> {
        let uri = uri.strip_suffix('/').unwrap_or(uri);
        let inside = match self.below(uri) {
            Some(path) => format!("{path}/"),
            None if uri == self.root => String::new(),
            None => return None,
        };
        let mut children = BTreeMap::new();
        for file in &self.files {
            let Some(rest) = file.path.strip_prefix(&inside) else {
                continue;
            };
            let (name, mime_type) = match rest.split_once('/') {
                Some((directory, _)) => (directory, DIRECTORY),
                None => (rest, &*file.mime_type),
            };
            let child = Resource::new(format!("{uri}/{name}"), name).with_mime_type(mime_type);
            children.insert(name, child);
        }
        if children.is_empty() { None } else { Some(children.into_values().collect()) }
    }

    /// The path of a URI below this skill's directory.
    fn below<'a>(&self, uri: &'a str) -> Option<&'a str> {
        uri.strip_prefix(&*self.root)?.strip_prefix('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        let file = |path: &str| File {
            path: path.to_owned(),
            text: format!("this is {path}"),
            mime_type: MARKDOWN.to_owned(),
        };
        let files = vec![file("references/units.md"), file("references/deep/er.md")];
        Bundle::new("to-measure", "Says \"how\": exactly\n# so", "Measure twice.", files)
    }

    #[test]
    fn a_skill_lists_every_file_with_its_digest() {
        let bundle = bundle();
        bundle.entry().validate().unwrap();
        let SkillResources::Files(files) = &bundle.entry().resources else {
            panic!("a manifest");
        };
        assert_eq!(files.len(), 3);
        for file in files {
            let Some(ResourceContents::TextResourceContents { text, .. }) = bundle.read(&file.uri)
            else {
                panic!("{} is not there", file.uri);
            };
            file.verify(text.as_bytes()).unwrap();
        }
        for uri in ["skill://to-measure", "skill://to-measure/", "skill://to-measured/SKILL.md", ""]
        {
            assert_eq!(bundle.read(uri), None, "{uri}");
        }
    }

    #[test]
    fn the_front_matter_is_what_the_entry_says() {
        let read = bundle().read("skill://to-measure/SKILL.md");
        let Some(ResourceContents::TextResourceContents { text, .. }) = read else {
            panic!("no text");
        };
        let expected = "---\nname: to-measure\ndescription: \"Says \\\"how\\\": exactly\\n# so\"\n\
            ---\n\nMeasure twice.";
        assert_eq!(text, expected);
        assert_eq!(bundle().manifest().name, "to-measure");
    }

    #[test]
    fn directories_have_their_direct_children_only() {
        let bundle = bundle();
        let names = |uri: &str| {
            let children = bundle.directory(uri)?;
            Some(children.iter().map(|c| (c.uri.clone(), c.mime_type.clone().unwrap())).collect())
        };
        let pair = |uri: &str, kind: &str| (format!("skill://to-measure/{uri}"), kind.to_owned());
        let root = Some(vec![pair("SKILL.md", MARKDOWN), pair("references", DIRECTORY)]);
        assert_eq!(names("skill://to-measure"), root);
        assert_eq!(names("skill://to-measure/"), root);
        let inner = vec![pair("references/deep", DIRECTORY), pair("references/units.md", MARKDOWN)];
        assert_eq!(names("skill://to-measure/references"), Some(inner));
        for uri in ["", "skill://to", "skill://to-measure/SKILL.md", "skill://to-measure/ref"] {
            assert_eq!(names(uri), None, "{uri}");
        }
    }
}
