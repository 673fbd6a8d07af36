//! Conditions over what people did, and over models of it.

use std::ops::Bound;

use serde_json::{Map, Value};

use super::{
    activity::{Event, Stream},
    grammar::Subject,
    node::{Age, Anchor, Calendar, EventCondition, Measure, NextStep, Node, Range, Rfm, Sequence, Step, Where, Window},
    parser::{Parser, Path, Read},
};
use crate::domain::values::Span;

impl Parser {
    pub(super) fn event_condition(&mut self, map: &Map<String, Value>, at: &Path<'_>) -> Read<EventCondition> {
        const MEASURES: [&str; 6] = ["count", "sum", "avg", "distinct", "last_seen", "first_seen"];
        self.only(
            map,
            at,
            &["event", "where", "key", "in", "count", "sum", "avg", "distinct", "last_seen", "first_seen"],
        );
        let event = self.required(map, at, "event", Self::parsed);
        let filter = self.filter(map, at);
        let key = self.optional(map, at, "key", Self::stream_key);
        let mut named = MEASURES.into_iter().filter(|measure| map.contains_key(*measure));
        let (Some(measure), None) = (named.next(), named.next()) else {
            let detail = format!("must measure exactly one of {}", MEASURES.join(", "));
            return self.fault(at, "no_measure", detail);
        };
        let (json, below) = (&map[measure], at.key(measure));
        let measure = if matches!(measure, "last_seen" | "first_seen") {
            if map.contains_key("in") {
                self.fault::<()>(&at.key("in"), "unknown_field", format!("\"{measure}\" takes no window"));
            }
            let age = self.age(json, &below)?;
            if measure == "last_seen" { Measure::LastSeen(age) } else { Measure::FirstSeen(age) }
        } else {
            let window = self.required(map, at, "in", Self::window);
            if measure == "count" {
                Measure::Count(self.count_range(json, &below)?, window?)
            } else {
                let inner = self.object(json, &below)?;
                self.only(inner, &below, &["of", "is"]);
                let of = self.required(inner, &below, "of", Self::parsed);
                let counted = measure == "distinct";
                let is =
                    self.required(inner, &below, "is", if counted { Self::distinct_range } else { Self::amount_range });
                match measure {
                    "sum" => Measure::Sum(of?, is?, window?),
                    "avg" => Measure::Avg(of?, is?, window?),
                    _ => Measure::Distinct(of?, is?, window?),
                }
            }
        };
        Some(EventCondition { event: event?, filter: filter?, key, measure })
    }

    fn filter(&mut self, map: &Map<String, Value>, at: &Path<'_>) -> Read<Vec<Where>> {
        let (Some(json), at) = (map.get("where"), at.key("where")) else { return Some(Vec::new()) };
        let properties = self.object(json, &at)?;
        if !(1..=6).contains(&properties.len()) {
            return self.fault(&at, "out_of_range", "must test 1 to 6 properties");
        }
        let read: Vec<_> = properties
            .iter()
            .map(|(property, json)| {
                let at = at.key(property);
                let tests = self.object(json, &at)?;
                if tests.len() > 2 {
                    return self.fault(&at, "too_many", "can have at most 2 operators");
                }
                Some(Where {
                    property: property.as_str().into(),
                    tests: self.tests(tests, &at, None, Subject::Property)?,
                })
            })
            .collect();
        read.into_iter().collect()
    }

    fn stream_key(&mut self, json: &Value, at: &Path<'_>) -> Read<(Box<str>, Box<str>)> {
        let map = self.object(json, at)?;
        match map.iter().next().filter(|_| map.len() == 1) {
            Some((property, json)) => {
                let value = self.text(json, &at.key(property))?;
                Some((property.as_str().into(), value.into()))
            }
            None => self.fault(at, "out_of_range", "must name exactly one property and its value"),
        }
    }

    fn age(&mut self, json: &Value, at: &Path<'_>) -> Read<Age> {
        let map = self.object(json, at)?;
        self.only(map, at, &["older_than", "within"]);
        let older_than = self.optional(map, at, "older_than", Self::parsed);
        let within = self.optional(map, at, "within", Self::lasting);
        if map.is_empty() {
            return self.fault(at, "empty", "must have \"older_than\" or \"within\"");
        }
        if older_than.zip(within).is_some_and(|(older, within)| older >= within) {
            return self.fault(&at.key("within"), "out_of_range", "must be longer than \"older_than\"");
        }
        Some(Age { older_than, within })
    }

    fn range(&mut self, json: &Value, at: &Path<'_>) -> Read<Range> {
        let map = self.object(json, at)?;
        self.only(map, at, &["eq", "gt", "gte", "lt", "lte"]);
        let mut bound = |field, bound: fn(f64) -> Bound<f64>| self.optional(map, at, field, Self::number).map(bound);
        let eq = bound("eq", Bound::Included);
        let lower = [bound("gt", Bound::Excluded), bound("gte", Bound::Included)];
        let upper = [bound("lt", Bound::Excluded), bound("lte", Bound::Included)];
        match (eq, lower, upper, map.len()) {
            (Some(exact), _, _, 1) => Some((exact, exact)),
            (None, [None, None], [None, None], 0) => self.fault(at, "empty", "must have a bound, such as \"gte\""),
            (None, [lower, None] | [None, lower], [upper, None] | [None, upper], _) => {
                Some((lower.unwrap_or(Bound::Unbounded), upper.unwrap_or(Bound::Unbounded)))
            }
            _ => self.fault(at, "ambiguous_range", "must have \"eq\" alone, or at most one lower and one upper bound"),
        }
    }

    /// A range of amounts: sums of a day are kept up to 9.2e12.
    fn amount_range(&mut self, json: &Value, at: &Path<'_>) -> Read<Range> {
        let range = self.range(json, at)?;
        for bound in [range.0, range.1] {
            if let Bound::Included(amount) | Bound::Excluded(amount) = bound
                && amount.abs() > 10.0 * Event::LARGEST
            {
                return self.fault(at, "out_of_range", "must compare with amounts from -9e12 to 9e12");
            }
        }
        Some(range)
    }

    /// A range of counts: the summary of a person's events is exact up to 63.
    fn count_range(&mut self, json: &Value, at: &Path<'_>) -> Read<Range> {
        let range = self.range(json, at)?;
        for bound in [range.0, range.1] {
            if let Bound::Included(count) | Bound::Excluded(count) = bound
                && (count.fract() != 0.0 || !(0.0..=63.0).contains(&count))
            {
                return self.fault(at, "out_of_range", "must compare with whole numbers from 0 to 63");
            }
        }
        Some(range)
    }

    /// A range of numbers of different values, of which only so many are kept.
    fn distinct_range(&mut self, json: &Value, at: &Path<'_>) -> Read<Range> {
        const KEPT: f64 = Stream::KEYS as f64;
        let range = self.count_range(json, at)?;
        let least = match range.0 {
            Bound::Included(least) => least,
            Bound::Excluded(least) => least + 1.0,
            Bound::Unbounded => 0.0,
        };
        // To tell that there are no more, one more must be kept.
        let most = match range.1 {
            Bound::Included(most) => most + 1.0,
            Bound::Excluded(most) => most,
            Bound::Unbounded => 0.0,
        };
        if least.max(most) > KEPT {
            return self.fault(at, "out_of_range", "of a person 16 different values are kept: compare with fewer");
        }
        Some(range)
    }

    /// A length of time for which events are remembered.
    fn remembered(&mut self, json: &Value, at: &Path<'_>) -> Read<Span> {
        let span = self.lasting(json, at)?;
        if span.millis() > Stream::RETENTION_DAYS * 86_400_000 {
            return self.fault(at, "out_of_range", "must be at most P400D, which is how long events are remembered");
        }
        Some(span)
    }

    fn window(&mut self, json: &Value, at: &Path<'_>) -> Read<Window> {
        let map = self.object(json, at)?;
        let kinds = ["last", "ago", "since", "calendar", "ever"];
        let mut named = kinds.into_iter().filter(|kind| map.contains_key(*kind));
        let (Some(kind), None) = (named.next(), named.next()) else {
            return self.fault(at, "invalid", format!("must be exactly one of {}", kinds.join(", ")));
        };
        let (inner, below) = (&map[kind], at.key(kind));
        match kind {
            "since" => self.only(map, at, &["since", "until"]),
            "calendar" => self.only(map, at, &["calendar", "n"]),
            kind => self.only(map, at, &[kind]),
        }
        Some(match kind {
            "last" => Window::Last(self.remembered(inner, &below)?),
            "ago" => {
                let ago = self.object(inner, &below)?;
                self.only(ago, &below, &["from", "to"]);
                let from = self.required(ago, &below, "from", Self::remembered);
                let to = self.required(ago, &below, "to", Self::parsed);
                let (from, to): (Span, Span) = (from?, to?);
                if from <= to {
                    return self.fault(&below, "out_of_range", "\"from\" must be longer ago than \"to\"");
                }
                Window::Ago { from, to }
            }
            "since" => {
                let since = self.instant(inner, &below);
                let until = self.optional(map, at, "until", Self::instant);
                let since = since?;
                if until.is_some_and(|until| until <= since) {
                    return self.fault(&at.key("until"), "out_of_range", "must be after \"since\"");
                }
                Window::Since { since, until }
            }
            "calendar" => Window::Calendar(self.calendar(map, inner, at)?),
            _ if self.boolean(inner, &below)? => Window::Ever,
            _ => return self.fault(&below, "invalid", "must be true"),
        })
    }

    fn calendar(&mut self, map: &Map<String, Value>, json: &Value, at: &Path<'_>) -> Read<Calendar> {
        let n = self.optional(map, at, "n", |this, json, at| this.integer_in(json, at, 1..=366));
        let names = [
            ("today", Calendar::Today),
            ("yesterday", Calendar::Yesterday),
            ("this_week", Calendar::ThisWeek),
            ("last_week", Calendar::LastWeek),
            ("this_month", Calendar::ThisMonth),
            ("last_month", Calendar::LastMonth),
            ("days", Calendar::Days(n.unwrap_or(1) as u16)),
        ];
        let calendar = self.choice(json, &at.key("calendar"), &names)?;
        match (calendar, map.contains_key("n")) {
            (Calendar::Days(_), false) => self.fault(&at.key("n"), "required", "\"n\" says how many days"),
            (Calendar::Days(_), true) | (_, false) => Some(calendar),
            (_, true) => self.fault(&at.key("n"), "unknown_field", "only \"days\" takes \"n\""),
        }
    }

    pub(super) fn sequence(&mut self, json: &Value, at: &Path<'_>) -> Read<Sequence> {
        let map = self.object(json, at)?;
        self.only(map, at, &["start", "then", "same", "anchor", "lookback", "late_clears"]);
        let start = self.required(map, at, "start", |this, json, at| {
            let map = this.object(json, at)?;
            this.only(map, at, &["event", "where"]);
            let event = this.required(map, at, "event", Self::parsed);
            Some(Step { filter: this.filter(map, at)?, event: event? })
        });
        let then = self
            .required(map, at, "then", |this, json, at| this.list(json, at, 4, |this, json, at| this.next(json, at)));
        let same = self.optional(map, at, "same", Self::parsed);
        let anchors = [("last", Anchor::Last), ("any", Anchor::Any)];
        let anchor = self.optional(map, at, "anchor", |this, json, at| this.choice(json, at, &anchors));
        let lookback = self.required(map, at, "lookback", Self::remembered);
        let late_clears = self.optional(map, at, "late_clears", Self::boolean);
        Some(Sequence {
            start: start?,
            then: then?,
            same,
            anchor: anchor.unwrap_or(Anchor::Last),
            lookback: lookback?,
            late_clears: late_clears.unwrap_or(true),
        })
    }

    fn next(&mut self, json: &Value, at: &Path<'_>) -> Read<NextStep> {
        let map = self.object(json, at)?;
        self.only(map, at, &["event", "not", "where", "within"]);
        let filter = self.filter(map, at);
        let within = self.required(map, at, "within", Self::parsed);
        let happens = map.contains_key("event");
        if happens == map.contains_key("not") {
            return self.fault(at, "ambiguous_step", "must have exactly one of \"event\" and \"not\"");
        }
        let event = self.required(map, at, if happens { "event" } else { "not" }, Self::parsed);
        Some(NextStep { step: Step { event: event?, filter: filter? }, happens, within: within? })
    }

    pub(super) fn cluster(&mut self, json: &Value, at: &Path<'_>) -> Read<Node> {
        let map = self.object(json, at)?;
        self.only(map, at, &["model", "in", "max_distance"]);
        let model = self.required(map, at, "model", Self::parsed);
        let among = self.required(map, at, "in", |this, json, at| {
            this.list(json, at, 1_000, |this, json, at| this.integer_in(json, at, 0..=u32::from(u16::MAX)))
        });
        let max_distance = self.optional(map, at, "max_distance", Self::number);
        Some(Node::Cluster { model: model?, among: among?, max_distance })
    }

    pub(super) fn rfm(&mut self, json: &Value, at: &Path<'_>) -> Read<Rfm> {
        let map = self.object(json, at)?;
        self.only(map, at, &["event", "r", "f", "m"]);
        if map.is_empty() {
            return self.fault(at, "empty", "must have at least one of r, f and m");
        }
        let event = self.optional(map, at, "event", Self::parsed);
        let mut fifths = |field| {
            let fifth =
                |this: &mut Self, json: &Value, at: &Path<'_>| this.integer_in(json, at, 1..=5).map(|n| n as u8);
            self.optional(map, at, field, |this, json, at| this.list(json, at, 5, fifth)).unwrap_or_default()
        };
        Some(Rfm { event, recency: fifths("r"), frequency: fifths("f"), money: fifths("m") })
    }

    pub(super) fn lookalike(&mut self, json: &Value, at: &Path<'_>) -> Read<Node> {
        let map = self.object(json, at)?;
        self.only(map, at, &["model", "top_pct"]);
        let model = self.required(map, at, "model", Self::parsed);
        let top_pct =
            self.required(map, at, "top_pct", |this, json, at| match this.number_in(json, at, 0.0..=50.0)? {
                0.0 => this.fault(at, "out_of_range", "must be more than 0"),
                share => Some(share),
            });
        Some(Node::Lookalike { model: model?, top_pct: top_pct? })
    }

    pub(super) fn score(&mut self, json: &Value, at: &Path<'_>) -> Read<Node> {
        let map = self.object(json, at)?;
        self.only(map, at, &["model", "gte"]);
        let model = self.required(map, at, "model", Self::parsed);
        let at_least = self.required(map, at, "gte", Self::number);
        Some(Node::Score { model: model?, at_least: at_least? })
    }
}
