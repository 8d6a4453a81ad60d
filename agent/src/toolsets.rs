//! The families of tools, by kind. It must not know scopes: what it makes is narrowed elsewhere.

pub mod memory;

pub mod mcp;

#[cfg(feature = "fixture")]
pub mod fixture;

use crate::{
    fence::Fence,
    platform::Platform,
    registry::{Placed, Registry},
    toolset::Toolset,
};
use shared::{
    AgentKey, Error,
    config::{Config, ToolsetKind},
    database::Database,
};
use std::rc::Rc;

/// Makes the configured toolsets for one context.
///
/// # Errors
/// An internal error for a kind that this build does not have: a mistake of the configuration.
pub fn place(
    config: &Config,
    key: &Rc<AgentKey>,
    database: &Rc<dyn Database>,
    platform: &Rc<dyn Platform>,
) -> Result<Registry, Error> {
    let mut registry = Registry { toolsets: Vec::new(), absent: Vec::new() };
    for toolset in &config.toolsets {
        let made: Box<dyn Toolset> = match &toolset.kind {
            ToolsetKind::Memory => Box::new(memory::Memory::new(
                &config.levels,
                Rc::clone(key),
                Rc::clone(database),
                Rc::clone(platform),
            )),
            ToolsetKind::Mcp(remote) => match remote.url.fill(&key.scope) {
                Some(address) => Box::new(mcp::Mcp::new(mcp::Parts {
                    toolset,
                    remote,
                    address: &address,
                    is_development: config.is_development,
                    fence: Fence::new(toolset, &key.scope, &config.levels),
                    key,
                    database,
                    platform,
                })),
                None => {
                    let reason = "its address names a level that is not pinned here".to_owned();
                    registry.absent.push((toolset.name.clone(), reason));
                    continue;
                }
            },
            #[cfg(feature = "fixture")]
            ToolsetKind::Fixture => Box::new(fixture::Fixture::new(Rc::clone(platform))),
            #[cfg(not(feature = "fixture"))]
            ToolsetKind::Fixture => {
                return Err(Error::internal("this build has no toolset `fixture`"));
            }
        };
        registry.toolsets.push(Placed::new(toolset.clone(), made, &key.scope, &config.levels));
    }
    Ok(registry)
}
