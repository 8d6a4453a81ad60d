//! What changed in a state folder between two looks at it. It must not know what the files mean.

use crate::Result;
use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

/// Every file of a folder, with its content.
#[derive(Debug)]
pub(crate) struct Snapshot(BTreeMap<PathBuf, Vec<u8>>);

/// What differs between two snapshots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Files that were looked at.
    pub(crate) files: usize,
    /// Files that appeared, went, or have another content.
    pub(crate) changed: usize,
    /// Bytes in which they differ.
    pub(crate) bytes: usize,
}

impl Snapshot {
    /// Content and length alone count: SQLite may touch the time of a file it only locks.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = fs::read(&path)?;
                    files.insert(path, content);
                }
            }
        }
        Ok(Self(files))
    }

    pub(crate) fn changes(&self, after: &Self) -> Changes {
        let mut changes = Changes { files: after.0.len(), ..Changes::default() };
        let none = Vec::new();
        let gone = self.0.keys().filter(|path| !after.0.contains_key(*path));
        for path in gone.chain(after.0.keys()) {
            let bytes =
                differing(self.0.get(path).unwrap_or(&none), after.0.get(path).unwrap_or(&none));
            if bytes > 0 || self.0.contains_key(path) != after.0.contains_key(path) {
                changes.changed = changes.changed.saturating_add(1);
                changes.bytes = changes.bytes.saturating_add(bytes);
            }
        }
        changes
    }
}

fn differing(before: &[u8], after: &[u8]) -> usize {
    let common = before.iter().zip(after).filter(|(b, a)| b != a).count();
    common.saturating_add(before.len().abs_diff(after.len()))
}
