//! What anybody wants to hear of, of this context: kept, so that an object which is made again
//! listens again. It must not know who wants it, nor how anything is listened to.

use crate::{
    platform::Platform,
    registry::Registry,
    toolset::{Claim, ToolError},
};
use futures_util::future::join_all;
use shared::{
    Error, Millis,
    database::{Database, has_table},
    hop::InterestHop,
    limits,
};
use std::{collections::BTreeSet, fmt, rc::Rc};

/// What is wanted of one context.
#[derive(Clone)]
pub struct Listening {
    database: Rc<dyn Database>,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS listening (
    one INTEGER PRIMARY KEY CHECK (one = 1), hop TEXT NOT NULL)";

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

impl Listening {
    /// What a database says of it.
    pub fn new(database: Rc<dyn Database>) -> Self {
        Self { database }
    }

    /// Keeps what is wanted from now on. Where that is nothing, nothing is kept.
    ///
    /// # Errors
    /// The database's own.
    pub fn keep(&self, hop: &InterestHop) -> Result<(), Error> {
        if hop.is_none() {
            if has_table(&*self.database, "listening")? {
                self.database.run("DELETE FROM listening", &[])?;
            }
            return Ok(());
        }
        let text = serde_json::to_string(hop).map_err(|e| Error::internal(e.to_string()))?;
        self.database.run(TABLE, &[])?;
        let statement = "INSERT OR REPLACE INTO listening (one, hop) VALUES (1, ?)";
        self.database.run(statement, &[text.into()]).map(drop)
    }

    /// What is wanted; `None` if it is nothing.
    ///
    /// # Errors
    /// The database's own.
    pub fn kept(&self) -> Result<Option<InterestHop>, Error> {
        if !has_table(&*self.database, "listening")? {
            return Ok(None);
        }
        let rows = self.database.run("SELECT hop FROM listening", &[])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let hop = serde_json::from_str(row.text(0)?);
        hop.map(Some).map_err(|error| Error::internal(format!("what is listened to: {error}")))
    }

    /// When the object wants to be woken, so that it is there to listen.
    ///
    /// # Errors
    /// The database's own.
    pub fn due(&self, now: Millis) -> Result<Option<Millis>, Error> {
        let is_kept = has_table(&*self.database, "listening")?
            && !self.database.run("SELECT 1 FROM listening", &[])?.is_empty();
        Ok(is_kept.then(|| now.after(limits::LISTEN_CHECK_MS)))
    }
}

/// Asks for what tells inside from outside, wherever that matters and is not known.
pub async fn learn(registry: Rc<Registry>, hop: InterestHop, platform: Rc<dyn Platform>) {
    if hop.uris.is_empty() {
        return;
    }
    let toolsets = registry.toolsets.iter().filter(|placed| placed.fence.depth() > 0);
    let unknown = toolsets.filter(|placed| placed.toolset.known_templates().is_none());
    for learned in join_all(unknown.map(|placed| placed.toolset.learn_templates())).await {
        if let Err(ToolError::Below(error)) = learned {
            platform.log(&error);
        }
    }
}

/// Tells every toolset what of it anybody wants to hear of.
pub fn tell(registry: &Registry, hop: &InterestHop) {
    let uris: Vec<&str> = hop.uris.iter().map(String::as_str).collect();
    let claims: Vec<Vec<Claim>> =
        registry.toolsets.iter().map(|placed| placed.toolset.claims(&uris)).collect();
    for (placed, own) in registry.toolsets.iter().zip(&claims) {
        let templates = placed.toolset.known_templates();
        let is_inside = |uri: &str| match &templates {
            Some(templates) => placed.fence.check_resource(uri, templates).is_ok(),
            // Then only what the configuration says of it tells inside from outside.
            None => placed.fence.has(uri) && (placed.fence.depth() == 0 || placed.fence.names(uri)),
        };
        let mut inside = InterestHop { uris: BTreeSet::new(), ..hop.clone() };
        if hop.blocked.contains(&placed.config.name) {
            inside.lists = false;
            placed.toolset.interest(&inside);
            continue;
        }
        for (n, uri) in uris.iter().enumerate() {
            // A resource that is plainly somebody's is nobody else's business.
            let plainest = claims.iter().filter_map(|claims| claims.get(n)).max();
            if own.get(n) == plainest && is_inside(uri) {
                inside.uris.insert((*uri).to_owned());
            }
        }
        placed.toolset.interest(&inside);
    }
}
