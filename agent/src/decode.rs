//! Turns one JSON-RPC request, as the client wrote it, into `rmcp`'s typed request. By the method's
//! name, so that a known method with bad parameters is told which of them is bad instead of being
//! taken for an unknown method. It must not know what any method does.

use rmcp::model::{
    CallToolRequest, CancelTaskRequest, ClientRequest, CompleteRequest, CustomRequest,
    DiscoverRequest, ErrorData, Extensions, GetPromptRequest, GetSkillRequest, GetTaskRequest,
    InitializeRequest, ListPromptsRequest, ListResourceTemplatesRequest, ListResourcesRequest,
    ListSkillsRequest, ListToolsRequest, ReadResourceDirectoryRequest, ReadResourceRequest,
    RequestId, RequestMetaObject, UpdateTaskRequest,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

/// A typed request and the id to answer it with.
#[derive(Debug)]
pub struct Request {
    /// The client's id.
    pub id: RequestId,
    /// The request, its `_meta` in its extensions where `rmcp` looks for it.
    pub request: ClientRequest,
}

/// A request that is none, with the id to say so, where there is one.
#[derive(Debug)]
pub struct Undecodable {
    /// The client's id.
    pub id: Option<RequestId>,
    /// The method it named.
    pub method: String,
    /// What to answer.
    pub error: ErrorData,
}

#[derive(Deserialize)]
struct Written<'a> {
    id: RequestId,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// A request of our own, by a method that no client can name.
#[must_use]
pub fn own(method: &str) -> Request {
    let request = ClientRequest::CustomRequest(CustomRequest::new(method, None));
    Request { id: RequestId::Number(0), request }
}

/// Reads one request of an era.
///
/// # Errors
/// [`Undecodable`]: -32600 for what is no request, -32601 for a method that is unknown or of the
/// other era, -32602 for parameters that do not fit their method.
pub fn decode(message: &str, modern: bool) -> Result<Request, Undecodable> {
    let written: Written<'_> = serde_json::from_str(message).map_err(|error| Undecodable {
        id: None,
        method: String::new(),
        error: ErrorData::invalid_request(format!("not a JSON-RPC request: {error}"), None),
    })?;
    match request(&written.method, written.params, modern) {
        Ok(request) => Ok(Request { id: written.id, request }),
        Err(error) => {
            let method = written.method.into_owned();
            Err(Undecodable { id: Some(written.id), method, error })
        }
    }
}

fn request(method: &str, raw: Option<&RawValue>, modern: bool) -> Result<ClientRequest, ErrorData> {
    let (params, meta) = split(method, raw)?;
    // One line per method that an Agent serves.
    let mut request = match method {
        "tools/call" => CallToolRequest::new(read(method, params)?).into(),
        "tools/list" => optional(ListToolsRequest::default(), method, params, raw)?,
        "resources/list" => optional(ListResourcesRequest::default(), method, params, raw)?,
        "resources/templates/list" => {
            optional(ListResourceTemplatesRequest::default(), method, params, raw)?
        }
        "resources/read" => ReadResourceRequest::new(read(method, params)?).into(),
        "prompts/list" => optional(ListPromptsRequest::default(), method, params, raw)?,
        "prompts/get" => GetPromptRequest::new(read(method, params)?).into(),
        "completion/complete" => CompleteRequest::new(read(method, params)?).into(),
        "initialize" if !modern => InitializeRequest::new(read(method, params)?).into(),
        "server/discover" if modern => DiscoverRequest::new(read(method, params)?).into(),
        "tasks/get" if modern => GetTaskRequest::new(read(method, params)?).into(),
        "tasks/update" if modern => UpdateTaskRequest::new(read(method, params)?).into(),
        "tasks/cancel" if modern => CancelTaskRequest::new(read(method, params)?).into(),
        "skills/list" => optional(ListSkillsRequest::default(), method, params, raw)?,
        "skills/get" => GetSkillRequest::new(read(method, params)?).into(),
        "resources/directory/read" => {
            ReadResourceDirectoryRequest::new(read(method, params)?).into()
        }
        _ => {
            return Err(ErrorData::new(
                rmcp::model::ErrorCode::METHOD_NOT_FOUND,
                format!("there is no method {}", shared::error::shown(method)),
                None,
            ));
        }
    };
    set_meta(&mut request, meta);
    Ok(request)
}

/// Parameters and their `_meta`, apart.
fn split(
    method: &str,
    raw: Option<&RawValue>,
) -> Result<(Value, Option<RequestMetaObject>), ErrorData> {
    let mut params = match raw {
        None => Value::Object(serde_json::Map::new()),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|error| unfit(method, &error))?,
    };
    let Some(object) = params.as_object_mut() else {
        return Err(ErrorData::invalid_params(
            format!("the params of {method} must be an object"),
            None,
        ));
    };
    let Some(meta) = object.remove("_meta") else {
        return Ok((params, None));
    };
    let token = meta.get("progressToken");
    if token.is_some_and(|token| !token.is_string() && !token.is_i64() && !token.is_u64()) {
        let text = "`_meta.progressToken` must be a string or an integer";
        return Err(ErrorData::invalid_params(text, None));
    }
    let meta = serde_json::from_value(meta).map_err(|error| unfit(method, &error))?;
    Ok((params, Some(meta)))
}

fn unfit(method: &str, error: &serde_json::Error) -> ErrorData {
    ErrorData::invalid_params(format!("the params of {method} do not fit: {error}"), None)
}

fn read<P: DeserializeOwned>(method: &str, params: Value) -> Result<P, ErrorData> {
    serde_json::from_value(params).map_err(|error| unfit(method, &error))
}

fn optional<M, P>(
    mut request: rmcp::model::RequestOptionalParam<M, P>,
    method: &str,
    params: Value,
    raw: Option<&RawValue>,
) -> Result<ClientRequest, ErrorData>
where
    P: DeserializeOwned,
    ClientRequest: From<rmcp::model::RequestOptionalParam<M, P>>,
{
    if raw.is_some() {
        request.params = Some(read(method, params)?);
    }
    Ok(request.into())
}

fn set_meta(request: &mut ClientRequest, meta: Option<RequestMetaObject>) {
    use rmcp::model::GetExtensions as _;
    if let Some(meta) = meta {
        let extensions: &mut Extensions = request.extensions_mut();
        extensions.insert(meta);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::{GetMeta as _, ProgressToken};

    fn check(message: &str, code: i32, part: &str) {
        let undecodable = decode(message, false).unwrap_err();
        assert_eq!(undecodable.error.code.0, code, "{message}");
        assert!(undecodable.error.message.contains(part), "{}", undecodable.error.message);
    }

    #[test]
    fn a_known_method_with_bad_params_is_told_so() {
        check(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}"#,
            -32602,
            "tools/call do not fit",
        );
        check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, -32602, "missing field `name`");
        check(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}"#,
            -32602,
            "must be an object",
        );
        check(r#"{"jsonrpc":"2.0","id":1,"method":"a/b"}"#, -32601, "no method a/b");
        check(r#"{"jsonrpc":"2.0","method":"a/b"}"#, -32600, "missing field `id`");
    }

    #[test]
    fn each_era_has_its_own_beginning() {
        for (method, modern) in [("initialize", true), ("server/discover", false)] {
            let message =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
            assert_eq!(decode(&message, modern).unwrap_err().error.code.0, -32601, "{method}");
            let code = decode(&message, !modern).err().map(|undecodable| undecodable.error.code.0);
            assert_ne!(code, Some(-32601), "{method}");
        }
    }

    #[test]
    fn meta_is_where_the_loop_looks_for_it() {
        let message = r#"{"jsonrpc":"2.0","id":"x","method":"tools/call",
            "params":{"name":"t","_meta":{"progressToken":7}}}"#;
        let request = decode(message, false).unwrap().request;
        let token = request.get_meta().get_progress_token();
        assert_eq!(token, Some(ProgressToken(rmcp::model::NumberOrString::Number(7))));
    }
}
