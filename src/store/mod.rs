//! What is kept: the only room that speaks to PostgreSQL.

pub mod embedded;
