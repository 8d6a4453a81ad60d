//! The tools of all toolsets, narrowed to one scope: made once per context and only read after
//! that. It must not know what any tool does.

use crate::{
    mirror::{self, Mirrored},
    skills::Bundle,
    toolset::{TaskSupport, Toolset},
};
use narrow::{NarrowError, Pin, narrow};
use rmcp::model::{JsonObject, Tool};
use shared::{Error, Scope, config};
use std::{collections::BTreeMap, sync::Arc};

/// A toolset as the configuration places it here.
pub struct Placed {
    /// What the configuration says of it.
    pub config: config::Toolset,
    /// The toolset.
    pub toolset: Box<dyn Toolset>,
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placed").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Where a visible tool is served, and the schema it has there.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Index into [`Registry::toolsets`].
    pub toolset: usize,
    /// The complete schema, before narrowing.
    pub schema: Arc<JsonObject>,
    /// Whether its work may go on without its caller.
    pub tasks: TaskSupport,
    /// The parameters that its caller mirrors into headers, as the tool is advertised.
    pub mirrored: Vec<Mirrored>,
}

/// Everything that one context serves.
#[derive(Debug)]
pub struct Registry {
    /// The scope, as pins on parameters.
    pub pins: Vec<Pin>,
    /// Parameters that name a narrower context than this one.
    pub unpinned: Vec<String>,
    /// The toolsets, in the order of the configuration.
    pub toolsets: Vec<Placed>,
    /// The tools as clients see them: narrowed, the hidden ones left out, in a fixed order.
    pub tools: Vec<Tool>,
    entries: BTreeMap<String, Entry>,
}

impl Registry {
    /// Places toolsets under a scope.
    ///
    /// # Errors
    /// An internal error for two tools of one name: a mistake of the configuration.
    pub fn new(
        scope: &Scope,
        levels: &[config::Level],
        toolsets: Vec<Placed>,
    ) -> Result<Self, Error> {
        let pins: Vec<Pin> = levels
            .iter()
            .zip(scope.slugs())
            .map(|(level, slug)| Pin {
                parameters: level.parameters.clone(),
                value: slug.as_str().to_owned(),
                preserve_case: level.preserve_case,
            })
            .collect();
        let narrower = levels.iter().skip(scope.depth());
        let unpinned = narrower.flat_map(|level| level.parameters.clone()).collect();
        let mut tools = Vec::new();
        let mut entries = BTreeMap::new();
        for (toolset, placed) in toolsets.iter().enumerate() {
            for tool in placed.toolset.tools() {
                if placed.config.hides(&tool.name, scope.depth()) {
                    continue;
                }
                let shown = narrowed(tool, &pins).map_err(|error| {
                    Error::internal(format!("the schema of {}: {error}", tool.name))
                })?;
                let schema = Arc::clone(&tool.input_schema);
                let mirrored = mirror::mirrored(&shown.input_schema);
                let tasks = placed.toolset.tasks(&tool.name);
                let entry = Entry { toolset, schema, tasks, mirrored };
                if entries.insert(tool.name.to_string(), entry).is_some() {
                    return Err(Error::internal(format!("two tools are named {}", tool.name)));
                }
                tools.push(shown);
            }
        }
        Ok(Self { pins, unpinned, toolsets, tools, entries })
    }

    /// The tool of this name, if it is visible here. A hidden one is as unknown as any other.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Whether there is a tool whose work may go on without its caller.
    #[must_use]
    pub fn has_tasks(&self) -> bool {
        self.entries.values().any(|entry| entry.tasks != TaskSupport::Never)
    }

    /// The skills of all toolsets.
    pub fn skills(&self) -> impl Iterator<Item = &Bundle> {
        self.toolsets.iter().flat_map(|placed| placed.toolset.skills())
    }
}

fn narrowed(tool: &Tool, pins: &[Pin]) -> Result<Tool, NarrowError> {
    let mut tool = tool.clone();
    if !pins.is_empty() {
        tool.input_schema = Arc::new(narrow(&tool.input_schema, pins)?);
    }
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolset::{Answer, Call};
    use rmcp::model::CallToolResult;
    use serde_json::json;
    use shared::config::{Config, ToolsetKind};

    struct Mirroring(Vec<Tool>);

    impl Toolset for Mirroring {
        fn tools(&self) -> &[Tool] {
            &self.0
        }

        fn call(&self, _call: Call) -> Answer<'_, CallToolResult> {
            Box::pin(std::future::ready(Ok(CallToolResult::success(vec![]))))
        }
    }

    #[test]
    fn a_pinned_parameter_has_no_header() {
        let schema = json!({ "type": "object", "properties": {
            "projectSlug": { "type": "string", "x-mcp-header": "Project" },
            "region": { "type": "string", "x-mcp-header": "Region" },
        } });
        let levels = Config::default().levels;
        let mirrored = |path: &str| {
            let tool = Tool::new("t", "t", Arc::new(schema.as_object().unwrap().clone()));
            let config = config::Toolset::new(ToolsetKind::Memory);
            let placed = Placed { config, toolset: Box::new(Mirroring(vec![tool])) };
            let scope = Scope::parse_path(path, &levels).unwrap();
            let registry = Registry::new(&scope, &levels, vec![placed]).unwrap();
            registry.entry("t").unwrap().mirrored.len()
        };
        assert_eq!((mirrored("/mcp/acme"), mirrored("/mcp/acme/web")), (2, 1));
    }
}
