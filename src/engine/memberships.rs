//! The segments of a person, and why.

use serde::Serialize;

use crate::{
    domain::{
        audience::{
            compile::{SegmentIx, SegmentKind},
            context::Context,
            evaluate::{Evaluator, UserView},
            explain::Explanation,
            node::Node,
            user::UserState,
        },
        ids::{SegmentKey, Uid},
        values::Millis,
    },
    engine::world::Account,
};

/// A segment the person is in, and why.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct MembershipView {
    /// The segment.
    pub key: SegmentKey,
    /// How it gets its members.
    pub kind: SegmentKind,
    /// What puts the person into it.
    pub source: Source,
    /// Since when, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// When time alone may end it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Millis>,
    /// The conditions it rests on.
    pub why: Explanation,
}

/// A segment the person is not in, and why not.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OtherView {
    /// The segment.
    pub key: SegmentKey,
    /// How it gets its members.
    pub kind: SegmentKind,
    /// When time alone may bring the person into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Millis>,
    /// The conditions that are missing, with what was found of each.
    pub why: Explanation,
}

/// What puts a person into a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A rule over what is known of them.
    Rule,
    /// They were put in by name.
    List,
    /// A rule that asks a model.
    Model,
}

/// Segments stand in the snapshot where the compiled rules have them.
fn source(account: &Account, ix: SegmentIx) -> Source {
    let Some(node) = account.snapshot.segments().get(ix.0 as usize).and_then(|(_, rule)| rule.as_ref()?.node()) else {
        return Source::List;
    };
    let mut model = false;
    node.walk(&mut |node| {
        model |= matches!(node, Node::Cluster { .. } | Node::Rfm(_) | Node::Lookalike { .. } | Node::Score { .. });
    });
    if model { Source::Model } else { Source::Rule }
}

pub(super) fn memberships(
    account: &Account,
    uid: Uid,
    state: &UserState,
    now: Millis,
) -> (Vec<MembershipView>, Vec<OtherView>) {
    let rules = &account.snapshot.rules;
    let context = Context::default();
    let view = UserView { uid: Some(uid), state: Some(state), ..UserView::default() };
    let mut evaluator = Evaluator::new(rules, view, &context, now).thorough();
    let (mut held, mut others) = (Vec::new(), Vec::new());
    for ix in rules.all() {
        let verdict = evaluator.segment(ix);
        let (key, kind, valid_until) = (rules.key(ix).clone(), rules.kind(ix), verdict.valid_until());
        let why = evaluator.explain_segment(ix);
        if verdict.holds() {
            held.push(MembershipView {
                key,
                kind,
                source: source(account, ix),
                since: verdict.since(),
                valid_until,
                why,
            });
        } else {
            others.push(OtherView { key, kind, valid_until, why });
        }
    }
    (held, others)
}
