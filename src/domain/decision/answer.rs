//! An item as callers read it: the document in the answer of a decision, and in its record.

use serde::{Deserialize, Serialize};

use crate::domain::{
    audience::compile::RuleSet,
    decision::{
        assemble::{Assembled, contents, crid},
        decided::{Item, Showing},
    },
    values::Json,
};

/// Whether an item is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// There is something to show.
    Filled,
    /// There is nothing to show: not even a house creative fits.
    NoFill,
}

/// Writes one item of a placement. `assembled` is what was made of it, if it is filled.
pub fn write_item(json: &mut Json, item: &Item, assembled: Option<&Assembled>, rules: &RuleSet) {
    json.raw("{\"decision_id\":\"").plain(item.id).raw("\",\"status\":");
    match item.shown.as_ref().zip(assembled) {
        Some((showing, assembled)) => {
            json.value(&ItemStatus::Filled);
            write_filled(json, showing, assembled, rules);
        }
        None => {
            json.value(&ItemStatus::NoFill);
            json.raw(",\"no_fill_reason\":\"no_eligible_campaign_or_house_creative\"");
        }
    }
    json.raw(",\"fallback_level\":").value(&item.fallback).raw(",\"degraded\":").value(&item.degraded).raw("}");
}

fn write_filled(json: &mut Json, showing: &Showing, assembled: &Assembled, rules: &RuleSet) {
    // ids and names of slots need no escape; neither do tokens, hashes and sizes
    if let Some(campaign) = &showing.campaign {
        json.raw(",\"campaign\":\"").raw(campaign.id.as_str()).raw("\"");
    }
    json.raw(",\"creative\":\"").raw(showing.creative.id.as_str());
    json.raw("\",\"revision\":").value(&showing.creative.revision);
    json.raw(",\"combination_id\":\"").plain(format_args!("{:016x}", assembled.combination));
    json.raw("\",\"crid\":\"").raw(&crid(showing));
    json.raw("\",\"format\":").value(&showing.creative.variants[showing.variant].shape.0);
    if let Some(size) = showing.size {
        json.raw(",\"width\":").value(&size.width).raw(",\"height\":").value(&size.height);
    }
    json.raw(",\"markup\":").text(&assembled.markup).raw(",\"components\":{");
    json.each(contents(showing), |json, (slot, component, _)| {
        json.raw("\"").raw(slot.as_str()).raw("\":");
        match component {
            Some(component) => json.raw("\"").raw(component.as_str()).raw("\""),
            None => json.raw("null"),
        };
    });
    json.raw("},\"content\":{").each(contents(showing), |json, (slot, _, value)| {
        json.raw("\"").raw(slot.as_str()).raw("\":").raw(value.as_json());
    });
    json.raw("},\"impression_url\":").text(&assembled.impression_url);
    json.raw(",\"view_url\":").text(&assembled.view_url).raw(",\"click_url\":").text(&assembled.click_url);
    json.raw(",\"conversion_token\":\"").raw(&assembled.conversion_token);
    json.raw("\",\"reason\":").value(&showing.reason).raw(",\"segments_matched\":[");
    let matched = showing.matched.iter().map(|ix| rules.key(*ix));
    json.each(matched, |json, key| {
        json.raw("\"").raw(key.as_str()).raw("\"");
    });
    json.raw("]");
    if let Some(propensity) = &showing.propensity {
        json.raw(",\"propensity\":").value(propensity);
    }
}
