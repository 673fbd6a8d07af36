//! What segments are made of, and who comes and goes.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use utoipa::ToSchema;

use super::{people::PeopleError, reservoir::Reservoir, world::Account};
use crate::{
    domain::{
        audience::{
            compile::{SegmentIx, SegmentKind},
            preview::{Estimate, Population},
            report::{Matrix, Shown, TraitSurvey, index, survey},
            training::protected::attribute,
        },
        ids::{EventName, SegmentKey, TraitName},
        values::Millis,
        violation::Violation,
    },
    ports::{Clock, TransitionDay, TransitionStore},
};

/// Reports on segments.
pub struct Reports {
    reservoir: Arc<Reservoir>,
    transitions: Arc<dyn TransitionStore>,
    clock: Arc<dyn Clock>,
}

/// What to report on.
#[derive(Debug, Clone, Default)]
pub struct SegmentQuestion {
    /// These segments; none: the first ones of the account.
    pub segments: Option<Vec<SegmentKey>>,
    /// The first day, counted from 1970-01-01 in UTC, of entries and exits; none: as far back as is kept.
    pub from: Option<i64>,
    /// The last day; none: today.
    pub to: Option<i64>,
    /// Traits that are shown though they may tell a protected attribute.
    pub allow_protected: Vec<TraitName>,
}

/// Segments side by side.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({
    "at": "2026-11-22T08:30:00.000Z", "from": "2026-11-21", "to": "2026-11-22", "kept_days": 30,
    "population": {"people": 1_000_000, "at_least": 986_140, "at_most": 1_013_860},
    "asked": 20_000, "exact": false, "unread_events": [], "complete": true,
    "segments": [{
        "key": "vip", "kind": "dynamic", "size": {"people": 50_000, "at_least": 46_400, "at_most": 53_900},
        "mistyped": {"people": 0, "at_least": 0, "at_most": 150}, "share": 0.05,
        "entered": 310, "left": 120,
        "days": [{"day": "2026-11-21", "entered": 200, "left": 120}, {"day": "2026-11-22", "entered": 110, "left": 0}],
        "traits": [{
            "trait": "city", "known": 0.98, "known_everywhere": 0.91,
            "values": [{"value": "Berlin", "people": {"people": 20_000, "at_least": 17_700, "at_most": 22_600},
                "share": 0.4, "everywhere": 0.16, "index": 250.0}]
        }]
    }],
    "overlap": [],
    "left_out": [{"trait": "age", "attribute": "an age"}]
}))]
pub struct SegmentReport {
    /// The time that sizes, overlaps and traits are of.
    pub at: Millis,
    /// The first day of entries and exits, in UTC.
    #[schema(value_type = String)]
    pub from: Day,
    /// The last day.
    #[schema(value_type = String)]
    pub to: Day,
    /// For how many days transitions are kept: days before have none.
    pub kept_days: u32,
    /// People there are.
    pub population: Estimate,
    /// People who were asked: those whose uid, a hash, is smallest.
    pub asked: u64,
    /// Whether everybody was asked about everything.
    pub exact: bool,
    /// Events that the segments ask about and whose history is still being read: some of those who
    /// had them do not count yet.
    pub unread_events: Vec<EventName>,
    /// Whether the sample is as large as it will be; false for some seconds after a start.
    pub complete: bool,
    /// The segments, in the order of their keys.
    pub segments: Vec<SegmentShown>,
    /// Every two of them.
    pub overlap: Vec<PairShown>,
    /// Traits that are not shown, because their names may tell a protected attribute.
    pub left_out: Vec<LeftOut>,
}

/// A day in UTC, counted from 1970-01-01, written `2026-11-22`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = Millis(self.0.saturating_mul(86_400_000)).to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReportedSegment)]
pub struct SegmentShown {
    /// The segment.
    pub key: SegmentKey,
    /// How it gets its members.
    pub kind: SegmentKind,
    /// People in it.
    pub size: Estimate,
    /// People of whom a trait that its rule asks about is of another type than it asks for.
    pub mistyped: Estimate,
    /// Their share of all, 0 to 1.
    pub share: f64,
    /// Entries within the days: one for each time that somebody entered.
    pub entered: u64,
    /// Exits within the days.
    pub left: u64,
    /// Each day on which anything happened.
    pub days: Vec<DayShown>,
    /// The traits of its people beside everybody's.
    pub traits: Vec<TraitShown>,
}

/// A day of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReportedDay)]
pub struct DayShown {
    /// The day, in UTC.
    #[schema(value_type = String)]
    pub day: Day,
    /// Entries.
    pub entered: u64,
    /// Exits.
    pub left: u64,
}

/// A trait within a segment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReportedTrait)]
pub struct TraitShown {
    /// Its name.
    #[serde(rename = "trait")]
    pub name: String,
    /// Share of the segment's people who have it.
    pub known: f64,
    /// Share of all people who have it.
    pub known_everywhere: f64,
    /// The most common values within the segment, at most 10. Those of fewer than 5 people of the
    /// sample are not told.
    pub values: Vec<ValueShown>,
}

/// A value of a trait within a segment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReportedShare)]
pub struct ValueShown {
    /// The value; numbers of many values in bands.
    pub value: Shown,
    /// People of the segment who have it.
    pub people: Estimate,
    /// Their share of the segment.
    pub share: f64,
    /// The share of all people who have it.
    pub everywhere: f64,
    /// 100 times the share over that of all: 250 is two and a half times as common.
    pub index: Option<f64>,
}

/// Two segments.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReportedPair)]
pub struct PairShown {
    /// One.
    pub one: SegmentKey,
    /// The other.
    pub other: SegmentKey,
    /// People in both.
    pub both: Estimate,
    /// Share of the people of `one` who are in `other` as well; left out where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_one: Option<f64>,
    /// Share of the people of `other` who are in `one` as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_other: Option<f64>,
}

/// A trait that is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LeftOutTrait)]
pub struct LeftOut {
    /// Its name.
    #[serde(rename = "trait")]
    pub name: String,
    /// What it may tell.
    pub attribute: &'static str,
}

impl Reports {
    /// The most segments of a report.
    pub const MOST: usize = 50;
    /// Segments of a report that names none.
    pub const FIRST: usize = 20;
    /// The most traits: those that most people have.
    const TRAITS: usize = 30;
    /// The most values of a trait.
    const VALUES: usize = 10;
    /// Values that fewer people of the sample have might name them.
    const FEWEST: u64 = 5;

    /// Reports from a sample of people and what is recorded of transitions.
    #[must_use]
    pub fn new(reservoir: Arc<Reservoir>, transitions: Arc<dyn TransitionStore>, clock: Arc<dyn Clock>) -> Self {
        Self { reservoir, transitions, clock }
    }

    /// Segments side by side.
    ///
    /// # Errors
    /// Segments that do not exist, or days that are not kept or out of order, all with pointers; the
    /// store's.
    pub async fn segments(&self, account: &Account, question: SegmentQuestion) -> Result<SegmentReport, PeopleError> {
        let (now, kept) = (self.clock.now(), self.transitions.kept_days());
        let today = now.0.div_euclid(86_400_000);
        let oldest = today - i64::from(kept);
        let (from, to) = (question.from.unwrap_or(oldest), question.to.unwrap_or(today));
        let chosen = chosen(account, question.segments);
        let mut faults = chosen.as_ref().err().cloned().unwrap_or_default();
        if from < oldest {
            let detail = format!("must be {} or later: transitions are kept for {kept} days", Day(oldest));
            faults.push(Violation::new("/from", "out_of_range", detail));
        }
        if to < from {
            faults.push(Violation::new("/to", "out_of_range", "must not be before from"));
        }
        let Some(chosen) = chosen.ok().filter(|_| faults.is_empty()) else { return Err(PeopleError::Invalid(faults)) };
        let keys: Vec<SegmentKey> = chosen.iter().map(|(key, _)| key.clone()).collect();
        let unread_events = self.reservoir.unread(account.number(), &account.snapshot.streams_of(&keys)).await?;
        let days = self.transitions.daily(account.number(), keys, from, to).await?;
        let drawn = self.reservoir.draw(account.number());
        let (allowed, protected): (Vec<String>, Vec<String>) = drawn.traits.iter().cloned().partition(|name| {
            attribute(name).is_none() || question.allow_protected.iter().any(|asked| asked.as_str() == name)
        });
        let (population, complete, people) = (drawn.population, drawn.complete, drawn.people);
        let (snapshot, ixs) = (Arc::clone(&account.snapshot), chosen.iter().map(|(_, ix)| *ix).collect::<Vec<_>>());
        let ask = move || {
            let matrix = Matrix::ask(&people, &snapshot.rules, &ixs, now);
            let mut traits = survey(&people, &matrix, &allowed);
            traits.retain(|one| one.known > 0);
            if traits.len() > Self::TRAITS {
                let mut known: Vec<u64> = traits.iter().map(|one| one.known).collect();
                known.sort_unstable_by(|a, b| b.cmp(a));
                traits.retain(|one| one.known >= known[Self::TRAITS - 1]);
                traits.truncate(Self::TRAITS);
            }
            Found { matrix, traits, population }
        };
        let found = tokio::task::spawn_blocking(ask).await.map_err(|_| PeopleError::Contended)?;
        let rules = &account.snapshot.rules;
        let mut days = by_segment(days);
        let segments = chosen.iter().enumerate().map(|(at, (key, ix))| {
            let days = days.remove(key).unwrap_or_default();
            found.segment(at, key, rules.kind(*ix), days)
        });
        let left_out = protected.into_iter().filter_map(|name| {
            let told = attribute(&name)?;
            Some(LeftOut { name, attribute: told })
        });
        Ok(SegmentReport {
            at: now,
            from: Day(from),
            to: Day(to),
            kept_days: kept,
            population: population.size(),
            asked: found.matrix.asked(),
            exact: population.estimated.is_none() && complete && unread_events.is_empty(),
            unread_events,
            complete,
            segments: segments.collect(),
            overlap: found.overlap(&chosen),
            left_out: left_out.collect(),
        })
    }
}

/// The segments asked for, in the order of their keys.
fn chosen(account: &Account, asked: Option<Vec<SegmentKey>>) -> Result<Vec<(SegmentKey, SegmentIx)>, Vec<Violation>> {
    let rules = &account.snapshot.rules;
    let Some(asked) = asked else {
        let mut all: Vec<_> = rules.all().map(|ix| (rules.key(ix).clone(), ix)).collect();
        all.sort();
        all.truncate(Reports::FIRST);
        return Ok(all);
    };
    let unknown = asked.iter().enumerate().filter(|(_, key)| rules.ix(key).is_none());
    let fault = |at: usize, detail| Violation::new(format!("/segments/{at}"), "unknown_segment", detail);
    let mut faults: Vec<_> = unknown.map(|(at, key)| fault(at, format!("no segment is called \"{key}\""))).collect();
    if asked.len() > Reports::MOST {
        let detail = format!("must name at most {} segments", Reports::MOST);
        faults.push(Violation::new("/segments", "out_of_range", detail));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut all: Vec<_> = asked.into_iter().filter_map(|key| rules.ix(&key).map(|ix| (key, ix))).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

fn by_segment(days: Vec<TransitionDay>) -> BTreeMap<SegmentKey, Vec<DayShown>> {
    let mut all: BTreeMap<SegmentKey, Vec<DayShown>> = BTreeMap::new();
    for TransitionDay { segment, day, entered, left } in days {
        all.entry(segment).or_default().push(DayShown { day: Day(day), entered, left });
    }
    all
}

/// What asking the sample came to.
struct Found {
    matrix: Matrix,
    traits: Vec<TraitSurvey>,
    population: Population,
}

impl Found {
    fn segment(&self, at: usize, key: &SegmentKey, kind: SegmentKind, days: Vec<DayShown>) -> SegmentShown {
        let size = self.matrix.size(at);
        SegmentShown {
            key: key.clone(),
            kind,
            size: self.population.like(size),
            mistyped: self.population.like(self.matrix.mistyped(at)),
            share: share(size, self.matrix.asked()).unwrap_or(0.0),
            entered: days.iter().map(|day| day.entered).sum(),
            left: days.iter().map(|day| day.left).sum(),
            days,
            traits: if size == 0 {
                Vec::new()
            } else {
                self.traits.iter().map(|one| self.profile(at, size, one)).collect()
            },
        }
    }

    fn profile(&self, at: usize, size: u64, of: &TraitSurvey) -> TraitShown {
        let all = self.matrix.asked();
        let mut values: Vec<_> = of.values.iter().filter(|one| one.people_in[at] >= Reports::FEWEST).collect();
        // stable, so that those as common as each other stay in the order of their values
        values.sort_by_key(|one| std::cmp::Reverse(one.people_in[at]));
        values.truncate(Reports::VALUES);
        let shown = values.into_iter().map(|one| ValueShown {
            value: one.value.clone(),
            people: self.population.like(one.people_in[at]),
            share: share(one.people_in[at], size).unwrap_or(0.0),
            everywhere: share(one.people, all).unwrap_or(0.0),
            index: index(one.people_in[at], size, one.people, all),
        });
        TraitShown {
            name: of.name.clone(),
            known: share(of.known_in[at], size).unwrap_or(0.0),
            known_everywhere: share(of.known, all).unwrap_or(0.0),
            values: shown.collect(),
        }
    }

    fn overlap(&self, chosen: &[(SegmentKey, SegmentIx)]) -> Vec<PairShown> {
        let mut pairs = Vec::new();
        for (one, (key, _)) in chosen.iter().enumerate() {
            for (other, (other_key, _)) in chosen.iter().enumerate().skip(one + 1) {
                let both = self.matrix.both(one, other);
                pairs.push(PairShown {
                    one: key.clone(),
                    other: other_key.clone(),
                    both: self.population.like(both),
                    of_one: share(both, self.matrix.size(one)),
                    of_other: share(both, self.matrix.size(other)),
                });
            }
        }
        pairs
    }
}

/// A share to four places; none of nobody.
fn share(found: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| (found as f64 / of as f64 * 10_000.0).round() / 10_000.0)
}
