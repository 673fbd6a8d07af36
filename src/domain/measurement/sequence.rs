//! Evidence that may be looked at as often as one likes.
//!
//! The normal mixture of Robbins (Annals of Mathematical Statistics 1970) in the asymptotic form of
//! Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas ("Time-uniform central limit theory and
//! asymptotic confidence sequences", Annals of Statistics 2024), on the clock of information about
//! the logarithm of a ratio: the inverse of its squared standard error. On that clock an estimate
//! from people who come back is at least as correlated with its own past as Brownian motion is
//! (more of the same person adds less information), so that by Slepian's inequality it crosses the
//! boundary no more often.

/// The most often that a report may err, over all looks together.
pub(super) const ERROR: f64 = 0.05;

/// The size of a logarithm of ratio of rates, about a relative difference, that is found soonest.
/// Fixed beforehand: a size chosen after a look would spoil the guarantee.
pub(super) const TYPICAL: f64 = 0.2;

/// How many standard errors an estimate may be off at any time, with a probability of 95% for all
/// times together. Infinite without information.
pub(super) fn critical(information: f64) -> f64 {
    let clock = information * TYPICAL * TYPICAL;
    ((1.0 + 1.0 / clock) * (2.0 * (1.0 / ERROR).ln() + clock.ln_1p())).sqrt()
}

/// The logarithm of the evidence (an e-value) that the true logarithm of ratio is not zero, where it
/// was estimated as `log_ratio`. Its expectation is at most 1 at whatever look, if it is zero.
pub(super) fn log_evidence(log_ratio: f64, information: f64) -> f64 {
    let clock = information * TYPICAL * TYPICAL;
    0.5 * (log_ratio * log_ratio * information * clock / (1.0 + clock) - clock.ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_where_the_evidence_is_twenty() {
        for information in [1.0_f64, 25.0, 400.0, 1e6] {
            let at = critical(information) / information.sqrt();
            assert!((log_evidence(at, information) - 20_f64.ln()).abs() < 1e-9, "{information}");
        }
        assert!(critical(0.0).is_infinite());
        assert!((2.9..3.2).contains(&critical(300.0)), "peeking costs about one standard error");
        assert!(log_evidence(0.0, 100.0) < 0.0, "no difference is evidence against one");
    }
}
