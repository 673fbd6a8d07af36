//! People as files: brought from elsewhere, and taken away, in the same form.

mod cell;
pub mod export;
pub mod import;
