//! Whether a client may act for a user, as the platform brings and takes it. Nothing is decided here.

use super::Visited;
use crate::refusal::Refusal;
use identity::page::Page;

/// Answers a visit.
///
/// # Errors
/// What failed.
pub(super) async fn serve(_visited: &Visited<'_>) -> Result<Page, Refusal> {
    Err(Refusal::NoSuchPath("there is nothing at this address".to_owned()))
}
