//! A scenario file: who comes, what may be shown, and the truth about it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::reader::{Place, Reader};
use crate::domain::violation::Violation;

/// The form of scenario files.
const FORMAT: &str = "dco-bandit-heldout/1";
/// Combinations and people are tabled: so many numbers at most.
const MOST_CELLS: usize = 1 << 25;

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Decisions.
    pub decisions: usize,
    /// Fixes the luck, together with the seed of a run.
    pub seed: u64,
    /// Time between two decisions.
    pub step_ms: i64,
    /// What is chosen.
    pub slots: Vec<Slot>,
    /// Names of the features of people.
    pub features: Vec<String>,
    /// Who comes.
    pub users: Vec<User>,
    /// The truth, phase by phase; the first begins at 0.
    pub phases: Vec<Phase>,
    /// When clicks are heard of.
    pub feedback: Feedback,
}

/// A slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name.
    pub id: String,
    /// What may fill it.
    pub components: Vec<String>,
}

/// A kind of person.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// How often they come, relative to the others.
    pub weight: f64,
    /// Which features they have, ascending.
    pub features: Vec<u16>,
}

/// What is true from some decision on, on the logit scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// The first decision.
    pub from: usize,
    /// For everything.
    pub bias: f64,
    /// Per slot, per component.
    pub main: Vec<Vec<f64>>,
    /// Per pair of slots, per component of the first, per component of the second.
    pub pairs: BTreeMap<(usize, usize), Vec<Vec<f64>>>,
    /// Per feature.
    pub feature: Vec<f64>,
    /// Per feature that has any, per slot, per component.
    pub cross: BTreeMap<u16, Vec<Vec<f64>>>,
    /// Per combination, the first slot changing fastest; empty for none.
    pub cell: Vec<f64>,
    /// Per slot, which components exist.
    pub available: Vec<Vec<bool>>,
}

/// When a click is heard of, in decisions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feedback {
    /// Always so much later.
    Fixed {
        /// How much.
        delay: f64,
    },
    /// Later by an exponentially distributed time; never, if that is beyond the window.
    Exponential {
        /// Its mean.
        mean: f64,
        /// The longest.
        window: f64,
    },
}

impl Feedback {
    /// After how many decisions nothing more is heard.
    #[must_use]
    pub fn window(self) -> f64 {
        match self {
            Self::Fixed { delay } => delay,
            Self::Exponential { window, .. } => window,
        }
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// Every fault, with a pointer to it.
    pub fn parse(document: &Value) -> Result<Self, Vec<Violation>> {
        let (mut reader, root) = (Reader::default(), Place::root(document));
        if reader.text(&root.member("format")) != FORMAT {
            reader.fault(&root.member("format"), "format", format!("must be {FORMAT}"));
        }
        let slots = reader.list(&root.member("slots"), 1, 16);
        let slots: Vec<Slot> = slots.iter().map(|place| slot(&mut reader, place)).collect();
        let names = reader.list(&root.member("features"), 0, 1_024);
        let features: Vec<String> = names.iter().map(|place| reader.text(place)).collect();
        let people = reader.list(&root.member("population"), 1, 65_536);
        let users: Vec<User> = people.iter().map(|place| user(&mut reader, place, &features)).collect();
        if users.iter().map(|user| user.weight).sum::<f64>() <= 0.0 {
            reader.fault(&root.member("population"), "weight", "somebody must have a weight above 0");
        }
        let cells = slots.iter().fold(users.len(), |cells, slot| cells.saturating_mul(slot.components.len()));
        if cells > MOST_CELLS {
            reader.fault(&root.member("slots"), "size", format!("at most {MOST_CELLS} combinations times people"));
        }
        let truth = root.member("truth");
        let link = truth.member("link");
        if !link.is_missing() && reader.text(&link) != "logit" {
            reader.fault(&link, "link", "must be logit");
        }
        let places = reader.list(&truth.member("phases"), 1, 1_024);
        let sizes: Vec<usize> = slots.iter().map(|slot| slot.components.len()).collect();
        let phases: Vec<Phase> = places.iter().map(|place| phase(&mut reader, place, &sizes, &features)).collect();
        for (at, place) in places.iter().enumerate() {
            let sound = if at == 0 { phases[0].from == 0 } else { phases[at - 1].from < phases[at].from };
            if !sound {
                reader.fault(&place.member("from"), "order", "phases begin at 0 and follow one another");
            }
        }
        let scenario = Self {
            name: reader.text(&root.member("name")),
            decisions: reader.whole(&root.member("T"), 1, 10_000_000) as usize,
            seed: reader.whole(&root.member("seed"), 0, u64::MAX),
            step_ms: reader.whole(&root.member("step_ms"), 1, 86_400_000) as i64,
            feedback: feedback(&mut reader, &root.member("feedback")),
            slots,
            features,
            users,
            phases,
        };
        reader.faults.into_result().map(|()| scenario)
    }
}

fn slot(reader: &mut Reader, place: &Place<'_>) -> Slot {
    let components = reader.list(&place.member("components"), 1, 256);
    Slot {
        id: reader.text(&place.member("id")),
        components: components.iter().map(|component| reader.text(component)).collect(),
    }
}

fn user(reader: &mut Reader, place: &Place<'_>, features: &[String]) -> User {
    let mut known: Vec<u16> = Vec::new();
    for item in reader.list(&place.member("features"), 0, 1_024) {
        known.extend(feature(reader, &item, features));
    }
    known.sort_unstable();
    known.dedup();
    User { weight: reader.number(&place.member("weight"), 0.0, 1e12), features: known }
}

fn feature(reader: &mut Reader, place: &Place<'_>, features: &[String]) -> Option<u16> {
    let name = reader.text(place);
    let found = features.iter().position(|known| *known == name).map(|at| at as u16);
    if found.is_none() {
        reader.fault(place, "unknown_feature", format!("{name} is none of the features"));
    }
    found
}

fn phase(reader: &mut Reader, place: &Place<'_>, sizes: &[usize], features: &[String]) -> Phase {
    let mut pairs = BTreeMap::new();
    for (name, table) in reader.members(&place.member("pair")) {
        let slots = name.split_once('-').and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
        match slots.filter(|&(one, other): &(usize, usize)| one < other && other < sizes.len()) {
            Some((one, other)) => {
                let rows = reader.table(&table, &vec![sizes[other]; sizes[one]]);
                pairs.insert((one, other), rows);
            }
            None => reader.fault(&table, "pair", "must be named for two slots, such as 0-1"),
        }
    }
    let mut feature_bias = vec![0.0; features.len()];
    let mut cross = BTreeMap::new();
    let known = |reader: &mut Reader, name: &str, place: &Place<'_>| {
        let found = features.iter().position(|feature| feature == name);
        if found.is_none() {
            reader.fault(place, "unknown_feature", format!("{name} is none of the features"));
        }
        found
    };
    for (name, value) in reader.members(&place.member("feature_bias")) {
        if let Some(at) = known(reader, name, &value) {
            feature_bias[at] = reader.number(&value, -100.0, 100.0);
        }
    }
    for (name, table) in reader.members(&place.member("feature_component")) {
        if let Some(at) = known(reader, name, &table) {
            cross.insert(at as u16, reader.table(&table, sizes));
        }
    }
    let cell = place.member("cell");
    let widest = sizes.iter().copied().max().unwrap_or_default();
    let cells = sizes.iter().fold(1_usize, |cells, _| cells.saturating_mul(widest));
    let cell = if cell.is_missing() { Vec::new() } else { reader.list(&cell, 0, cells) };
    if !cell.is_empty() && cell.len() != cells {
        reader.fault(&place.member("cell"), "items", format!("must have {cells} items or none"));
    }
    let available = reader.rows(&place.member("available"), sizes, Reader::truth);
    if available.iter().any(|slot| !slot.contains(&true)) {
        reader.fault(&place.member("available"), "available", "every slot needs something to show");
    }
    Phase {
        from: reader.whole(&place.member("from"), 0, 10_000_000) as usize,
        bias: reader.number(&place.member("bias"), -100.0, 100.0),
        main: reader.table(&place.member("main"), sizes),
        pairs,
        feature: feature_bias,
        cross,
        cell: cell.iter().map(|item| reader.number(item, -100.0, 100.0)).collect(),
        available,
    }
}

fn feedback(reader: &mut Reader, place: &Place<'_>) -> Feedback {
    const MOST: f64 = 1e7;
    let kind = place.member("kind");
    match reader.text(&kind).as_str() {
        "exponential" => Feedback::Exponential {
            mean: reader.number(&place.member("mean"), 0.0, MOST),
            window: reader.number(&place.member("window"), 0.0, MOST),
        },
        "fixed" => Feedback::Fixed { delay: reader.number(&place.member("delay"), 0.0, MOST) },
        _ => {
            reader.fault(&kind, "enum", "must be fixed or exponential");
            Feedback::Fixed { delay: 0.0 }
        }
    }
}
