//! The families of tools, by kind. It must not know scopes: what it makes is narrowed elsewhere.

pub mod memory;

#[cfg(feature = "fixture")]
pub mod fixture;

use crate::{platform::Platform, registry::Placed, toolset::Toolset};
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
) -> Result<Vec<Placed>, Error> {
    let make = |toolset: &shared::config::Toolset| {
        let made: Box<dyn Toolset> = match &toolset.kind {
            ToolsetKind::Memory => Box::new(memory::Memory::new(
                &config.levels,
                Rc::clone(key),
                Rc::clone(database),
                Rc::clone(platform),
            )),
            ToolsetKind::Mcp(_) => return Err(Error::internal("not yet")),
            #[cfg(feature = "fixture")]
            ToolsetKind::Fixture => Box::new(fixture::Fixture::new(Rc::clone(platform))),
            #[cfg(not(feature = "fixture"))]
            ToolsetKind::Fixture => {
                return Err(Error::internal("this build has no toolset `fixture`"));
            }
        };
        Ok(Placed { config: toolset.clone(), toolset: made })
    };
    config.toolsets.iter().map(make).collect()
}
