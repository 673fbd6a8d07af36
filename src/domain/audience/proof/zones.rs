//! Local days, from the rules by which clocks are changed.

use std::sync::LazyLock;

use super::truth::{DAY, HOUR};

/// A zone whose clock changes are known by rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Zone {
    Utc,
    London,
    NewYork,
    LordHowe,
    Kolkata,
}

/// Midnight of a date as days since 1970, by counting.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = |year| [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    years + lengths(year)[..month as usize - 1].iter().sum::<i64>() + day - 1
}

/// The months from January 2000 on, each by its first day.
static MONTHS: LazyLock<Vec<i64>> =
    LazyLock::new(|| (0..12 * 50).map(|month| days_of(2000 + month / 12, 1 + month % 12, 1)).collect());

/// Which of [`MONTHS`] a day falls into.
pub(super) fn month_of(day: i64) -> i64 {
    MONTHS.partition_point(|&first| first <= day) as i64 - 1
}

/// The first Sunday on or after a date, as days since 1970.
fn sunday(year: i64, month: i64, from: i64) -> i64 {
    let day = days_of(year, month, from);
    // 1 January 1970 was a Thursday.
    day + (3 - day).rem_euclid(7)
}

impl Zone {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::London => "Europe/London",
            Self::NewYork => "America/New_York",
            Self::LordHowe => "Australia/Lord_Howe",
            Self::Kolkata => "Asia/Kolkata",
        }
    }

    /// When the clock is put forward and back in `year`, in UTC.
    pub(super) fn changes(self, year: i64) -> Option<(i64, i64)> {
        Some(match self {
            Self::London => (sunday(year, 3, 25) * DAY + HOUR, sunday(year, 10, 25) * DAY + HOUR),
            Self::NewYork => (sunday(year, 3, 8) * DAY + 7 * HOUR, sunday(year, 11, 1) * DAY + 6 * HOUR),
            // Two o'clock of local time, half past ten or eleven hours ahead.
            Self::LordHowe => (sunday(year, 10, 1) * DAY - 8 * HOUR - HOUR / 2, sunday(year, 4, 1) * DAY - 9 * HOUR),
            Self::Utc | Self::Kolkata => return None,
        })
    }

    /// How far the clock is ahead of UTC: out of and in summer time.
    fn offsets(self) -> (i64, i64) {
        match self {
            Self::Utc => (0, 0),
            Self::London => (0, HOUR),
            Self::NewYork => (-5 * HOUR, -4 * HOUR),
            Self::LordHowe => (10 * HOUR + HOUR / 2, 11 * HOUR),
            Self::Kolkata => (5 * HOUR + HOUR / 2, 5 * HOUR + HOUR / 2),
        }
    }

    fn offset(self, at: i64) -> i64 {
        /// Changes of clocks by zone: when, and to which offset.
        static CHANGES: LazyLock<[Vec<(i64, i64)>; 5]> = LazyLock::new(|| {
            [Zone::Utc, Zone::London, Zone::NewYork, Zone::LordHowe, Zone::Kolkata].map(|zone| {
                let (winter, summer) = zone.offsets();
                let years = (2000..2050).filter_map(|year| zone.changes(year));
                let mut changes: Vec<_> =
                    years.flat_map(|(forward, back)| [(forward, summer), (back, winter)]).collect();
                changes.sort_unstable();
                changes
            })
        });
        let changes = &CHANGES[self as usize];
        let last = changes.partition_point(|(from, _)| *from <= at).checked_sub(1);
        last.map_or(self.offsets().0, |last| changes[last].1)
    }

    pub(super) fn day(self, at: i64) -> i64 {
        (at + self.offset(at)).div_euclid(DAY)
    }
}
