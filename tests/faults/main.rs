//! What the service does while its database, or itself, is killed, frozen, slow or away.
//!
//! `TESSERA_PROOF_SECONDS` makes each outage longer, `TESSERA_PROOF_ROUNDS` kills more often.
#![expect(clippy::disallowed_methods, reason = "tests have settings and clocks of their own")]

#[path = "../support/family.rs"]
mod family;
#[path = "../service/harness.rs"]
mod harness;
mod ingest;
mod kills;
mod load;
mod outages;
mod process;
mod replicas;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
