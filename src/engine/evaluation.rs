//! What another rotation would have earned on the decisions that were logged.

use serde::Serialize;

use super::results::{self, Results, ResultsError};
use crate::{
    domain::{
        catalog::{creative::Creative, document::GoalDoc},
        decision::learned::{Learner, Paired},
        ids::{CampaignId, ComponentId, SlotName},
        measurement::evaluate::{Basis, Evaluation, Evaluator, Logged, MOST_COMBINATIONS, Refusal, Weight},
        optimizer::Space,
        violation::Violation,
    },
    engine::world::Account,
    ports::{LoggedDecision, Measured, Rewarded},
};

/// Another rotation.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every legal combination as often.
    Even,
    /// By the weights of the components.
    Weights,
    /// Always the one that is believed best for the person now.
    Best,
    /// As now, without some components.
    Without(Vec<(SlotName, ComponentId)>),
}

/// What another rotation would have earned, and what it rests on.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Evaluated {
    /// The campaign.
    pub campaign: CampaignId,
    /// What is earned.
    pub reward: Reward,
    /// Logged decisions that could be used.
    pub used: u64,
    /// Logged decisions that could not: of other revisions, or with too many combinations.
    pub left_out: u64,
    /// The estimate; none where the log says too little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Why there is no estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What to keep in mind.
    pub notes: Vec<&'static str>,
}

/// What is earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reward {
    /// Clicks per decision.
    Clicks,
    /// Conversions per decision.
    Conversions,
}

/// Logged decisions that are read.
const MOST: u32 = 50_000;

impl Results {
    /// Evaluates another rotation on the decisions logged from one day (UTC, since 1970-01-01) to
    /// another.
    ///
    /// # Errors
    /// See [`ResultsError`].
    pub async fn evaluate(
        &self,
        account: &Account,
        id: &CampaignId,
        target: Target,
        days: (Option<i64>, Option<i64>),
    ) -> Result<Evaluated, EvaluateError> {
        let at = account.snapshot.line(id).ok_or_else(|| ResultsError::NoCampaign(id.clone()))?;
        let line = &account.snapshot.lines[at];
        if let Target::Without(components) = &target {
            let faults = unknown(components, &line.creatives);
            if !faults.is_empty() {
                return Err(EvaluateError::Invalid(faults));
            }
        }
        let (reward, measured) = match line.campaign.goal {
            GoalDoc::Click => (Reward::Clicks, Measured::Clicks),
            GoalDoc::Conversion(_) => (Reward::Conversions, Measured::Conversions),
        };
        let days = results::days(days.0, days.1);
        let logged =
            self.store.logged(account.number(), id.clone(), days, measured, MOST).await.map_err(ResultsError::from)?;
        let creatives = line.creatives.clone();
        let learned: Vec<_> =
            creatives.iter().filter_map(|creative| account.learned.of(&line.campaign, creative).cloned()).collect();
        let work = move || {
            let mut evaluator = Evaluator::new(Basis::Combinations);
            let (mut used, mut left_out) = (0, 0);
            for Rewarded { logged, reward } in &logged {
                let of = creatives.iter().position(|creative| creative.id == logged.creative);
                let known = of.and_then(|at| Some((creatives.get(at)?, learned.get(at)?)));
                let weight = known.and_then(|(creative, learner)| likelihood(&target, creative, learner, logged));
                let Some(share) = weight else {
                    left_out += 1;
                    continue;
                };
                let weight = Weight::Joint { propensity: logged.propensity, target: share };
                match evaluator.push(&Logged { person: logged.person, weight, reward: *reward }) {
                    Ok(()) => used += 1,
                    Err(_) => left_out += 1,
                }
            }
            (evaluator.finish(), used, left_out)
        };
        let (finished, used, left_out) =
            tokio::task::spawn_blocking(work).await.map_err(|error| EvaluateError::Failed(error.to_string()))?;
        let mut notes = vec!["Intervals hold for one look."];
        if left_out > used {
            notes.push("Most decisions had more than 200 legal combinations or are of a creative that is gone.");
        }
        if finished.is_ok() {
            notes.push("What was learned from the same decisions flatters the rotation that uses it.");
        }
        let (evaluation, refused) = match finished {
            Ok(evaluation) => (Some(evaluation), None),
            Err(refusal @ (Refusal::EffectiveSampleSize { .. } | Refusal::LargestWeight { .. })) => {
                (None, Some(refusal.to_string()))
            }
        };
        Ok(Evaluated { campaign: id.clone(), reward, used, left_out, evaluation, refused, notes })
    }
}

/// Why another rotation was not evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The rotation names what is not there.
    #[error("the rotation is invalid")]
    Invalid(Vec<Violation>),
    /// See there.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A fault of this program.
    #[error("{0}")]
    Failed(String),
}

fn unknown(components: &[(SlotName, ComponentId)], creatives: &[std::sync::Arc<Creative>]) -> Vec<Violation> {
    let there = |slot: &SlotName, id: &ComponentId| {
        creatives.iter().any(|creative| {
            creative.components.iter().any(|one| one.id == *id && creative.slots[one.slot].name == *slot)
        })
    };
    let missing = components.iter().enumerate().filter(|(_, (slot, id))| !there(slot, id));
    missing
        .map(|(at, (slot, id))| {
            Violation::new(
                format!("/without/{at}"),
                "unknown_component",
                format!("no creative of the campaign has {id} in {slot}"),
            )
        })
        .collect()
}

/// How likely the other rotation shows what was shown; none where that cannot be said.
fn likelihood(target: &Target, creative: &Creative, learner: &Learner, logged: &LoggedDecision) -> Option<f64> {
    let draws = learner.draws.as_ref()?;
    let mut eligible = learner.positions(creative, &logged.eligible);
    let mut choice = logged.choice.clone();
    choice.resize(draws.layout().slots(), crate::domain::optimizer::DEFAULT);
    let space = learner.space(creative, &eligible).filter(|space| space.count() <= MOST_COMBINATIONS as f64)?;
    match target {
        Target::Even => Some(space.share(&choice)),
        Target::Without(gone) => {
            for (slot, id) in gone {
                let Some(at) = creative.slots.iter().position(|known| known.name == *slot) else { continue };
                let is = |position: &u16| {
                    creative.components[creative.slots[at].candidates[usize::from(*position)] as usize].id == *id
                };
                eligible[at].retain(|position| !is(position));
            }
            // a slot that has lost all shows its default
            match learner.space(creative, &eligible) {
                Some(space) => Some(draws.propensity(&space, &logged.features, &choice)),
                None => Some(0.0),
            }
        }
        Target::Weights | Target::Best => {
            let all = all(&space)?;
            if !all.contains(&choice) {
                return Some(0.0);
            }
            if matches!(target, Target::Best) {
                let mean = |of: &Vec<u16>| {
                    draws.score(&logged.features, of, None).map_or(f64::NEG_INFINITY, |score| score.mean)
                };
                let best = all.iter().max_by(|a, b| mean(a).total_cmp(&mean(b)))?;
                return Some(if *best == choice { 1.0 } else { 0.0 });
            }
            let weight = |of: &Vec<u16>| -> f64 {
                let positions = learner.candidates(creative, of);
                let weights = (0..creative.slots.len()).filter_map(|slot| creative.chosen(slot, &positions));
                weights.map(|component| f64::from(component.weight)).product()
            };
            let total: f64 = all.iter().map(weight).sum();
            (total > 0.0).then(|| weight(&choice) / total)
        }
    }
}

/// Every legal combination; none where there are too many.
fn all(space: &Space<Paired<'_>>) -> Option<Vec<Vec<u16>>> {
    space.list_all(MOST_COMBINATIONS as usize)
}
