//! Which conversions are a campaign's own: those within its windows after a click or, where it wants
//! that, after a view.

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::EventName,
    measurement::beacon::SKEW_MS,
    values::{Millis, Span},
};

/// The longest window after a click, in ms.
pub const LONGEST_MS: i64 = 90 * DAY_MS;
const DAY_MS: i64 = 86_400_000;

/// By what conversions are judged when they come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// After a click.
    pub click: Span,
    /// After a view alone.
    pub view: Option<Span>,
    /// The event type that the campaign is for; none: any.
    pub goal: Option<EventName>,
}

impl Default for Terms {
    /// 30 days after a click.
    fn default() -> Self {
        Self { click: Span::from_millis(30 * DAY_MS), view: None, goal: None }
    }
}

impl Terms {
    /// How far before a conversion a click or a view may lie that it is the campaign's by.
    #[must_use]
    pub fn longest(&self) -> Span {
        self.view.map_or(self.click, |view| view.max(self.click))
    }
}

/// When a decision's impression and click were counted, those that are a person's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touches {
    /// The impression.
    pub impression: Option<Millis>,
    /// The click.
    pub click: Option<Millis>,
}

/// What a conversion is to the campaign that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credit {
    /// Its own, after a click.
    Click,
    /// Its own, after a view without a click.
    View,
    /// No click or view that it wants was counted before. It is kept, and becomes the campaign's
    /// should one be counted within two days that came before it.
    Untouched,
    /// Not what the campaign is for.
    OtherGoal,
    /// It came after the windows.
    Late,
}

impl Credit {
    /// Every credit, by its number in the store.
    pub const ALL: [Self; 5] = [Self::Click, Self::View, Self::Untouched, Self::OtherGoal, Self::Late];

    /// The credit's number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Click => 0,
            Self::View => 1,
            Self::Untouched => 2,
            Self::OtherGoal => 3,
            Self::Late => 4,
        }
    }

    /// Whether it counts for the campaign.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Click | Self::View)
    }

    /// Judges a conversion of `goal` (none: whatever the campaign is for) that happened at `at` after
    /// a decision made at `decided`.
    ///
    /// The clocks of servers differ and beacons overtake each other: a conversion up to five minutes
    /// before its click or view counts. One still earlier is not their doing.
    #[must_use]
    pub fn of(terms: &Terms, goal: Option<&EventName>, decided: Millis, touches: Touches, at: Millis) -> Self {
        let within = |touch: Option<Millis>, window: Span| {
            touch.is_some_and(|touch| (-SKEW_MS..=window.millis()).contains(&at.since(touch)))
        };
        if goal.is_some_and(|goal| terms.goal.as_ref().is_some_and(|wanted| wanted != goal)) {
            Self::OtherGoal
        } else if within(touches.click, terms.click) {
            Self::Click
        } else if terms.view.is_some_and(|window| within(touches.impression, window)) {
            Self::View
        } else {
            let longest = terms.longest().millis();
            let past = |touch: Millis| at.since(touch) > longest;
            let touch = touches.click.or(touches.impression.filter(|_| terms.view.is_some()));
            if touch.map_or_else(|| past(decided), past) { Self::Late } else { Self::Untouched }
        }
    }
}

/// Conversions that were not the campaign's, and why. Counts add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"untouched": 12, "other_goal": 3, "late": 1}))]
pub struct Unattributed {
    /// Without a click, or a view where views count.
    pub untouched: u64,
    /// Of another event type than the campaign is for.
    pub other_goal: u64,
    /// After the windows.
    pub late: u64,
}

impl Unattributed {
    /// Counts some.
    pub fn add(&mut self, credit: Credit, count: u64) {
        let counter = match credit {
            Credit::Click | Credit::View => return,
            Credit::Untouched => &mut self.untouched,
            Credit::OtherGoal => &mut self.other_goal,
            Credit::Late => &mut self.late,
        };
        *counter = counter.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn name(name: &str) -> EventName {
        name.parse().expect("a name")
    }

    fn judged(view_days: Option<u8>, click: Option<i64>, impression: Option<i64>, at: i64) -> Credit {
        let days = |days: u8| Span::from_millis(i64::from(days) * DAY_MS);
        let terms = Terms { click: days(2), view: view_days.map(days), goal: Some(name("purchase")) };
        let touches = Touches { click: click.map(Millis), impression: impression.map(Millis) };
        Credit::of(&terms, None, Millis(0), touches, Millis(at))
    }

    #[test]
    fn a_click_counts_for_its_window_and_a_view_where_it_is_wanted() {
        let day = DAY_MS;
        assert_eq!(judged(None, Some(HOUR), Some(0), HOUR + 2 * day), Credit::Click);
        assert_eq!(judged(None, Some(HOUR), Some(0), HOUR + 2 * day + 1), Credit::Late);
        assert_eq!(judged(None, None, Some(0), HOUR), Credit::Untouched);
        assert_eq!(judged(Some(1), None, Some(0), day), Credit::View);
        assert_eq!(judged(Some(1), None, Some(0), day + 1), Credit::Untouched, "a click may still be told");
        assert_eq!(judged(Some(1), None, Some(0), 2 * day + 1), Credit::Late);
        assert_eq!(judged(Some(1), Some(HOUR), Some(0), 2 * HOUR), Credit::Click, "a click goes first");
        assert_eq!(judged(Some(30), Some(HOUR), Some(0), 3 * day), Credit::View, "the click is too old, the view not");
    }

    #[test]
    fn what_comes_before_its_cause_is_not_its_effect() {
        assert_eq!(judged(Some(1), Some(HOUR), Some(HOUR), HOUR - SKEW_MS), Credit::Click);
        assert_eq!(judged(Some(1), Some(HOUR), Some(HOUR), HOUR - SKEW_MS - 1), Credit::Untouched);
        assert_eq!(judged(Some(1), Some(2 * HOUR), Some(0), HOUR), Credit::View);
    }

    #[test]
    fn only_what_the_campaign_is_for_counts() {
        let touches = Touches { click: Some(Millis(0)), impression: None };
        let judge = |wanted: Option<&str>, goal: Option<&str>| {
            let terms = Terms { goal: wanted.map(name), ..Terms::default() };
            Credit::of(&terms, goal.map(name).as_ref(), Millis(0), touches, Millis(5))
        };
        assert_eq!(judge(Some("purchase"), Some("signup")), Credit::OtherGoal);
        for (wanted, goal) in [(Some("purchase"), Some("purchase")), (Some("purchase"), None), (None, Some("signup"))] {
            assert_eq!(judge(wanted, goal), Credit::Click);
        }
    }

    #[test]
    fn numbers_stand_for_credits() {
        assert!(Credit::ALL.iter().enumerate().all(|(at, credit)| usize::from(credit.number()) == at));
    }

    proptest! {
        #[test]
        fn every_instant_has_an_effect(
            click in any::<Option<i64>>(), impression in any::<Option<i64>>(), at in any::<i64>(), view in prop::option::of(1_u8..30),
        ) {
            let credit = judged(view, click, impression, at);
            prop_assert!(credit != Credit::View || view.is_some());
            prop_assert!(credit != Credit::Click || click.is_some());
        }
    }
}
