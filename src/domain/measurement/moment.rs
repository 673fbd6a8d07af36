//! When an event counts as having happened.

use crate::domain::values::Millis;

/// How far ahead of this server's clock a sender's may be.
pub const AHEAD_MS: i64 = 5 * 60_000;
/// An event that is older when it comes is kept and not applied.
pub const LATE_MS: i64 = 30 * 86_400_000;

/// The sender's clock is too far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must not lie more than 5 minutes ahead of the time at which it is received")]
pub struct TooFarAhead;

/// When an event happened, and whether it comes too late to be applied.
///
/// Without a time it happened when it was received. The error of the sender's clock is taken out
/// where the sender says when it sent the event by the same clock. What would lie in the future
/// happened when it was received.
///
/// # Errors
/// It would lie more than [`AHEAD_MS`] in the future.
pub fn happened(received: Millis, at: Option<Millis>, sent_at: Option<Millis>) -> Result<(Millis, bool), TooFarAhead> {
    let Some(at) = at else { return Ok((received, false)) };
    let at = sent_at.map_or(at, |sent| at.plus(received.since(sent)));
    if at.since(received) > AHEAD_MS {
        return Err(TooFarAhead);
    }
    Ok((at.min(received), received.since(at) > LATE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn at(ms: i64) -> Option<Millis> {
        Some(NOW.plus(ms))
    }

    #[test]
    fn clocks_are_believed_within_reason() {
        assert_eq!(happened(NOW, None, None), Ok((NOW, false)));
        assert_eq!(happened(NOW, at(-1), None), Ok((NOW.plus(-1), false)));
        assert_eq!(happened(NOW, at(1), None), Ok((NOW, false)));
        assert_eq!(happened(NOW, at(AHEAD_MS), None), Ok((NOW, false)));
        assert_eq!(happened(NOW, at(AHEAD_MS + 1), None), Err(TooFarAhead));
        assert_eq!(happened(NOW, at(-LATE_MS), None), Ok((NOW.plus(-LATE_MS), false)));
        assert_eq!(happened(NOW, at(-LATE_MS - 1), None), Ok((NOW.plus(-LATE_MS - 1), true)));
    }

    #[test]
    fn a_wrong_clock_is_set_right_by_the_time_of_sending() {
        let (hour, day) = (3_600_000, 86_400_000);
        assert_eq!(happened(NOW, at(day), at(day + hour)), Ok((NOW.plus(-hour), false)));
        assert_eq!(happened(NOW, at(-40 * day), at(-40 * day + hour)), Ok((NOW.plus(-hour), false)));
        assert_eq!(happened(NOW, at(hour), at(0)), Err(TooFarAhead));
        assert_eq!(happened(NOW, Some(Millis(i64::MAX)), Some(Millis(i64::MIN))), Err(TooFarAhead));
        assert!(happened(NOW, Some(Millis(i64::MIN)), Some(Millis(i64::MAX))).is_ok_and(|(_, late)| late));
    }
}
