//! What conditions mean, read from the raw log of events with nothing but loops: no code of the
//! evaluator, its calendar or its summaries.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

pub(super) const SECOND: i64 = 1_000;
pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 86_400_000;
/// Later or earlier than anything that is looked at.
pub(super) const FAR: i64 = 4_000 * DAY;

/// An event of the log.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: i64,
    pub(super) name: usize,
    /// Hundredths; missing in some.
    pub(super) cents: Option<i64>,
    pub(super) item: Option<usize>,
    pub(super) shop: Option<usize>,
}

/// Which events a condition is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Which {
    pub(super) name: usize,
    pub(super) shops: Option<Vec<usize>>,
    pub(super) dearer: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) enum Window {
    Last(i64),
    Ago(i64, i64),
    Since(i64, Option<i64>),
    Calendar(&'static str, i64),
    Ever,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    Gte(i64),
    Lte(i64),
    Eq(i64),
    Between(i64, i64),
    Above(i64),
    Below(i64),
}

#[derive(Clone, Debug)]
pub(super) enum Measure {
    Count(Bound, Window),
    Sum(Bound, Window),
    Avg(Bound, Window),
    Distinct(Bound, Window),
    Last(Option<i64>, Option<i64>),
    First(Option<i64>, Option<i64>),
}

#[derive(Clone, Debug)]
pub(super) struct Next {
    pub(super) which: Which,
    pub(super) happens: bool,
    pub(super) within: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) start: Which,
    pub(super) then: Vec<Next>,
    pub(super) same: bool,
    pub(super) any: bool,
    pub(super) lookback: i64,
    pub(super) late_clears: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Segment(usize),
    List(usize),
    Trait(&'static str, Option<i64>),
    Event(Which, Option<usize>, Measure),
    Sequence(Sequence),
    Rfm(Vec<i64>, Vec<i64>, Vec<i64>),
    Cluster(Vec<usize>, Option<f64>),
}

/// A zone whose clock changes are known by rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Zone {
    Utc,
    London,
    NewYork,
    LordHowe,
    Kolkata,
}

/// A rule and the person it is about.
pub(super) struct Truth<'a> {
    pub(super) rules: &'a [(Node, Zone)],
    pub(super) person: &'a Person,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) log: Vec<Entry>,
    /// The instants of the traits `t` and `u`.
    pub(super) traits: Vec<(&'static str, i64)>,
    /// Of each list, the end of membership.
    pub(super) lists: Vec<Option<i64>>,
}

/// An event as a summary of `keep` newest events remembers it.
#[derive(Clone, Copy)]
struct Seen {
    at: i64,
    cents: i64,
}

impl Truth<'_> {
    pub(super) fn holds(&self, (node, zone): &(Node, Zone), now: i64) -> bool {
        self.node(node, *zone, now)
    }

    fn node(&self, node: &Node, zone: Zone, now: i64) -> bool {
        match node {
            Node::All(nodes) => nodes.iter().all(|node| self.node(node, zone, now)),
            Node::Any(nodes) => nodes.iter().any(|node| self.node(node, zone, now)),
            Node::Not(node) => !self.node(node, zone, now),
            Node::Segment(at) => self.holds(&self.rules[*at], now),
            Node::List(at) => self.person.lists[*at].is_some_and(|end| now < end),
            Node::Trait(name, last) => {
                let held = self.person.traits.iter().find(|(of, _)| of == name);
                held.is_some_and(|&(_, at)| last.is_none_or(|last| at <= now && now - at < last))
            }
            Node::Event(which, shop, measure) => self.event(which, *shop, measure, zone, now),
            Node::Sequence(sequence) => self.sequence(sequence, now),
            Node::Rfm(recency, frequency, money) => self.rfm(recency, frequency, money, now),
            Node::Cluster(among, most) => self.cluster(among, *most, now),
        }
    }

    fn event(&self, which: &Which, shop: Option<usize>, measure: &Measure, zone: Zone, now: i64) -> bool {
        let of = |entry: &&Entry| which.takes(entry) && shop.is_none_or(|shop| entry.shop == Some(shop));
        let all = || self.person.log.iter().filter(of);
        let counted = |seen: Vec<Seen>, window: &Window| -> Vec<Seen> {
            seen.into_iter().filter(|seen| window.covers(seen.at, now, zone)).collect()
        };
        match measure {
            Measure::Count(bound, window) => {
                let seen = remembered(all().map(|entry| (entry.at, 0)), bound.keep());
                bound.holds(counted(seen, window).len() as f64)
            }
            Measure::Sum(bound, window) => {
                let seen = remembered(all().filter_map(|entry| Some((entry.at, entry.cents?))), 16);
                bound.holds(counted(seen, window).iter().map(|seen| seen.cents).sum::<i64>() as f64 / 100.0)
            }
            Measure::Avg(bound, window) => {
                let seen = remembered(all().filter_map(|entry| Some((entry.at, entry.cents?))), 16);
                let counted = counted(seen, window);
                let sum = counted.iter().map(|seen| seen.cents).sum::<i64>();
                !counted.is_empty() && bound.holds_of(sum, counted.len() as i64 * 100)
            }
            Measure::Distinct(bound, window) => {
                let there = |item: &usize| {
                    let own = all().filter(|entry| entry.item == Some(*item)).map(|entry| (entry.at, 0));
                    !counted(remembered(own, 16), window).is_empty()
                };
                bound.holds((0..16).filter(there).count() as f64)
            }
            Measure::Last(older, within) => {
                let seen = remembered(all().map(|entry| (entry.at, 0)), 16);
                let newest = seen.iter().map(|seen| seen.at).filter(|&at| at <= now).max();
                newest.is_some_and(|at| aged(now - at, *older, *within))
            }
            Measure::First(older, within) => {
                let first = all().map(|entry| entry.at).min().filter(|&at| at <= now);
                first.is_some_and(|at| aged(now - at, *older, *within))
            }
        }
    }

    fn sequence(&self, sequence: &Sequence, now: i64) -> bool {
        let keys: Vec<Option<usize>> = if sequence.same { (0..16).map(Some).collect() } else { vec![None] };
        keys.into_iter().any(|key| {
            // The 16 newest of each kind, of those only what has happened.
            let times = |which: &Which| -> Vec<i64> {
                let own =
                    self.person.log.iter().filter(|entry| which.takes(entry) && (key.is_none() || entry.item == key));
                let mut times: Vec<_> = own.map(|entry| entry.at).collect();
                times.sort_unstable();
                times.iter().rev().take(16).copied().filter(|&at| at <= now).collect()
            };
            let starts = times(&sequence.start).into_iter().filter(|&at| at > now - sequence.lookback);
            let steps: Vec<(Vec<i64>, &Next)> = sequence.then.iter().map(|next| (times(&next.which), next)).collect();
            if sequence.any {
                return starts.into_iter().any(|start| sequence.goes_on(start, &steps, now));
            }
            // The newest point that the leading event steps come to.
            let leading = steps.iter().take_while(|(_, next)| next.happens).count();
            let mut points: Vec<i64> = starts.collect();
            for (times, next) in &steps[..leading] {
                let reached = |at: &&i64| points.iter().any(|point| point <= *at && **at - point <= next.within);
                points = times.iter().filter(reached).copied().collect();
            }
            points.into_iter().max().is_some_and(|newest| sequence.goes_on(newest, &steps[leading..], now))
        })
    }

    fn rfm(&self, recency: &[i64], frequency: &[i64], money: &[i64], now: i64) -> bool {
        let buys = || self.person.log.iter().filter(|entry| entry.name == 0);
        let recent = |at: i64| at <= now && now - at < RFM_WINDOW;
        let plain = remembered(buys().map(|entry| (entry.at, 0)), 16);
        let counted = remembered(buys().map(|entry| (entry.at, 0)), 16);
        let paid = remembered(buys().filter_map(|entry| Some((entry.at, entry.cents?))), 16);
        let Some(newest) = plain.iter().map(|seen| seen.at).filter(|&at| at <= now).max().filter(|&at| recent(at))
        else {
            return false;
        };
        let count = counted.iter().filter(|seen| recent(seen.at)).count() as i64;
        let sum: i64 = paid.iter().filter(|seen| recent(seen.at)).map(|seen| seen.cents).sum();
        let r = 5 - RFM_RECENCY.iter().filter(|&&cut| now - newest >= cut).count() as i64;
        let f = 1 + RFM_FREQUENCY.iter().filter(|&&cut| count >= cut).count() as i64;
        let m = 1 + RFM_MONEY.iter().filter(|&&cut| sum >= cut * 100).count() as i64;
        let among = |wanted: &[i64], fifth| wanted.is_empty() || wanted.contains(&fifth);
        among(recency, r) && among(frequency, f) && among(money, m)
    }

    fn cluster(&self, among: &[usize], most: Option<f64>, now: i64) -> bool {
        let of = |name: usize| self.person.log.iter().filter(move |entry| entry.name == name);
        let plain = remembered(of(1).map(|entry| (entry.at, 0)), 16);
        let newest = plain.iter().map(|seen| seen.at).filter(|&at| at <= now).max();
        let mut steps = 0;
        if let Some(newest) = newest {
            while steps < 14 && now - newest >= HOUR << steps {
                steps += 1;
            }
        } else {
            steps = 14;
        }
        let recent = |at: i64| at <= now && now - at < CLUSTER_WINDOW;
        let count = remembered(of(0).map(|entry| (entry.at, 0)), 16).iter().filter(|seen| recent(seen.at)).count();
        let paid = remembered(of(0).filter_map(|entry| Some((entry.at, entry.cents?))), 16);
        let sum = paid.iter().filter(|seen| recent(seen.at)).map(|seen| seen.cents).sum::<i64>() as f64 / 100.0;
        let items = (0..16).filter(|&item| {
            let own = of(2).filter(|entry| entry.item == Some(item)).map(|entry| (entry.at, 0));
            remembered(own, 16).iter().any(|seen| recent(seen.at))
        });
        let point = [f64::from(steps), (count as f64).ln_1p(), sum.max(0.0).ln_1p(), (items.count() as f64).ln_1p()];
        let distance = |centroid: &[f64; 4]| {
            let off = |at: usize| (point[at] - CLUSTER_SCALE[at].0) / CLUSTER_SCALE[at].1 - centroid[at];
            (0..4).map(|at| off(at).powi(2)).sum::<f64>().sqrt()
        };
        let mut best = 0;
        for at in 1..CLUSTERS.len() {
            if distance(&CLUSTERS[at]) < distance(&CLUSTERS[best]) {
                best = at;
            }
        }
        among.contains(&best) && most.is_none_or(|most| distance(&CLUSTERS[best]) <= most)
    }
}

pub(super) const RFM_WINDOW: i64 = 90 * DAY;
pub(super) const RFM_RECENCY: [i64; 4] = [HOUR, DAY, 7 * DAY, 30 * DAY];
pub(super) const RFM_FREQUENCY: [i64; 4] = [2, 3, 4, 7];
pub(super) const RFM_MONEY: [i64; 4] = [5, 20, 60, 200];
pub(super) const CLUSTER_WINDOW: i64 = 7 * DAY;
pub(super) const CLUSTER_SCALE: [(f64, f64); 4] = [(5.3, 2.1), (0.7, 0.6), (1.9, 1.3), (0.4, 0.5)];
pub(super) const CLUSTERS: [[f64; 4]; 3] = [[-1.1, 0.9, 0.8, 0.7], [0.3, -0.4, -0.6, 0.9], [1.2, -0.9, -0.8, -0.7]];

fn aged(age: i64, older: Option<i64>, within: Option<i64>) -> bool {
    older.is_none_or(|older| age >= older) && within.is_none_or(|within| age < within)
}

/// Events as a summary remembers them: beyond the `keep` newest as if at the end of their UTC day,
/// but not after the newest of these.
fn remembered(events: impl Iterator<Item = (i64, i64)>, keep: usize) -> Vec<Seen> {
    let mut events: Vec<_> = events.collect();
    events.sort_unstable();
    events.reverse();
    let rest_from = events.get(keep).map_or(FAR, |event| event.0);
    let seen = |(place, &(at, cents)): (usize, &(i64, i64))| {
        let end_of_day = at - at.rem_euclid(DAY) + DAY - 1;
        Seen { at: if place < keep { at } else { end_of_day.min(rest_from) }, cents }
    };
    events.iter().enumerate().map(seen).collect()
}

impl Sequence {
    fn goes_on(&self, point: i64, steps: &[(Vec<i64>, &Next)], now: i64) -> bool {
        match steps.split_first() {
            None => point <= now,
            Some(((times, next), rest)) if next.happens => {
                let mut follows = times.iter().filter(|&&at| at >= point && at - point <= next.within);
                follows.any(|&at| self.goes_on(at, rest, now))
            }
            Some(((times, next), rest)) => {
                let grace = point + next.within;
                !times.iter().any(|&at| at >= point && (self.late_clears || at <= grace))
                    && self.goes_on(grace, rest, now)
            }
        }
    }
}

impl Which {
    fn takes(&self, entry: &Entry) -> bool {
        entry.name == self.name
            && self.shops.as_ref().is_none_or(|shops| entry.shop.is_some_and(|shop| shops.contains(&shop)))
            && self.dearer.is_none_or(|least| entry.cents.is_some_and(|cents| cents >= least * 100))
    }

    fn put(&self, into: &mut Map<String, Value>) {
        let mut filter = Map::new();
        if let Some(shops) = &self.shops {
            filter.insert(
                "shop".to_owned(),
                json!({"in": shops.iter().map(|shop| format!("s{shop}")).collect::<Vec<_>>()}),
            );
        }
        if let Some(least) = self.dearer {
            filter.insert("amount".to_owned(), json!({"gte": least}));
        }
        if !filter.is_empty() {
            into.insert("where".to_owned(), Value::Object(filter));
        }
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Gte(least) => value >= least as f64,
            Self::Lte(most) => value <= most as f64,
            Self::Eq(exact) => value == exact as f64,
            Self::Between(least, most) => value >= least as f64 && value < most as f64,
            Self::Above(least) => value > least as f64,
            Self::Below(most) => value < most as f64,
        }
    }

    /// [`Bound::holds`] of a fraction, without rounding.
    fn holds_of(self, above: i64, below: i64) -> bool {
        match self {
            Self::Gte(least) => above >= least * below,
            Self::Lte(most) => above <= most * below,
            Self::Eq(exact) => above == exact * below,
            Self::Between(least, most) => above >= least * below && above < most * below,
            Self::Above(least) => above > least * below,
            Self::Below(most) => above < most * below,
        }
    }

    fn keep(self) -> usize {
        let largest = match self {
            Self::Gte(n) | Self::Lte(n) | Self::Eq(n) | Self::Above(n) | Self::Below(n) => n,
            Self::Between(least, most) => least.max(most),
        };
        [16, 32, 64].into_iter().find(|&keep| keep > largest).expect("a threshold up to 63") as usize
    }

    fn json(self) -> Value {
        match self {
            Self::Gte(n) => json!({"gte": n}),
            Self::Lte(n) => json!({"lte": n}),
            Self::Eq(n) => json!({"eq": n}),
            Self::Between(least, most) => json!({"gte": least, "lt": most}),
            Self::Above(n) => json!({"gt": n}),
            Self::Below(n) => json!({"lt": n}),
        }
    }
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
fn month_of(day: i64) -> i64 {
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

    fn day(self, at: i64) -> i64 {
        (at + self.offset(at)).div_euclid(DAY)
    }
}

impl Window {
    fn covers(&self, at: i64, now: i64, zone: Zone) -> bool {
        let there = match self {
            Self::Last(span) => at > now - span,
            Self::Ago(from, to) => at > now - from && at <= now - to,
            Self::Since(since, until) => at >= *since && until.is_none_or(|until| at < until),
            Self::Ever => true,
            Self::Calendar(name, n) => {
                let (day, today) = (zone.day(at), zone.day(now));
                let week = |day: i64| (day + 3).div_euclid(7);
                match *name {
                    "today" => day == today,
                    "yesterday" => day == today - 1,
                    "days" => day > today - n && day <= today,
                    "this_week" => week(day) == week(today),
                    "last_week" => week(day) == week(today) - 1,
                    "this_month" => month_of(day) == month_of(today),
                    _ => month_of(day) == month_of(today) - 1,
                }
            }
        };
        there && at <= now
    }

    fn json(&self) -> Value {
        let instant = |at: i64| crate::domain::values::Millis(at).to_string();
        match self {
            Self::Last(last) => json!({"last": span(*last)}),
            Self::Ago(from, to) => json!({"ago": {"from": span(*from), "to": span(*to)}}),
            Self::Since(since, None) => json!({"since": instant(*since)}),
            Self::Since(since, Some(until)) => json!({"since": instant(*since), "until": instant(*until)}),
            Self::Calendar("days", n) => json!({"calendar": "days", "n": n}),
            Self::Calendar(name, _) => json!({"calendar": name}),
            Self::Ever => json!({"ever": true}),
        }
    }
}

/// A length of whole seconds as rules write it.
pub(super) fn span(ms: i64) -> String {
    format!("PT{}S", ms / SECOND)
}

impl Node {
    /// As a rule writes it.
    pub(super) fn json(&self) -> Value {
        let all = |nodes: &[Self]| -> Value { nodes.iter().map(Self::json).collect() };
        let age = |older: &Option<i64>, within: &Option<i64>| {
            let bounds = [("older_than", older), ("within", within)].into_iter();
            bounds.filter_map(|(name, ms)| Some((name.to_owned(), json!(span((*ms)?))))).collect::<Map<_, _>>()
        };
        match self {
            Self::All(nodes) => json!({"all": all(nodes)}),
            Self::Any(nodes) => json!({"any": all(nodes)}),
            Self::Not(node) => json!({"not": node.json()}),
            Self::Segment(at) => json!({"segment": format!("s{at}")}),
            Self::List(at) => json!({"list": format!("l{at}")}),
            Self::Trait(name, None) => json!({"trait": name, "exists": true}),
            Self::Trait(name, Some(last)) => json!({"trait": name, "within_last": span(*last)}),
            Self::Event(which, shop, measure) => {
                let mut json = json!({"event": format!("e{}", which.name)});
                which.put(json.as_object_mut().expect("an object"));
                if let Some(shop) = shop {
                    json["key"] = json!({"shop": format!("s{shop}")});
                }
                let mut put = |name: &str, value: Value, window: Option<&Window>| {
                    json[name] = value;
                    if let Some(window) = window {
                        json["in"] = window.json();
                    }
                };
                match measure {
                    Measure::Count(bound, window) => put("count", bound.json(), Some(window)),
                    Measure::Sum(bound, window) => {
                        put("sum", json!({"of": "amount", "is": bound.json()}), Some(window))
                    }
                    Measure::Avg(bound, window) => {
                        put("avg", json!({"of": "amount", "is": bound.json()}), Some(window))
                    }
                    Measure::Distinct(bound, window) => {
                        put("distinct", json!({"of": "item", "is": bound.json()}), Some(window));
                    }
                    Measure::Last(older, within) => put("last_seen", Value::Object(age(older, within)), None),
                    Measure::First(older, within) => put("first_seen", Value::Object(age(older, within)), None),
                }
                json
            }
            Self::Sequence(sequence) => {
                let step = |which: &Which, named: &str| {
                    let mut step = Map::new();
                    step.insert(named.to_owned(), json!(format!("e{}", which.name)));
                    which.put(&mut step);
                    step
                };
                let then = sequence.then.iter().map(|next| {
                    let mut step = step(&next.which, if next.happens { "event" } else { "not" });
                    step.insert("within".to_owned(), json!(span(next.within)));
                    step
                });
                let mut json = json!({"start": step(&sequence.start, "event"), "then": then.collect::<Vec<_>>(),
                    "lookback": span(sequence.lookback), "late_clears": sequence.late_clears,
                    "anchor": if sequence.any { "any" } else { "last" }});
                if sequence.same {
                    json["same"] = json!("item");
                }
                json!({"sequence": json})
            }
            Self::Rfm(recency, frequency, money) => {
                let fifths = [("r", recency), ("f", frequency), ("m", money)].into_iter();
                let given = fifths.filter(|(_, fifths)| !fifths.is_empty());
                json!({"rfm": given.map(|(name, fifths)| (name.to_owned(), json!(fifths))).collect::<Map<_, _>>()})
            }
            Self::Cluster(among, None) => json!({"cluster": {"model": "k", "in": among}}),
            Self::Cluster(among, Some(most)) => json!({"cluster": {"model": "k", "in": among, "max_distance": most}}),
        }
    }
}
