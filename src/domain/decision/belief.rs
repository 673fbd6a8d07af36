//! What was believed when a combination was chosen by what was learned, as explanations tell it.

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{ComponentId, SlotName},
    optimizer::By,
};

/// Why what was learned chose a combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reasoning {
    /// Counts what was learned of this creative until then.
    pub version: u64,
    /// How the choice came about.
    pub by: By,
    /// The probability with which this combination was chosen, over all seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propensity: Option<f64>,
    /// Features of the person and the request that responses may depend on.
    pub features: Vec<String>,
    /// What was believed of the combination.
    pub shown: Belief,
    /// Every legal combination that differs from it in one slot.
    pub others: Vec<Other>,
    /// Components that could stand in their slot, but not beside what is shown in the others: pairing rules forbid it,
    /// or would leave a slot empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<Forbidden>,
}

/// What is believed of a combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = CombinationBelief)]
pub struct Belief {
    /// The rate that is expected.
    pub rate: f64,
    /// Where the rate lies with a probability of 95%.
    pub interval: (f64, f64),
    /// The score in the draw that chose, on the logit scale; none where no draw chose: a combination that is shown
    /// by the floor, or to launch a component, was shown whatever the draws say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<f64>,
    /// The terms that matter most, the largest first, on the logit scale.
    pub terms: Vec<Part>,
}

/// A term of a score in words, as in "image beach for segment:frequent-traveller".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = BeliefTerm)]
pub struct Part {
    /// What it is about.
    pub term: String,
    /// What it adds to the score.
    pub adds: f64,
    /// The standard deviation of that.
    pub deviation: f64,
}

/// A component that pairing rules allow only beside others than those that are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ForbiddenComponent)]
pub struct Forbidden {
    /// Where it could stand.
    pub slot: SlotName,
    /// Which it is.
    pub component: ComponentId,
}

/// A combination that was not chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OtherCombination)]
pub struct Other {
    /// Where it differs.
    pub slot: SlotName,
    /// By which component.
    pub component: ComponentId,
    /// What was believed of it.
    pub belief: Belief,
}
