//! What of a faulty document can be read by itself, so that its other faults are told with it.

use serde_json::{Value, json};

use super::document;
use crate::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        violation::{Violation, token},
    },
    schema::{ReadError, Schemas},
};

/// A document without the parts that cannot be read; required ones are filled in.
#[derive(Debug, Clone)]
pub(super) struct Sound {
    /// The rest, in its canonical form.
    pub(super) body: Value,
    /// What was wrong, with pointers into the whole document.
    faults: Vec<Violation>,
    /// Items taken out of lists, one after the other: the list, and where it stood.
    taken: Vec<(String, usize)>,
}

impl Sound {
    /// Parts may have to go because of what went before them, but not forever.
    const ROUNDS: usize = 8;

    /// Takes the faulty parts out of a document of `kind`. `None` when nothing is left that could
    /// be checked.
    pub(super) fn of(kind: Kind, schemas: &Schemas, bytes: &[u8], faults: &[Violation]) -> Option<Self> {
        let mut rest: Value = serde_json::from_slice(bytes).ok().filter(Value::is_object)?;
        let (filling, mut taken, mut next) = (filling(kind)?, Vec::new(), faults.to_vec());
        for _ in 0..Self::ROUNDS {
            take(&mut rest, &next, &mut taken);
            let members = rest.as_object_mut()?;
            for (name, value) in filling.as_object()? {
                members.entry(name).or_insert_with(|| value.clone());
            }
            match document::canonical(kind, schemas, &serde_json::to_vec(&rest).ok()?) {
                Ok(body) => return Some(Self { body, faults: faults.to_vec(), taken }),
                Err(ReadError::Invalid(more)) => next = more,
                Err(ReadError::Malformed { .. }) => return None,
            }
        }
        None
    }

    /// All faults: those known, and of `more`, found in the rest, those that are not of them.
    pub(super) fn with(self, kind: Kind, more: Vec<Violation>) -> Vec<Violation> {
        let lost: Vec<String> = self.lost().map(str::to_owned).collect();
        let is_lost = |part: &str| lost.iter().any(|lost| within(lost, part));
        let of_them = |fault: &Violation| {
            let own = lost.iter().any(|lost| {
                within(&fault.pointer, lost) || (!fault.pointer.is_empty() && within(lost, &fault.pointer))
            });
            own || match kind {
                // places of slots are checked against their declarations
                Kind::Template => lost.iter().any(|lost| lost != "/name"),
                Kind::Campaign => fault.code == "other_advertiser" && is_lost("/advertiser"),
                _ => false,
            }
        };
        let more = more.into_iter().map(|fault| Violation { pointer: self.whole(&fault.pointer), ..fault });
        let more: Vec<_> = more.filter(|fault| !of_them(fault)).collect();
        self.faults.into_iter().chain(more).collect()
    }

    /// Parts that are missing or filled in. A member that nobody knows is no loss.
    fn lost(&self) -> impl Iterator<Item = &str> {
        self.faults.iter().filter(|fault| fault.code != "unknown_field").map(|fault| fault.pointer.as_str())
    }

    /// The place in the whole document of a place in the rest.
    fn whole(&self, pointer: &str) -> String {
        self.taken.iter().rev().fold(pointer.to_owned(), |pointer, (list, at)| {
            let inner = pointer.strip_prefix(list.as_str()).and_then(|inner| inner.strip_prefix('/'));
            let (index, rest) = inner.map_or(("", ""), |inner| inner.split_at(inner.find('/').unwrap_or(inner.len())));
            match index.parse::<usize>() {
                Ok(index) if index >= *at => format!("{list}/{}{rest}", index + 1),
                _ => pointer,
            }
        })
    }
}

/// Whether a fault may only be there because another document could not be read as it was meant.
pub(super) fn may_come_of_others(kind: Kind, fault: &Violation) -> bool {
    match kind {
        Kind::Component => within(&fault.pointer, "/slot") || within(&fault.pointer, "/value"),
        Kind::Creative => fault.code == "duplicate_size" || fault.code == "other_advertiser",
        Kind::Campaign => {
            let targeting = within(&fault.pointer, "/targeting");
            targeting || ["other_advertiser", "landing_host_not_allowed"].contains(&fault.code)
        }
        _ => false,
    }
}

/// Whether a document is a component of a creative.
pub(super) fn goes_into(component: &DocumentKey, creative: &DocumentKey) -> bool {
    component.kind == Kind::Component && component.id.split('/').next() == Some(creative.id.as_str())
}

/// Whether a place is `outer` or within it.
fn within(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Takes out what the faults point to; where that is missing, what misses it.
fn take(rest: &mut Value, faults: &[Violation], taken: &mut Vec<(String, usize)>) {
    let there = |fault: &Violation| {
        let mut place = fault.pointer.as_str();
        while rest.pointer(place).is_none() {
            place = place.rsplit_once('/')?.0;
        }
        (!place.is_empty()).then(|| place.to_owned())
    };
    let mut places: Vec<String> = faults.iter().filter_map(there).collect();
    // the last items of a list first, so that the others stay where they are
    let steps = |place: &String| -> Vec<(usize, String)> {
        place.split('/').map(|step| (step.parse().unwrap_or_default(), step.to_owned())).collect()
    };
    places.sort_by_cached_key(steps);
    places.dedup_by(|inner, outer| within(inner, outer));
    for place in places.iter().rev() {
        let Some((parent, last)) = place.rsplit_once('/') else { continue };
        match rest.pointer_mut(parent) {
            Some(Value::Object(members)) => members.retain(|name, _| token(name) != last),
            Some(Value::Array(items)) => {
                if let Ok(at) = last.parse::<usize>()
                    && at < items.len()
                {
                    items.remove(at);
                    taken.push((parent.to_owned(), at));
                }
            }
            _ => {}
        }
    }
}

/// What is filled in for required members, so that the others can be checked.
fn filling(kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::Advertiser => json!({"name": "-", "domain": "example.com"}),
        Kind::Segment => json!({"name": "-", "rule": {"v": 1, "kind": "static"}}),
        Kind::Feed => json!({"name": "-", "advertiser": "none", "format": "csv"}),
        Kind::Template => json!({"name": "-", "format": "html"}),
        Kind::Creative => json!({"name": "-", "advertiser": "none", "templates": ["none"]}),
        Kind::Component => json!({"slot": "none", "value": null}),
        Kind::Placement => json!({"name": "-", "formats": ["native"]}),
        Kind::Campaign => json!({
            "name": "-", "advertiser": "none", "status": "paused", "creatives": ["none"],
            "landing_url": "https://example.com/"
        }),
        // their form says all there is to check, or they are never sent
        Kind::Model | Kind::WriteKey | Kind::Audit | Kind::Revision | Kind::Publication => return None,
    })
}
