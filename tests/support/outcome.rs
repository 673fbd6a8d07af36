//! The outcome that tests begin from.

use super::{DecisionId, Millis, Outcome, OutcomeKind, Span, Terms, Uid};

/// An impression that counts towards a weekly cap.
pub(crate) fn impression(account: u32, decision: DecisionId, at: Millis, person: Option<Uid>) -> Outcome {
    Outcome {
        account,
        decision,
        kind: OutcomeKind::Impression,
        discriminator: 0,
        at,
        campaign: Some("spring".parse().expect("an id")),
        creative: "hero".parse().expect("an id"),
        revision: 3,
        combination: u64::MAX - 1,
        person,
        measured: true,
        cap_window: Some(Span::from_millis(7 * 86_400_000)),
        across_decisions: false,
        value_micros: None,
        goal: None,
        invalid: None,
        by_pixel: false,
        exposure: None,
        terms: Terms::default(),
        charge: None,
    }
}
