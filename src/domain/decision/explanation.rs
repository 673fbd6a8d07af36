//! Why this combination was shown, and for everything else the first condition that failed.

use serde::{Deserialize, Serialize};

use crate::domain::{
    audience::evaluate::Evaluator,
    catalog::creative::{Choice, Component, Creative, Slot},
    creative::SlotValue,
    decision::{
        belief::Reasoning,
        choose::{Manner, exclusion},
        exclusion::{ComponentExclusion, Exclusion},
        goods::{Picked, PickedBy},
        standing::FallbackLevel,
    },
    ids::{CampaignId, ComponentId, CreativeId, DecisionId, SlotName},
};

/// Why a combination was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Learned from outcomes.
    Optimized,
    /// Drawn by weight.
    Weighted,
    /// The person is in the campaign's holdout.
    Holdout,
    /// Nothing else may be shown.
    Default,
    /// A preview; not counted.
    Preview,
}

/// Why one item is what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ItemExplanation {
    /// The item.
    pub decision_id: DecisionId,
    /// The placement, by the caller's name for it.
    pub placement: String,
    /// Position among the placement's items, from 0.
    pub position: u8,
    /// The campaign shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
    /// The creative shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creative: Option<CreativeId>,
    /// Why that combination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// How far down the fallback ladder.
    pub fallback_level: FallbackLevel,
    /// Every campaign, in serving order.
    pub candidates: Vec<Candidate>,
    /// Every slot of the creative shown; only in full explanations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<SlotExplanation>,
    /// What was believed of the combination and of those beside it, where what was learned chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Reasoning>,
}

/// One campaign that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Candidate {
    /// Which.
    pub campaign: CampaignId,
    /// Its priority tier.
    pub tier: u8,
    /// Why it was not shown; none for the one that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Exclusion>,
}

/// One slot and the components that could fill it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SlotExplanation {
    /// The slot.
    pub slot: SlotName,
    /// The component shown; none for the slot's default.
    pub component: Option<ComponentId>,
    /// Every component of the slot.
    pub components: Vec<ComponentExplanation>,
    /// The products that the component picked from its feed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<ProductExplanation>,
}

/// One product that was picked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProductExplanation {
    /// Its id in the feed.
    pub id: String,
    /// By which rule.
    pub by: PickedBy,
}

fn told(picked: &Picked) -> Vec<ProductExplanation> {
    let SlotValue::Products(products) = &picked.value else { return Vec::new() };
    let products = products.iter().zip(&picked.by);
    products.map(|(product, by)| ProductExplanation { id: product.id.to_string(), by: *by }).collect()
}

/// One component that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ComponentExplanation {
    /// Which.
    pub component: ComponentId,
    /// Its weight.
    pub weight: u32,
    /// Why it was not shown; none for the one that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<ComponentExclusion>,
}

/// Whether a component has products to show, where it picks them.
#[must_use]
pub fn stocked(component: &Component, picked: &[Picked]) -> bool {
    component.picking.is_none() || picked.iter().any(|picked| picked.component == component.hash)
}

/// Explains every slot of what is shown.
pub fn slots(
    creative: &Creative,
    choice: &Choice,
    picked: &[Picked],
    manner: &Manner<'_>,
    level: FallbackLevel,
    evaluator: &mut Evaluator<'_>,
) -> Vec<SlotExplanation> {
    let explain = |(at, slot): (usize, &Slot)| {
        let chosen = creative.chosen(at, choice).map(|component| &component.id);
        let candidates = slot.candidates.iter().map(|at| &creative.components[*at as usize]).enumerate();
        let components = candidates.map(|(position, component)| {
            let mut excluded = exclusion(component, manner, &mut |component| {
                component.condition.as_ref().is_none_or(|condition| evaluator.condition(condition).holds())
            });
            if let (Some(ComponentExclusion::Targeting { why }), Some(condition)) =
                (&mut excluded, &component.condition)
            {
                *why = evaluator.failing(condition);
            }
            if excluded.is_none() && !stocked(component, picked) {
                excluded = Some(ComponentExclusion::NoProducts);
            }
            if excluded.is_none() && !manner.answers(creative, at, position) {
                excluded = Some(ComponentExclusion::Native);
            }
            if level == FallbackLevel::Default {
                excluded = Some(ComponentExclusion::NotChosen);
            }
            let excluded =
                if chosen == Some(&component.id) { None } else { excluded.or(Some(ComponentExclusion::NotChosen)) };
            ComponentExplanation { component: component.id.clone(), weight: component.weight, excluded }
        });
        let components = components.collect();
        let component = creative.chosen(at, choice);
        let own = component.and_then(|component| picked.iter().find(|picked| picked.component == component.hash));
        let products = own.map(told).unwrap_or_default();
        SlotExplanation { slot: slot.name.clone(), component: chosen.cloned(), components, products }
    };
    creative.slots.iter().enumerate().map(explain).collect()
}
