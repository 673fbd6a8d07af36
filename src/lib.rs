//! Tessera decides which advertisement a person sees and assembles it.
//!
//! Three pure functions do the work, and everything else carries data to them and away:
//! [`domain::decision`] *decides*, [`domain::audience`] *absorbs* what people do into who they are,
//! and `domain::optimizer` *learns* which components work.
//!
//! | room | what it is |
//! |---|---|
//! | [`domain`] | the pure core: no I/O, no clock, no randomness |
//! | [`engine`] | the live part: caches, queues, deadlines |
//! | [`ports`] | what the engine needs from the outside |
//! | [`schema`] | JSON documents into typed values, with every fault they have |
//! | [`http`] | the edge: connections, admission, problem documents, extractors |
//! | [`telemetry`] | logs and metrics |
pub mod domain;
pub mod engine;
pub mod http;
pub mod ports;
pub mod schema;
pub mod telemetry;
