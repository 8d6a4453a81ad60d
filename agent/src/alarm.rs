//! When this object is woken: an object has one alarm, which everything shares that has to happen
//! by itself. It must not know what that is.

use crate::platform::Platform;
use shared::{Error, Millis};
use std::{cell::Cell, fmt, rc::Rc};

/// The alarm of one object.
pub struct Alarm {
    platform: Rc<dyn Platform>,
    /// When it comes, as far as this object knows.
    at: Cell<Option<Millis>>,
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Alarm {
    /// An alarm of which nothing is known.
    pub fn new(platform: Rc<dyn Platform>) -> Self {
        Self { platform, at: Cell::new(None) }
    }

    /// Makes sure that it comes within this time. An object that was restarted does not know of an
    /// earlier one, which then comes as late as this.
    ///
    /// # Errors
    /// The platform's own.
    pub async fn within(&self, milliseconds: u64) -> Result<(), Error> {
        let at = self.platform.now().after(milliseconds);
        if self.at.get().is_some_and(|alarm| alarm <= at) {
            return Ok(());
        }
        // Whoever asks meanwhile for a later time is content with this one.
        let before = self.at.replace(Some(at));
        self.platform.wake(at).await.inspect_err(|_| self.at.set(before))
    }

    /// Notes when the platform will be asked to let it come, if at all. It has just come.
    pub fn set(&self, at: Option<Millis>) {
        self.at.set(at);
    }
}
