//! When a delivery that failed is tried again.

use jiff::fmt::rfc2822::DateTimeParser;

use crate::domain::values::Millis;

const HOUR: i64 = 3_600_000;

/// A batch that is not accepted within this time, in milliseconds, is not tried again.
pub const GIVE_UP: i64 = 24 * HOUR;

/// The longest wait between two tries, in milliseconds.
const LONGEST: i64 = 6 * HOUR;

/// Milliseconds to wait after so many failures in a row (1 or more): from `first` on three times as
/// long each time, up to six hours, a quarter less or more by `draw` (0 to 1), so that those who
/// failed together do not return together; and at least as long as the receiver asked for, within a day.
#[must_use]
pub fn delay(failures: u32, first: i64, draw: f64, asked: Option<i64>) -> i64 {
    let steps = failures.saturating_sub(1).min(30);
    let full = first.saturating_mul(3_i64.saturating_pow(steps)).min(LONGEST);
    let wait = (full as f64 * (0.75 + draw.clamp(0.0, 1.0) / 2.0)) as i64;
    wait.max(asked.unwrap_or(0).clamp(0, GIVE_UP))
}

/// What a `Retry-After` asks for, in milliseconds: seconds, or a date (RFC 9110 section 10.2.3).
#[must_use]
pub fn retry_after(header: &str, now: Millis) -> Option<i64> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        return Some(header.parse::<i64>().map_or(i64::MAX, |seconds| seconds.saturating_mul(1_000)));
    }
    let date = DateTimeParser::new().parse_timestamp(header).ok()?;
    Some(Millis(date.as_millisecond()).since(now).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_spread() {
        let middle = |failures| delay(failures, 5_000, 0.5, None);
        assert_eq!([1, 2, 3, 4].map(middle), [5_000, 15_000, 45_000, 135_000]);
        assert_eq!([9, 50, u32::MAX].map(middle), [LONGEST; 3]);
        assert_eq!((delay(1, 5_000, 0.0, None), delay(1, 5_000, 1.0, None)), (3_750, 6_250));
        // tried some dozen times until given up
        let tries = (1..)
            .scan(0, |at, failures| {
                *at += middle(failures);
                Some(*at)
            })
            .take_while(|at| *at < GIVE_UP)
            .count();
        assert!((9..=12).contains(&tries), "{tries}");
    }

    #[test]
    fn a_receiver_may_ask_for_longer() {
        assert_eq!(delay(1, 5_000, 0.5, Some(60_000)), 60_000);
        assert_eq!(delay(3, 5_000, 0.5, Some(10)), 45_000, "never for less");
        assert_eq!(delay(1, 5_000, 0.5, Some(i64::MAX)), GIVE_UP);
        let now = Millis(1_445_412_420_000);
        assert_eq!(retry_after(" 120 ", now), Some(120_000));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(60_000));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:00:00 GMT", now), Some(0), "that is past");
        assert_eq!(retry_after("99999999999999999999", now), Some(i64::MAX));
        for nothing in ["", "soon", "-5", "1.5"] {
            assert_eq!(retry_after(nothing, now), None, "{nothing}");
        }
    }
}
