//! Asset groups as pairing rules.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::lenient::{list, text};
use crate::domain::{
    creative::{PairingRule, RequireRule},
    ids::{ComponentId, SlotName},
    violation::Violation,
};

/// A pairing rule that a document asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedRule {
    /// Where the document asks for it.
    pub at: String,
    /// Whether a rule of ours stands there, not groups of assets.
    pub is_own: bool,
    /// The rule, or why it is none, with pointers into it.
    pub rule: Result<PairingRule, Vec<Violation>>,
}

impl ImportedRule {
    /// A rule of ours.
    pub(super) fn own(at: String, rule: &Value) -> Self {
        let unread = |error: serde_json::Error| vec![Violation::new("", "unreadable", error.to_string())];
        Self { at, is_own: true, rule: serde_json::from_value(rule.clone()).map_err(unread) }
    }

    /// Where in the document a fault of the rule stands.
    #[must_use]
    pub fn pointer(&self, of_rule: &str) -> String {
        if self.is_own { format!("{}{of_rule}", self.at) } else { self.at.clone() }
    }
}

/// Assets that are to be shown together, by the ids of their groups. Those that can be no components are among them:
/// a rule without them would be another one.
#[derive(Default)]
pub(super) struct Groups<'a>(BTreeMap<String, Vec<Member<'a>>>);

struct Member<'a> {
    slot: Option<&'a SlotName>,
    id: ComponentId,
    /// Where the asset stands.
    at: &'a str,
}

impl<'a> Groups<'a> {
    pub(super) fn add(&mut self, at: &'a str, slot: Option<&'a SlotName>, id: &str, groups: Option<&Value>) {
        let Ok(id) = id.parse::<ComponentId>() else { return };
        let groups: BTreeSet<String> = list(groups).iter().filter_map(|group| text(Some(group))).collect();
        for group in groups {
            self.0.entry(group).or_default().push(Member { slot, id: id.clone(), at });
        }
    }

    /// The rules. Groups of `own` are rules as they are, of others those that share no asset with another one.
    pub(super) fn rules(&self, own: &BTreeSet<String>) -> Vec<ImportedRule> {
        const MOST: usize = 8;
        const MOST_ASKED: usize = 64;
        let mut uses: BTreeMap<&ComponentId, usize> = BTreeMap::new();
        self.0.values().flatten().for_each(|member| *uses.entry(&member.id).or_default() += 1);
        let rule = |at: &str, rule| ImportedRule { at: format!("{at}/assetGroupIds"), is_own: false, rule };
        let (mut rules, mut requires) = (Vec::new(), BTreeMap::<&ComponentId, (&str, BTreeSet<&ComponentId>)>::new());
        for (group, members) in &self.0 {
            let mut slots: BTreeMap<Option<&SlotName>, Vec<&ComponentId>> = BTreeMap::new();
            members.iter().for_each(|member| slots.entry(member.slot).or_default().push(&member.id));
            let is_rule = own.contains(group) || members.iter().all(|member| uses[&member.id] == 1);
            if is_rule && slots.len() == members.len() && (2..=MOST).contains(&slots.len()) {
                let all = members.iter().map(|member| member.id.clone()).collect();
                rules.push(rule(members[0].at, Ok(PairingRule::Group(all))));
                continue;
            }
            for Member { slot, id, at } in members {
                let (_, then) = requires.entry(id).or_insert((at, BTreeSet::new()));
                let others = slots.iter().filter(|(other, _)| *other != slot).flat_map(|(_, ids)| ids);
                for other in others {
                    // of a group of thousands nobody asks for all
                    if then.len() > MOST_ASKED {
                        break;
                    }
                    then.insert(other);
                }
            }
        }
        let requires = requires.into_iter().filter(|(_, (_, then))| !then.is_empty());
        rules.extend(requires.map(|(when, (at, then))| {
            if then.len() > MOST_ASKED {
                let detail = format!("its groups have more than {MOST_ASKED} assets of other parts: make them smaller");
                return rule(at, Err(vec![Violation::new("", "too_many", detail)]));
            }
            let then = then.into_iter().cloned().collect();
            rule(at, Ok(PairingRule::Require(RequireRule { when: when.clone(), then })))
        }));
        rules
    }
}
