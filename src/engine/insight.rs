//! What a rule would mean before anybody uses it: how many people, which, and why.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{
    people::PeopleError,
    reservoir::{Drawn, Reservoir},
    unpack::unpack,
    world::Account,
};
use crate::{
    domain::{
        audience::{
            activity::Stream,
            lint::{Vocabulary, lint},
            preview::{Estimate, Probe, Tally},
            rule::SegmentRule,
        },
        ids::{EventName, NameHash, SegmentKey, Uid, UserKey},
        values::Millis,
        violation::Violation,
    },
    ports::{Clock, CrowdStore, FoundProfile, UserStore},
};

/// Looks at rules with the eyes of a sample of people, or of all of them.
pub struct Insight {
    reservoir: Arc<Reservoir>,
    crowds: Arc<dyn CrowdStore>,
    users: Arc<dyn UserStore>,
    clock: Arc<dyn Clock>,
}

/// What to find out about a rule.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Segments to compare it with; none: the first ones of the account.
    pub overlap: Option<Vec<SegmentKey>>,
    /// How many members to name.
    pub members: usize,
    /// Whether to ask everybody, not a sample.
    pub exact: bool,
}

/// What a rule would mean.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Preview {
    /// The time it is of.
    pub at: Millis,
    /// People who would be in.
    pub size: Estimate,
    /// People there are.
    pub population: Estimate,
    /// People who were asked; of a sample, those whose uid, a hash, is smallest.
    pub asked: u64,
    /// Whether everybody was asked about everything, so that the numbers are exact.
    pub exact: bool,
    /// Events that are not kept per person as this rule asks for them, or whose history is still
    /// being read: some or all of those who had them do not count here. History is read once the
    /// rule is saved; `GET /v1/segments/{key}/status` says when.
    pub unread_events: Vec<EventName>,
    /// Whether the sample is as large as it will be; false for some seconds after a start.
    pub complete: bool,
    /// Each condition of the rule, in its order.
    pub conditions: Vec<ConditionView>,
    /// How the rule overlaps with other segments.
    pub overlap: Vec<OverlapView>,
    /// Some of those who would be in.
    pub members: Vec<UserKey>,
    /// What the author should look at.
    pub lint: Vec<Violation>,
}

/// A condition of a rule and whom it lets through.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ConditionView {
    /// JSON pointer within the rule.
    pub pointer: String,
    /// The condition in words.
    pub condition: String,
    /// People who meet it, whatever else.
    pub keeps: Estimate,
    /// People who would be in if the rule did without it.
    pub drops: Estimate,
    /// People whose trait is of another type than the condition asks about, such as a text where it
    /// compares numbers: it is false for them.
    pub mistyped: Estimate,
}

/// What a rule has in common with a segment.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct OverlapView {
    /// The segment.
    pub segment: SegmentKey,
    /// People in the segment.
    pub size: Estimate,
    /// People in both.
    pub both: Estimate,
}

/// What asking came to.
struct Asked {
    tally: Tally,
    members: Vec<Uid>,
}

impl Insight {
    /// The most segments that a rule is compared with.
    pub const OVERLAP: usize = 20;
    /// People read at a time where all are asked.
    const BATCH: u32 = 2_000;

    /// Insight from these people.
    #[must_use]
    pub fn new(
        reservoir: Arc<Reservoir>,
        crowds: Arc<dyn CrowdStore>,
        users: Arc<dyn UserStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { reservoir, crowds, users, clock }
    }

    /// Names of all traits that anybody has, at most 10,000.
    ///
    /// # Errors
    /// The store's.
    pub async fn trait_names(&self, account: &Account) -> Result<Vec<String>, PeopleError> {
        Ok(self.crowds.trait_names(account.number(), Uid(u128::MAX)).await?)
    }

    /// What the author of a segment's rule should look at. `own` is the segment itself, whose
    /// traits count for nothing.
    pub async fn lint(&self, account: &Account, own: Option<&SegmentKey>, rule: &SegmentRule) -> Vec<Violation> {
        self.lint_with(account, own, rule, &self.reservoir.draw(account.number())).await
    }

    async fn lint_with(
        &self,
        account: &Account,
        own: Option<&SegmentKey>,
        rule: &SegmentRule,
        drawn: &Drawn,
    ) -> Vec<Violation> {
        let snapshot = &account.snapshot;
        let remembered = snapshot.streams.iter().chain(snapshot.feeds.values().flat_map(|feed| feed.streams.all()));
        let events = remembered.map(Stream::event).chain(snapshot.write_keys.values().flat_map(|key| &key.events));
        let mut known = Vocabulary { traits: drawn.traits.clone(), events: events.map(EventName::to_string).collect() };
        known.events.extend(self.reservoir.event_types(account.number()).await);
        for (key, other) in snapshot.segments() {
            if let Some(other) = other.as_ref().filter(|_| Some(key) != own) {
                known.learn(other);
            }
        }
        for name in rule.node().map(|node| node.referenced_traits()).unwrap_or_default() {
            let hash = NameHash::of(name.as_str());
            if !known.traits.contains(name.as_str())
                && drawn.people.iter().any(|(_, state)| state.traits.get(hash).is_some())
            {
                known.traits.insert(name.to_string());
            }
        }
        lint(rule, &known)
    }

    /// What a rule would mean.
    ///
    /// # Errors
    /// The rule is no rule of a dynamic segment, or names segments that do not exist, with pointers
    /// within the rule; the store's.
    pub async fn preview(&self, account: &Account, rule: &Value, question: Question) -> Result<Preview, PeopleError> {
        let parsed = SegmentRule::parse(rule).map_err(PeopleError::Invalid)?;
        let SegmentRule::Dynamic(draft) = &parsed else {
            let fault = Violation::new("/kind", "not_dynamic", "a static segment has members, not a rule");
            return Err(PeopleError::Invalid(vec![fault]));
        };
        let known = account.snapshot.segments();
        let others = question.overlap.unwrap_or_else(|| {
            let mut keys: Vec<_> =
                account.snapshot.rules.all().map(|ix| account.snapshot.rules.key(ix).clone()).collect();
            keys.sort();
            keys.truncate(Self::OVERLAP);
            keys
        });
        let probe =
            Arc::new(Probe::new(draft, known, &others, account.snapshot.rules.models()).map_err(PeopleError::Invalid)?);
        let now = self.clock.now();
        // Before anybody is asked: a history that ends meanwhile may be missing in the first of them.
        let unread_events = self.reservoir.unread(account.number(), probe.streams()).await?;
        let drawn = self.reservoir.draw(account.number());
        let lint = self.lint_with(account, None, &parsed, &drawn).await;
        let (asked, population, complete) = if question.exact {
            let asked = self.ask_all(account.number(), &probe, now, question.members).await?;
            let population = crate::domain::audience::preview::Population::whole(asked.tally.asked());
            (asked, population, true)
        } else {
            let (population, complete, people) = (drawn.population, drawn.complete, drawn.people);
            let probe = Arc::clone(&probe);
            let ask = move || {
                let mut asked = Asked { tally: Tally::default(), members: Vec::new() };
                for (uid, state) in &people {
                    if probe.ask(*uid, state, now, &mut asked.tally) && asked.members.len() < question.members {
                        asked.members.push(*uid);
                    }
                }
                asked
            };
            (tokio::task::spawn_blocking(ask).await.map_err(|_| PeopleError::Contended)?, population, complete)
        };
        let mut members = Vec::new();
        for uid in asked.members {
            if let FoundProfile::Known(row) = self.users.profile(account.number(), uid).await? {
                members.extend(row.key);
            }
        }
        let conditions = probe.conditions(&asked.tally).into_iter().map(|one| ConditionView {
            pointer: one.pointer,
            condition: one.condition,
            keeps: population.like(one.keeps),
            drops: population.like(one.drops),
            mistyped: population.like(one.mistyped),
        });
        let overlap = others.into_iter().zip(asked.tally.others()).map(|(segment, &(size, both))| OverlapView {
            segment,
            size: population.like(size),
            both: population.like(both),
        });
        Ok(Preview {
            at: now,
            size: population.like(probe.size(&asked.tally)),
            population: population.size(),
            asked: asked.tally.asked(),
            exact: population.estimated.is_none() && complete && unread_events.is_empty(),
            unread_events,
            complete,
            conditions: conditions.collect(),
            overlap: overlap.collect(),
            members,
            lint,
        })
    }

    /// Asks everybody, some at a time.
    async fn ask_all(
        &self,
        account: u32,
        probe: &Arc<Probe>,
        now: Millis,
        members: usize,
    ) -> Result<Asked, PeopleError> {
        let mut all = Asked { tally: Tally::default(), members: Vec::new() };
        let mut after = None;
        loop {
            let rows = self.crowds.scan(account, after, Self::BATCH).await?;
            let more = rows.len() == Self::BATCH as usize;
            after = rows.last().map(|row| row.uid);
            let (probe, wanted) = (Arc::clone(probe), members - all.members.len());
            let ask = move || {
                let mut asked = Asked { tally: Tally::default(), members: Vec::new() };
                for row in rows {
                    let state = unpack(row.row)?;
                    if probe.ask(row.uid, &state, now, &mut asked.tally) && asked.members.len() < wanted {
                        asked.members.push(row.uid);
                    }
                }
                Ok::<_, PeopleError>(asked)
            };
            let part = tokio::task::spawn_blocking(ask).await.map_err(|_| PeopleError::Contended)??;
            all.tally.add(&part.tally);
            all.members.extend(part.members);
            if !more {
                return Ok(all);
            }
        }
    }
}
