//! Tessera decides which advertisement a person sees and assembles it.
//!
//! Three pure functions do the work, and everything else carries data to them and away:
//! [`domain::decision`] *decides*, [`domain::audience`] *absorbs* what people do into who they are,
//! and `domain::optimizer` *learns* which components work.
//!
//! | room | what it is |
//! |---|---|
//! | [`domain`] | the pure core: no I/O, no clock, no randomness |
//! | [`ports`] | what the engine needs from the outside |
//! | [`store`] | what is kept: the only room that speaks to PostgreSQL |
pub mod domain;
pub mod ports;
pub mod store;
