//! Pairing rules that come with an upload of components.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::{Authoring, AuthoringError, document, upload::Upload, workspace::Workspace};
use crate::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        creative::{CreativeDoc, Pairing, PairingRule},
        ids::{ComponentId, SlotName},
        violation::Violation,
    },
    ports::DocumentWrite,
};

/// Pairing rules that go into a draft in the same commit as the last components of an upload.
#[derive(Debug, Default)]
pub struct Pairs {
    /// The rules, or why one is none, with pointers into it.
    pub rules: Vec<Result<PairingRule, Vec<Violation>>>,
    /// The ids of all components sent: a rule that names one that is not taken is not taken either.
    pub sent: HashSet<String>,
}

impl Pairs {
    /// Components that the rules name and that were not sent with them.
    pub(super) fn others(&self) -> HashSet<&ComponentId> {
        let rules = self.rules.iter().flatten();
        rules.flat_map(PairingRule::names).filter(|id| !self.sent.contains(id.as_str())).collect()
    }
}

/// What became of pairing rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Paired {
    /// Those that the draft did not have.
    pub added: usize,
    /// Those that cannot be taken, by their place among those sent, with pointers into the rule.
    pub refused: Vec<(usize, Vec<Violation>)>,
}

impl Upload {
    /// The draft with the rules that it does not have and that may be published with its components; none where there
    /// are none.
    ///
    /// # Errors
    /// The draft would be larger than a document may be.
    pub(super) fn pair(
        &mut self,
        work: &Workspace,
        draft: &CreativeDoc,
    ) -> Result<Option<DocumentWrite>, AuthoringError> {
        let Some(pairs) = &self.pairs else { return Ok(None) };
        let slots = work.slots_of(draft);
        let mut places: HashMap<&str, u16> = HashMap::new();
        for (slot, _) in slots.all() {
            let next = u16::try_from(places.len()).unwrap_or(u16::MAX);
            places.entry(slot.as_str()).or_insert(next);
        }
        let key = |id: &ComponentId| DocumentKey::new(Kind::Component, format!("{}/{id}", self.creative));
        // by its slot: that is all there is to a component here
        let find = |id: &ComponentId| match self.lines.get(id) {
            Some((_, slot)) => Some((*places.get(slot.as_ref().map(SlotName::as_str)?)?, 0)),
            None => {
                let (_, body) = work.documents.get(&key(id))?.as_ref()?;
                Some((*places.get(body.get("slot")?.as_str()?)?, 0))
            }
        };
        let is_lost = |id: &&ComponentId| {
            let taken = self.lines.get(*id).is_some_and(|(_, slot)| slot.is_some());
            !taken && self.pairs.as_ref().is_some_and(|pairs| pairs.sent.contains(id.as_str()))
        };
        let mut known: HashSet<_> = draft.pairing.iter().map(PairingRule::asks).collect();
        let (mut all, mut refused) = (draft.pairing.clone(), Vec::new());
        for (at, rule) in pairs.rules.iter().enumerate() {
            let rule = match rule {
                Ok(rule) if !known.insert(rule.asks()) => continue,
                Ok(rule) => rule,
                Err(faults) => {
                    refused.push((at, faults.clone()));
                    continue;
                }
            };
            let lost = rule.names().filter(is_lost);
            let lost =
                lost.map(|id| Violation::new("", "refused_component", format!("{id}, which it names, is refused")));
            let mut faults: Vec<Violation> = lost.collect();
            if faults.is_empty() {
                let found = Pairing::compile(std::slice::from_ref(rule), find).err().unwrap_or_default();
                let own = |fault: Violation| Violation { pointer: fault.pointer.replacen("/0", "", 1), ..fault };
                faults.extend(found.into_iter().map(own));
            }
            match faults.is_empty() {
                true => all.push(rule.clone()),
                false => refused.push((at, faults)),
            }
        }
        let added = all.len() - draft.pairing.len();
        self.paired = Paired { added, refused };
        let key = DocumentKey::new(Kind::Creative, self.creative.as_str());
        let known = work.documents.get(&key).and_then(Option::as_ref);
        let Some((_, body)) = known.filter(|_| added > 0) else { return Ok(None) };
        let mut body = body.clone();
        body["pairing"] = json!(all);
        let bytes = body.to_string().len();
        if bytes > Authoring::LARGEST {
            return Err(AuthoringError::TooLarge(bytes));
        }
        let refs = document::references(&key, &body, work.rules.models());
        Ok(Some(DocumentWrite { key, body: Some(body), refs }))
    }
}
