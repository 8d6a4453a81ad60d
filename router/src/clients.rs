//! The client programs of one user: which were here, what they call themselves, and how often they
//! asked for something. Counted in memory and written once they are quiet, so that no call writes. It
//! must not know what a request means, nor whether a client is barred.

use identity::{account::Client, caller::Credential};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    Error, Millis,
    database::{Database, Row, Tables, Value},
    error::shown,
    limits,
};
use std::{borrow::Cow, cell::RefCell, collections::BTreeMap};

/// What a client says of itself (all revisions: `clientInfo`).
#[derive(Debug, Default, Deserialize)]
pub struct Info<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// Its version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
}

impl<'a> Info<'a> {
    /// Reads `clientInfo`. What is none says nothing.
    #[must_use]
    pub fn read(raw: Option<&'a RawValue>) -> Self {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// Reads the parameters of `initialize`.
    #[must_use]
    pub fn of_initialize(raw: &'a RawValue) -> Self {
        #[derive(Deserialize)]
        struct Initialize<'a> {
            #[serde(rename = "clientInfo", borrow)]
            client: Option<&'a RawValue>,
        }
        let params: Option<Initialize<'a>> = serde_json::from_str(raw.get()).ok();
        Self::read(params.and_then(|params| params.client))
    }

    /// What its user knows it by: the id that it is registered under, else its name.
    #[must_use]
    pub fn id(&self, credential: &Credential) -> String {
        let registered = match credential {
            Credential::Grant { client, .. } => Some(client.as_str()),
            Credential::External { client } => client.as_deref(),
            Credential::Static | Credential::Key(_) => None,
        };
        registered.map_or_else(|| shown(&self.name), ToOwned::to_owned)
    }
}

/// The clients of one user.
#[derive(Debug)]
pub struct Clients<D> {
    database: D,
    known: RefCell<BTreeMap<String, Known>>,
    tables: Tables,
}

#[derive(Debug)]
struct Known {
    client: Client,
    /// Whether it is more than is stored.
    is_new: bool,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS clients (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, revision TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, calls INTEGER NOT NULL, grants TEXT NOT NULL)
    WITHOUT ROWID";

const COLUMNS: &str = "id, name, version, revision, first, last, calls, grants";

impl<D: Database> Clients<D> {
    /// The clients in a database. Its table is made with the first.
    pub fn new(database: D) -> Self {
        Self { database, known: RefCell::default(), tables: Tables::new("clients", &[TABLE]) }
    }

    /// Counts a request. Whether that is the first thing that is to be written.
    ///
    /// # Errors
    /// The database's own.
    pub fn count(
        &self,
        id: &str,
        info: &Info<'_>,
        revision: &str,
        credential: &Credential,
        now: Millis,
    ) -> Result<bool, Error> {
        if !self.known.borrow().contains_key(id) {
            let stored = self.stored(id)?;
            let client = stored.unwrap_or_else(|| Client {
                id: id.to_owned(),
                name: String::new(),
                version: String::new(),
                revision: String::new(),
                first: now,
                last: now,
                calls: 0,
                grants: Vec::new(),
            });
            self.make_room();
            self.known.borrow_mut().insert(id.to_owned(), Known { client, is_new: false });
        }
        let mut all = self.known.borrow_mut();
        let is_first = all.values().all(|known| !known.is_new);
        if let Some(known) = all.get_mut(id) {
            known.is_new = true;
            let client = &mut known.client;
            client.calls = client.calls.saturating_add(1);
            client.last = now;
            say(&mut client.name, &info.name);
            say(&mut client.version, &info.version);
            say(&mut client.revision, revision);
            if let Credential::Grant { grant, .. } = credential
                && !client.grants.contains(grant)
            {
                client.grants.insert(0, grant.clone());
                client.grants.truncate(limits::GRANTS_PER_CLIENT_MAX);
            }
        }
        Ok(is_first)
    }

    /// Lets go of one that is stored, where there are too many in memory.
    fn make_room(&self) {
        let mut all = self.known.borrow_mut();
        if all.len() >= limits::CLIENTS_MAX {
            let stored = all.iter().find(|(_, known)| !known.is_new).map(|(id, _)| id.clone());
            // Where none is stored the first is lost, and with it some counting.
            match stored {
                Some(id) => drop(all.remove(&id)),
                None => drop(all.pop_first()),
            }
        }
    }

    fn stored(&self, id: &str) -> Result<Option<Client>, Error> {
        if !self.tables.exist(&self.database)? {
            return Ok(None);
        }
        let statement = format!("SELECT {COLUMNS} FROM clients WHERE id = ?");
        let rows = self.database.run(&statement, &[id.into()])?;
        rows.first().map(read).transpose()
    }

    /// Writes what is not written yet. Where there are too many clients, those go that were here
    /// longest ago.
    ///
    /// # Errors
    /// The database's own.
    pub fn write(&self) -> Result<(), Error> {
        let mut all = self.known.borrow_mut();
        if all.values().all(|known| !known.is_new) {
            return Ok(());
        }
        self.tables.make(&self.database)?;
        for known in all.values_mut().filter(|known| known.is_new) {
            self.store(&known.client)?;
            known.is_new = false;
        }
        let most = i64::try_from(limits::CLIENTS_MAX).unwrap_or(i64::MAX);
        self.database.run(
            "DELETE FROM clients WHERE id IN
                (SELECT id FROM clients ORDER BY last DESC, id LIMIT -1 OFFSET ?)",
            &[Value::Integer(most)],
        )?;
        Ok(())
    }

    fn store(&self, client: &Client) -> Result<(), Error> {
        let grants = serde_json::to_string(&client.grants);
        let grants = grants.map_err(|error| Error::internal(error.to_string()))?;
        self.database.run(
            "INSERT OR REPLACE INTO clients
                (id, name, version, revision, first, last, calls, grants)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                client.id.as_str().into(),
                client.name.as_str().into(),
                client.version.as_str().into(),
                client.revision.as_str().into(),
                client.first.into(),
                client.last.into(),
                Value::Integer(i64::try_from(client.calls).unwrap_or(i64::MAX)),
                grants.into(),
            ],
        )?;
        Ok(())
    }

    /// A grant is none of any client's any more.
    ///
    /// # Errors
    /// The database's own.
    pub fn forget_grant(&self, grant: &str) -> Result<(), Error> {
        for mut client in self.list()? {
            if client.grants.iter().any(|one| one == grant) {
                client.grants.retain(|one| one != grant);
                self.store(&client)?;
                if let Some(known) = self.known.borrow_mut().get_mut(&client.id) {
                    known.client.grants.clone_from(&client.grants);
                }
            }
        }
        Ok(())
    }

    /// Every client, the one that was here last first.
    ///
    /// # Errors
    /// The database's own.
    pub fn list(&self) -> Result<Vec<Client>, Error> {
        self.write()?;
        if !self.tables.exist(&self.database)? {
            return Ok(Vec::new());
        }
        let statement = format!("SELECT {COLUMNS} FROM clients ORDER BY last DESC, id");
        self.database.run(&statement, &[])?.iter().map(read).collect()
    }
}

/// What a client said last counts; what it does not say stays.
fn say(known: &mut String, said: &str) {
    if !said.is_empty() && known != said {
        *known = shown(said);
    }
}

fn read(row: &Row) -> Result<Client, Error> {
    let grants = serde_json::from_str(row.text(7)?);
    Ok(Client {
        id: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        version: row.text(2)?.to_owned(),
        revision: row.text(3)?.to_owned(),
        first: Millis::from_i64(row.integer(4)?),
        last: Millis::from_i64(row.integer(5)?),
        calls: u64::try_from(row.integer(6)?).unwrap_or_default(),
        grants: grants.map_err(|error| Error::internal(format!("a client's grants: {error}")))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::database::{has_table, native::Embedded};
    use std::rc::Rc;

    fn info(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn clients_are_counted_and_written_once_for_many_calls() {
        let database = Rc::new(Embedded::in_memory());
        let clients = Clients::new(Rc::clone(&database));
        let raw = info(r#"{ "name": "cursor", "version": "1.2", "title": "C" }"#);
        let cursor = Info::read(Some(&raw));
        let grant = Credential::Grant { client: "c1".to_owned(), grant: "g1".to_owned() };
        let id = cursor.id(&grant);
        assert_eq!((id.as_str(), cursor.id(&Credential::Static).as_str()), ("c1", "cursor"));
        let count = |info: &Info<'_>, now| {
            clients.count(&id, info, "2026-07-28", &grant, Millis(now)).unwrap()
        };
        assert!(count(&cursor, 5));
        assert!(!count(&Info::default(), 7));
        assert!(!has_table(&*database, "clients").unwrap());
        clients.write().unwrap();
        assert!(count(&cursor, 9));
        let listed = clients.list().unwrap();
        let again = Clients::new(Rc::clone(&database)).list().unwrap();
        assert_eq!(listed, again);
        let client = &listed[0];
        assert_eq!((client.name.as_str(), client.version.as_str()), ("cursor", "1.2"));
        assert_eq!((client.first, client.last, client.calls), (Millis(5), Millis(9), 3));
        assert_eq!(client.grants, ["g1"]);
        clients.forget_grant("g1").unwrap();
        assert_eq!(clients.list().unwrap()[0].grants, Vec::<String>::new());
    }

    #[test]
    fn there_are_only_so_many() {
        let clients = Clients::new(Embedded::in_memory());
        let nothing = Info::default();
        for n in 0..limits::CLIENTS_MAX + 5 {
            let now = Millis(u64::try_from(n).unwrap());
            let id = format!("c{n}");
            clients.count(&id, &nothing, "", &Credential::Static, now).unwrap();
            clients.write().unwrap();
        }
        let listed = clients.list().unwrap();
        assert_eq!(listed.len(), limits::CLIENTS_MAX);
        assert_eq!(listed[0].id, format!("c{}", limits::CLIENTS_MAX + 4));
    }

    #[test]
    fn what_is_no_client_info_says_nothing() {
        for text in ["null", "7", "[]", r#"{ "name": 7 }"#] {
            let raw = info(text);
            assert_eq!(Info::read(Some(&raw)).name, "");
            assert_eq!(Info::of_initialize(&raw).name, "");
        }
        let raw = info(r#"{ "clientInfo": { "name": "n\u00e4" } }"#);
        assert_eq!(Info::of_initialize(&raw).name, "nä");
    }
}
