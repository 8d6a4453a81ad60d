//! Pages with something on them. They show values and read forms. They must not know where the
//! values come from, nor what becomes of a form.

pub mod account;
