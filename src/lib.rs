//! Tessera decides which advertisement a person sees and assembles it.
//!
//! Three pure functions do the work, and everything else carries data to them and away:
//! [`domain::decision`] *decides*, [`domain::audience`] *absorbs* what people do into who they are,
//! and [`domain::optimizer`] *learns* which components work.
//!
//! | room | what it is |
//! |---|---|
//! | [`domain`] | the pure core: no I/O, no clock, no randomness |
//! | [`ports`] | what the engine needs from the outside |
//! | [`engine`] | what is live: snapshots, caches, queues, deadlines |
//! | [`store`] | what is kept: PostgreSQL |
//! | [`outbound`] | what leaves on its own account: deliveries to addresses that others name |
//! | [`http`] | how it is reached: connections, admission, routes |
//! | [`server`] | the composition root |
//! | [`simulation`] | scenarios with a known truth, replayed in process |
//! | [`schema`] | JSON documents into typed values, with every fault they have |
//! | [`config`] | every setting and its default |
//! | [`telemetry`] | logs and metrics |
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
pub mod outbound;
pub mod ports;
pub mod schema;
pub mod server;
pub mod simulation;
pub mod store;
pub mod telemetry;
