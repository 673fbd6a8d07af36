//! What conditions mean, read from the raw log of events with nothing but loops: no code of the
//! evaluator, its calendar or its summaries.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::zones::{Zone, month_of};

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

/// Rules and the person they are about.
pub(super) struct Truth<'a> {
    rules: &'a [(Node, Zone)],
    person: &'a Person,
    /// Of each condition asked before, the events that it is about: looked up once a person.
    about: RefCell<HashMap<*const Node, Rc<Lists>>>,
}

/// Lists of events, as a summary remembers them.
type Lists = Vec<Vec<Seen>>;

/// How many items there are.
const ITEMS: usize = 6;

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

impl<'a> Truth<'a> {
    pub(super) fn new(rules: &'a [(Node, Zone)], person: &'a Person) -> Self {
        Self { rules, person, about: RefCell::default() }
    }

    pub(super) fn holds(&self, (node, zone): &(Node, Zone), now: i64) -> bool {
        self.node(node, *zone, now)
    }

    fn node(&self, node: &Node, zone: Zone, now: i64) -> bool {
        let about = || Rc::clone(self.about.borrow_mut().entry(node).or_insert_with(|| Rc::new(self.lists(node))));
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
            Node::Event(_, _, measure) => measure.holds(&about(), zone, now),
            Node::Sequence(sequence) => about().chunks(1 + sequence.then.len()).any(|lists| sequence.holds(lists, now)),
            Node::Rfm(recency, frequency, money) => rfm(&about(), [recency, frequency, money], now),
            Node::Cluster(among, most) => cluster(&about(), among, *most, now),
        }
    }

    /// The events that a condition is about: one list, or one per item, or per key one per step.
    fn lists(&self, node: &Node) -> Lists {
        let log = |takes: &dyn Fn(&Entry) -> bool, paid: bool, keep: usize| {
            let own = self.person.log.iter().filter(|entry| takes(entry) && (entry.cents.is_some() || !paid));
            remembered(own.map(|entry| (entry.at, if paid { entry.cents.unwrap_or(0) } else { 0 })), keep)
        };
        let of = |name: usize| move |entry: &Entry| entry.name == name;
        match node {
            Node::Event(which, shop, measure) => {
                let takes = |entry: &Entry| which.takes(entry) && shop.is_none_or(|shop| entry.shop == Some(shop));
                match measure {
                    Measure::Count(bound, _) => vec![log(&takes, false, bound.keep())],
                    Measure::Sum(..) | Measure::Avg(..) => vec![log(&takes, true, 16)],
                    Measure::Distinct(..) => {
                        let item = |item| log(&|entry| takes(entry) && entry.item == Some(item), false, 16);
                        (0..ITEMS).map(item).collect()
                    }
                    Measure::Last(..) => vec![log(&takes, false, 16)],
                    // The first of all is remembered as it was.
                    Measure::First(..) => vec![log(&takes, false, usize::MAX)],
                }
            }
            Node::Sequence(sequence) => {
                let keys: Vec<Option<usize>> = if sequence.same { (0..ITEMS).map(Some).collect() } else { vec![None] };
                let steps = || std::iter::once(&sequence.start).chain(sequence.then.iter().map(|next| &next.which));
                let lists = keys.iter().flat_map(|key| {
                    steps().map(move |which| {
                        log(&|entry| which.takes(entry) && (key.is_none() || entry.item == *key), false, 16)
                    })
                });
                // The newest are looked at, and no others.
                lists.map(|list| list.into_iter().take(16).collect()).collect()
            }
            Node::Rfm(..) => vec![log(&of(0), false, 16), log(&of(0), true, 16)],
            Node::Cluster(..) => {
                let item = |item| log(&|entry| entry.name == 2 && entry.item == Some(item), false, 16);
                let lists = [log(&of(1), false, 16), log(&of(0), false, 16), log(&of(0), true, 16)];
                lists.into_iter().chain((0..ITEMS).map(item)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Measure {
    fn holds(&self, lists: &[Vec<Seen>], zone: Zone, now: i64) -> bool {
        let counted = |list: &Vec<Seen>, window: &Window| -> (i64, i64) {
            let counted = list.iter().filter(|seen| window.covers(seen.at, now, zone));
            counted.fold((0, 0), |(count, sum), seen| (count + 1, sum + seen.cents))
        };
        let seen = |at: Option<i64>, older: &Option<i64>, within: &Option<i64>| {
            at.is_some_and(|at| aged(now - at, *older, *within))
        };
        match self {
            Self::Count(bound, window) => bound.holds(counted(&lists[0], window).0, 1),
            Self::Sum(bound, window) => bound.holds(counted(&lists[0], window).1, 100),
            Self::Avg(bound, window) => {
                let (count, sum) = counted(&lists[0], window);
                count > 0 && bound.holds(sum, count * 100)
            }
            Self::Distinct(bound, window) => {
                bound.holds(lists.iter().filter(|list| counted(list, window).0 > 0).count() as i64, 1)
            }
            Self::Last(older, within) => {
                seen(lists[0].iter().map(|seen| seen.at).filter(|&at| at <= now).max(), older, within)
            }
            Self::First(older, within) => {
                seen(lists[0].iter().map(|seen| seen.at).min().filter(|&at| at <= now), older, within)
            }
        }
    }
}

fn rfm(lists: &[Vec<Seen>], [recency, frequency, money]: [&Vec<i64>; 3], now: i64) -> bool {
    let recent = |seen: &&Seen| seen.at <= now && now - seen.at < RFM_WINDOW;
    let Some(newest) = lists[0].iter().filter(recent).map(|seen| seen.at).max() else { return false };
    let count = lists[0].iter().filter(recent).count() as i64;
    let sum: i64 = lists[1].iter().filter(recent).map(|seen| seen.cents).sum();
    let r = 5 - RFM_RECENCY.iter().filter(|&&cut| now - newest >= cut).count() as i64;
    let f = 1 + RFM_FREQUENCY.iter().filter(|&&cut| count >= cut).count() as i64;
    let m = 1 + RFM_MONEY.iter().filter(|&&cut| sum >= cut * 100).count() as i64;
    let among = |wanted: &[i64], fifth| wanted.is_empty() || wanted.contains(&fifth);
    among(recency, r) && among(frequency, f) && among(money, m)
}

fn cluster(lists: &[Vec<Seen>], among: &[usize], most: Option<f64>, now: i64) -> bool {
    let newest = lists[0].iter().map(|seen| seen.at).filter(|&at| at <= now).max();
    let mut steps = if newest.is_some() { 0 } else { 14 };
    while steps < 14 && newest.is_some_and(|newest| now - newest >= HOUR << steps) {
        steps += 1;
    }
    let recent = |seen: &&Seen| seen.at <= now && now - seen.at < CLUSTER_WINDOW;
    let count = lists[1].iter().filter(recent).count() as f64;
    let sum = lists[2].iter().filter(recent).map(|seen| seen.cents).sum::<i64>() as f64 / 100.0;
    let items = lists[3..].iter().filter(|list| list.iter().any(|seen| recent(&seen))).count() as f64;
    let point = [f64::from(steps), count.ln_1p(), sum.max(0.0).ln_1p(), items.ln_1p()];
    let distance = |centroid: &[f64; 4]| {
        let off = |at: usize| (point[at] - CLUSTER_SCALE[at].0) / CLUSTER_SCALE[at].1 - centroid[at];
        (0..4).map(|at| off(at).powi(2)).sum::<f64>().sqrt()
    };
    let mut best = 0;
    for (at, centroid) in CLUSTERS.iter().enumerate() {
        if distance(centroid) < distance(&CLUSTERS[best]) {
            best = at;
        }
    }
    among.contains(&best) && most.is_none_or(|most| distance(&CLUSTERS[best]) <= most)
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
    /// Whether it holds for the events of one key: those of the start, then those of each step.
    fn holds(&self, lists: &[Vec<Seen>], now: i64) -> bool {
        let happened = |list: &[Seen]| list.iter().map(|seen| seen.at).filter(|&at| at <= now).collect::<Vec<_>>();
        let mut points: Vec<i64> = happened(&lists[0]).into_iter().filter(|&at| at > now - self.lookback).collect();
        if points.is_empty() {
            return false;
        }
        let steps: Vec<(Vec<i64>, &Next)> = lists[1..].iter().map(|list| happened(list)).zip(&self.then).collect();
        if self.any {
            return points.into_iter().any(|start| self.goes_on(start, &steps, now));
        }
        // The newest point that the leading event steps come to.
        let leading = steps.iter().take_while(|(_, next)| next.happens).count();
        for (times, next) in &steps[..leading] {
            let reached = |at: &&i64| points.iter().any(|point| point <= *at && **at - point <= next.within);
            points = times.iter().filter(reached).copied().collect();
        }
        points.into_iter().max().is_some_and(|newest| self.goes_on(newest, &steps[leading..], now))
    }

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
}

impl Bound {
    /// Whether `above / below` is within, without rounding.
    fn holds(self, above: i64, below: i64) -> bool {
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
}
