//! x. It must not.
