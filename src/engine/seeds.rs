//! Seeds for decisions: 128 bits from a generator per thread, itself seeded by the machine.

use std::cell::RefCell;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::domain::decision::request::Seed;

thread_local! {
    static GENERATOR: RefCell<ChaCha20Rng> = RefCell::new(ChaCha20Rng::from_seed(machine()));
}

/// Random bytes of the machine. Without any this process has nothing to sign or draw with.
fn machine() -> [u8; 32] {
    let mut bytes = [0; 32];
    #[expect(clippy::disallowed_methods, reason = "this is where randomness enters")]
    getrandom::fill(&mut bytes).expect("the machine has a source of randomness");
    bytes
}

/// A new seed.
#[must_use]
pub(super) fn draw() -> Seed {
    let mut bits = [0; 16];
    GENERATOR.with_borrow_mut(|generator| generator.fill_bytes(&mut bits));
    Seed(bits)
}

/// 256 new random bits, for secrets.
#[must_use]
pub(super) fn secret() -> [u8; 32] {
    machine()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ() {
        let seeds: std::collections::HashSet<[u8; 16]> = (0..10_000).map(|_| draw().0).collect();
        assert_eq!(seeds.len(), 10_000);
    }
}
