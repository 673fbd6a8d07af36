//! The report itself: what is told by line item, as a document and as a table.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{decision::shadow::Cause, ids::LineItemId},
    engine::ShadowLine,
};

/// What tags in shadow mode would have done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"from": "2026-11-21", "to": "2026-11-22", "complete": true, "line_items": [{
    "line_item": "6001200300", "requests": 12000, "impressions": 11820, "discrepancy": 0.015,
    "incumbent": {"impressions": 12100, "discrepancy": 0.0231},
    "personalised": 8400, "personalised_share": 0.7, "latency_ms": {"p50": 38, "p95": 74, "p99": 112},
    "different": {"requests": 3100, "share": 0.2583, "people": 940, "by": [
        {"rule": "segment:basket_abandoner", "requests": 2100, "people": 610},
        {"rule": "component:spring/headline-runners", "requests": 1000, "people": 350}
    ]}
}]}))]
pub(super) struct ShadowReport {
    /// The first day.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    pub(super) from: String,
    /// The last day.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    pub(super) to: String,
    /// Whether these are all line items; else the 1,000 with the most requests.
    pub(super) complete: bool,
    /// By line item, the one with the most requests first.
    pub(super) line_items: Vec<ShadowLineItem>,
}

/// What tags in shadow mode would have done under a line item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShadowLineItem {
    /// As the ad server names it; left out: it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_item: Option<LineItemId>,
    /// Decisions asked for.
    requests: u64,
    /// Those of which a browser told that the answer ran.
    impressions: u64,
    /// The share of the requests of which no browser told; left out where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    discrepancy: Option<f64>,
    /// What the other ad server counted; left out where it was not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    incumbent: Option<Incumbent>,
    /// Requests decided with what is known of the person.
    personalised: u64,
    /// Their share; left out where there were no requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    personalised_share: Option<f64>,
    /// From asking to running, by the browsers' clocks; left out where none told.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<ShadowLatency>,
    /// Requests in which something else would have been shown than without what is known of the person.
    different: ShadowDifference,
}

/// What the other ad server counted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Incumbent {
    /// Impressions.
    impressions: u64,
    /// How many fewer browsers told of, as a share of these; below zero where there were more. Left out where
    /// there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    discrepancy: Option<f64>,
}

/// What browsers measured, in ms.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShadowLatency {
    /// Half were as fast.
    p50: u32,
    /// 95 in 100 were.
    p95: u32,
    /// 99 in 100 were.
    p99: u32,
}

/// What the profile would have changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShadowDifference {
    /// In how many requests.
    requests: u64,
    /// Their share of all; left out where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    /// For how many people, of those whom outcomes may be counted for.
    people: u64,
    /// By which rules, the most frequent first. A request counts under each rule that alone made the difference.
    by: Vec<ShadowRule>,
}

/// A rule that made a difference.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShadowRule {
    /// `segment:` and its key; where no single segment did it, `campaign:` and its id, for its targeting, or
    /// `component:` and the ids of creative and component, for its; `learned`: what was learned about people like them.
    rule: String,
    /// In how many requests.
    requests: u64,
    /// For how many people.
    people: u64,
}

fn share(part: u64, of: u64) -> Option<f64> {
    let rounded = |share: f64| (share * 10_000.0).round() / 10_000.0;
    (of > 0).then(|| rounded(part as f64 / of as f64))
}

impl ShadowLineItem {
    pub(super) fn of(line: ShadowLine, brought: Option<u64>) -> Self {
        let by = line.causes.into_iter();
        let rule =
            |(cause, requests, people): (Cause, u64, u64)| ShadowRule { rule: cause.to_string(), requests, people };
        let missing = share(line.requests.saturating_sub(line.seen), line.requests);
        Self {
            line_item: line.line_item,
            requests: line.requests,
            impressions: line.seen,
            discrepancy: missing,
            incumbent: brought.map(|impressions| Incumbent {
                impressions,
                discrepancy: if line.seen > impressions {
                    share(line.seen - impressions, impressions).map(|more| -more)
                } else {
                    share(impressions - line.seen, impressions)
                },
            }),
            personalised: line.personalised,
            personalised_share: share(line.personalised, line.requests),
            latency_ms: line.latency.map(|[p50, p95, p99]| ShadowLatency { p50, p95, p99 }),
            different: ShadowDifference {
                requests: line.different,
                share: share(line.different, line.requests),
                people: line.people,
                by: by.map(rule).collect(),
            },
        }
    }
}

/// The columns of the table.
const COLUMNS: &str = "row,line_item,rule,requests,impressions,discrepancy,incumbent,incumbent_discrepancy,\
    personalised,personalised_share,p50_ms,p95_ms,p99_ms,different,different_share,people";

/// Line items and rules hold no commas, quotes or line ends, and begin with a letter or a digit.
pub(super) fn table(report: &ShadowReport) -> String {
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut out = format!("{COLUMNS}\r\n");
    for line in &report.line_items {
        let name = line.line_item.as_ref().map_or("", LineItemId::as_str);
        let incumbent = line.incumbent.as_ref();
        let latency = line.latency_ms.as_ref();
        let ms = |of: fn(&ShadowLatency) -> u32| latency.map(|latency| of(latency).to_string()).unwrap_or_default();
        let cells = [
            "line_item".to_owned(),
            name.to_owned(),
            String::new(),
            line.requests.to_string(),
            line.impressions.to_string(),
            number(line.discrepancy),
            incumbent.map(|other| other.impressions.to_string()).unwrap_or_default(),
            number(incumbent.and_then(|other| other.discrepancy)),
            line.personalised.to_string(),
            number(line.personalised_share),
            ms(|latency| latency.p50),
            ms(|latency| latency.p95),
            ms(|latency| latency.p99),
            line.different.requests.to_string(),
            number(line.different.share),
            line.different.people.to_string(),
        ];
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
        for rule in &line.different.by {
            let share = number(share(rule.requests, line.requests));
            out.push_str(&format!("rule,{name},{},,,,,,,,,,,{},{share},{}\r\n", rule.rule, rule.requests, rule.people));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_columns() {
        let cause = |text: &str| text.parse::<Cause>().expect("a cause");
        let line = ShadowLine {
            line_item: Some("6001".parse().expect("an id")),
            requests: 8,
            seen: 6,
            personalised: 4,
            different: 3,
            people: 2,
            latency: Some([30, 60, 90]),
            causes: vec![(cause("segment:vip"), 3, 2), (cause("component:spring/h-2"), 1, 1)],
        };
        let line_items = vec![ShadowLineItem::of(line, Some(5)), ShadowLineItem::of(ShadowLine::default(), None)];
        let report = ShadowReport { from: "2026-11-21".into(), to: "2026-11-22".into(), complete: true, line_items };
        let table = table(&report);
        let lines: Vec<_> = table.split("\r\n").collect();
        assert!(lines[..5].iter().all(|line| line.split(',').count() == 16), "{table}");
        assert_eq!(lines[1], "line_item,6001,,8,6,0.25,5,-0.2,4,0.5,30,60,90,3,0.375,2");
        assert_eq!(lines[2], "rule,6001,segment:vip,,,,,,,,,,,3,0.375,2");
        assert_eq!(lines[4], "line_item,,,0,0,,,,0,,,,,0,,0");
    }
}
