//! Whether the people of a bundle, and what they did, fit the documents that are there then.

use super::bundle::{Bundle, FileFault};
use crate::{
    domain::{
        audience::{
            activity::{Event, Streams},
            compile::SegmentKind,
            profile::TraitPatch,
        },
        catalog::snapshot::Snapshot,
        violation::Violation,
    },
    engine::ingest::check_amounts,
};

/// The file of people.
pub(super) const PEOPLE: &str = "profiles.ndjson";
/// The file of what they did.
pub(super) const EVENTS: &str = "events.ndjson";

impl Bundle {
    /// What is wrong with people and events beside a catalogue.
    pub(super) fn unfit(&self, snapshot: &Snapshot) -> Vec<FileFault> {
        let mut faults = Vec::new();
        for (line, person) in &self.people {
            if let Err(found) = TraitPatch::parse(&person.traits.clone().into()) {
                faults.extend(found.into_iter().map(|fault| person_fault(*line, fault.under("/traits"))));
            }
            for (at, list) in person.lists.iter().enumerate() {
                let fault = match snapshot.rules.ix(list).map(|ix| snapshot.rules.kind(ix)) {
                    Some(SegmentKind::Static) => continue,
                    Some(SegmentKind::Dynamic) => ("not_static", format!("{list} has a rule: nobody is put into it")),
                    None => ("unknown_segment", format!("there is no segment {list}")),
                };
                faults.push(person_fault(*line, Violation::new(format!("/lists/{at}"), fault.0, fault.1)));
            }
        }
        faults.extend(self.uncountable(&snapshot.streams));
        faults
    }

    /// Events with amounts that streams cannot add up.
    #[must_use]
    pub fn uncountable(&self, streams: &Streams) -> Vec<FileFault> {
        let mut faults = Vec::new();
        for (line, event) in &self.events {
            let event =
                Event { name: event.kind.clone(), at: Default::default(), properties: event.properties.clone() };
            for (property, error) in check_amounts(streams, &event) {
                let pointer = format!("/{line}/properties/{}", crate::domain::violation::token(property));
                let fault = Violation::new(pointer, "invalid_amount", error.to_string());
                faults.push(FileFault { file: EVENTS.into(), fault });
            }
        }
        faults
    }
}

/// A fault of the person on a line, from 0.
#[must_use]
pub fn person_fault(line: usize, fault: Violation) -> FileFault {
    FileFault { file: PEOPLE.into(), fault: fault.under(&format!("/{line}")) }
}
