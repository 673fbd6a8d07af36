//! One run of [`decide`](super::decide::decide), item by item.

use std::sync::Arc;

use crate::domain::{
    audience::{compile::SegmentIx, context::Context, evaluate::Evaluator},
    catalog::{
        campaign::Campaign,
        creative::Creative,
        document::Rotation,
        index::Scratch,
        listed::{Listing, Table},
        reviewed::Combination,
        snapshot::{Line, Placement, Snapshot},
    },
    decision::{
        choose::{Manner, choose, eligible},
        decided::{Item, Missed, Person, Showing},
        eligibility::{Ask, Seen, Shown, screen},
        exclusion::Exclusion,
        explanation::{ItemExplanation, Reason, stocked},
        goods::{Goods, Picked},
        learned::{Learned, Learner, Thought},
        request::{AdRequest, Candidate, Explain, Stage},
        rotation::{Scope, Sticky},
        standing::{Degraded, FallbackLevel},
    },
    ids::{CreativeId, DecisionId, NameHash},
    values::{Format, Millis},
};

/// One run of [`super::decide::decide`].
pub(super) struct Run<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) learned: &'a Learned,
    pub(super) request: &'a AdRequest,
    pub(super) now: Millis,
    pub(super) person: &'a Person<'a>,
    /// Whether choices may be kept stable for the person.
    pub(super) known: bool,
    /// Whether what comes of it may be counted for the person; who may not be counted is in no experiment.
    pub(super) measured: bool,
    pub(super) sticky: Sticky,
    pub(super) goods: Goods<'a>,
    pub(super) evaluator: Evaluator<'a>,
    pub(super) seen: Seen<'a>,
    pub(super) scratch: Scratch,
    pub(super) explanation: Vec<ItemExplanation>,
    /// Where an item could be filled by what others give up, whether they gave it up.
    pub(super) shared: Option<bool>,
}

/// One item to fill.
pub(super) struct Slot<'a> {
    /// Its position among all of the request.
    pub(super) at: usize,
    /// The id that it gets.
    pub(super) id: DecisionId,
    /// What is asked for.
    pub(super) ask: Ask<'a>,
    /// What surrounds it.
    pub(super) context: &'a Context,
    /// The registered placement it names.
    pub(super) registered: Option<&'a Placement>,
}

/// The campaign (or bare creative) that won an item.
#[derive(Clone, Copy)]
pub(super) enum Winner<'a> {
    Line(&'a Line),
    Bare(&'a Arc<Creative>),
}

impl<'a> Winner<'a> {
    /// Its campaign.
    pub(super) fn campaign(self) -> Option<&'a Campaign> {
        match self {
            Self::Line(line) => Some(&line.campaign),
            Self::Bare(_) => None,
        }
    }
}

impl<'a> Run<'a> {
    /// What wins an item beside what is shown.
    pub(super) fn elect(&mut self, slot: &Slot<'a>) -> Option<Winner<'a>> {
        self.evaluator.within(slot.context);
        match &slot.ask.request.candidate {
            None => self.open(&slot.ask).map(Winner::Line),
            Some(candidate) => self.pinned(candidate, &slot.ask),
        }
    }

    /// Fills one item with what wins it.
    pub(super) fn item(&mut self, slot: &Slot<'a>, winner: Option<Winner<'a>>) -> Item {
        self.evaluator.within(slot.context);
        let Slot { id, ref ask, registered, .. } = *slot;
        let mut degraded = self.person.degraded.to_vec();
        let mut silent = Vec::new();
        let showing = winner.and_then(|winner| match winner {
            Winner::Bare(creative) => self.show(id, None, creative, ask, &mut degraded),
            Winner::Line(line) if ask.pinned => self.try_line(id, line, ask, &mut degraded, &mut silent),
            Winner::Line(line) => self.show_open(id, line, ask, &mut degraded, &mut silent),
        });
        let (shown, fallback) = match showing {
            Some(showing) => (Some(showing), FallbackLevel::from(self.person.standing)),
            None => {
                if ask.pinned {
                    degraded.push(Degraded::PinnedIneligible);
                }
                let showing = self.fall_back(ask, registered);
                let level = if showing.is_some() { FallbackLevel::Default } else { FallbackLevel::None };
                (showing, level)
            }
        };
        if self.request.explain > Explain::None && self.person.replay.is_none_or(|replay| replay.wanted == id) {
            self.explain(id, ask, shown.as_ref(), fallback, &silent);
        }
        if let Some(campaign) = shown.as_ref().and_then(|showing| showing.campaign.as_ref()) {
            self.hold(slot, campaign);
        }
        let missed = if shown.is_none() { self.missed(ask) } else { None };
        Item { id, shown, fallback, degraded, missed }
    }

    /// Notes what an item shows.
    pub(super) fn hold(&mut self, slot: &Slot<'_>, campaign: &Campaign) {
        self.seen.shown.push(Shown {
            id: campaign.id.clone(),
            hash: campaign.hash,
            group: campaign.exclusive_group.clone(),
            placement: slot.ask.placement,
            item: slot.at,
        });
    }

    /// What alone kept back whoever was chosen for an item, or bids for it.
    fn missed(&mut self, ask: &Ask<'_>) -> Option<Missed> {
        let (snapshot, among) = (self.snapshot, ask.request.among.as_deref());
        let named;
        let lines = match &ask.request.candidate {
            Some(Candidate::Campaign(id)) => {
                named = snapshot.line(id);
                named.as_slice()
            }
            Some(Candidate::Creative(id)) => snapshot.listing(id),
            None => among.map_or(&[][..], |_| &*snapshot.payers),
        };
        let bids = |line: &&Line| among.is_none_or(|among| among.binary_search(&line.campaign.hash).is_ok());
        let unknown = self.person.state.is_none() && self.person.degraded.is_empty();
        let mut missed = None;
        for line in lines.iter().map(|at| &snapshot.lines[*at]).filter(bids) {
            match screen(line, ask, &mut self.evaluator, &self.seen) {
                Some(Exclusion::FrequencyCap { .. }) => return Some(Missed::Capped),
                Some(Exclusion::Targeting { .. }) if unknown => {
                    let of_people =
                        line.campaign.condition.as_ref().is_some_and(|condition| {
                            !condition.segments().is_empty() || !condition.traits().is_empty()
                        });
                    missed = missed.or(of_people.then_some(Missed::Unmatched));
                }
                _ => {}
            }
        }
        missed
    }

    /// The caller's own choice, if it may serve.
    fn pinned(&mut self, candidate: &Candidate, ask: &Ask<'_>) -> Option<Winner<'a>> {
        let snapshot = self.snapshot;
        // what has won is shown, whatever happened since
        let begun = matches!(ask.request.stage, Stage::Rest(_));
        match candidate {
            Candidate::Campaign(id) => {
                let line = &snapshot.lines[snapshot.line(id)?];
                let may = begun || screen(line, ask, &mut self.evaluator, &self.seen).is_none();
                may.then_some(Winner::Line(line))
            }
            Candidate::Creative(id) => {
                let creative = snapshot.creatives.get(id)?;
                let lines = snapshot.listing(id);
                if lines.is_empty() {
                    return (!ask.request.blocked_creatives.contains(id)).then_some(Winner::Bare(creative));
                }
                let (evaluator, seen) = (&mut self.evaluator, &self.seen);
                let mut lines = lines.iter().map(|at| &snapshot.lines[*at]);
                lines.find(|line| begun || screen(line, ask, evaluator, seen).is_none()).map(Winner::Line)
            }
        }
    }

    /// Chooses among a campaign's creatives, then among their components; the next creative where one has
    /// nothing that is taken.
    pub(super) fn show_line(
        &mut self,
        id: DecisionId,
        line: &'a Line,
        ask: &Ask<'_>,
        degraded: &mut Vec<Degraded>,
    ) -> Option<Showing> {
        let pinned = if let Some(Candidate::Creative(id)) = &ask.request.candidate { Some(id) } else { None };
        let fits = |creative: &&Arc<Creative>| {
            pinned.is_none_or(|id| creative.id == *id)
                && !ask.request.blocked_creatives.contains(&creative.id)
                && ask.variant(creative).is_some()
        };
        let (scope, sticky) = (Scope::CREATIVE.within(line.campaign.hash.0), self.sticky);
        let draw = |creative: &Arc<Creative>| sticky.draw(scope, creative.lasting.0, 1);
        let mut tried = Vec::new();
        loop {
            let left = line.creatives.iter().filter(|creative| fits(creative) && !tried.contains(&&creative.id));
            let creative = left.min_by(|a, b| draw(a).total_cmp(&draw(b)))?;
            let known = degraded.len();
            if let Some(showing) = self.show(id, Some(&line.campaign), creative, ask, degraded) {
                return Some(showing);
            }
            degraded.truncate(known);
            tried.push(&creative.id);
        }
    }

    fn show(
        &mut self,
        id: DecisionId,
        campaign: Option<&Arc<Campaign>>,
        creative: &Arc<Creative>,
        ask: &Ask<'_>,
        degraded: &mut Vec<Degraded>,
    ) -> Option<Showing> {
        let (variant, size) = ask.variant(creative)?;
        let made = self.person.replay.and_then(|replay| replay.of(ask));
        if made.is_some_and(|made| !made.is_of(campaign, creative)) {
            return None;
        }
        let table = match &ask.request.listing {
            Some(listing) => Some(self.table(&creative.id, listing, variant)?),
            None => None,
        };
        let creative = table.as_ref().map_or(creative, |table| &table.creative);
        let manner = ask.manner(variant, self.manner(campaign.map(Arc::as_ref)));
        let of = &creative.variants[variant];
        // what may not be safe is looked at when it is whole
        let safe = !(ask.request.secure && of.insecure);
        if ask.request.stage == Stage::Offer && of.shape.0 == Format::Html && safe {
            let default = self.defaults(campaign, creative, (variant, size));
            return Some(Showing { deferred: Some(self.snapshot.version), ..default });
        }
        let (evaluator, snapshot) = (&mut self.evaluator, self.snapshot);
        let again = self.goods.recorded.is_some();
        let mut picked = Vec::new();
        if table.is_none() || again {
            picked = self.goods.of(creative, variant, |picking| {
                let segment = picking.segment.as_ref().and_then(|segment| snapshot.rules.ix(segment));
                segment.is_some_and(|ix| evaluator.segment(ix).holds())
            });
        }
        let learner = campaign.and_then(|campaign| self.learned.of(campaign, creative));
        let eligible = eligible(creative, &manner, |component| {
            table.as_ref().map_or_else(|| stocked(component, &picked), |table| table.offers(component))
                && component.condition.as_ref().is_none_or(|condition| evaluator.condition(condition).holds())
        });
        let thought = learner.and_then(|learner| self.think(learner, creative, &manner, &eligible, ask, id));
        let (choice, thought) = match thought {
            Some((choice, thought)) => (choice, Some(thought)),
            None => {
                let chosen = choose(creative, &manner, &eligible);
                if chosen.unsatisfiable {
                    degraded.push(Degraded::PairingUnsatisfiable);
                }
                (chosen.choice, None)
            }
        };
        if let Some(table) = table.as_ref().filter(|_| !again) {
            // another creative may have one that may be shown
            picked = self.frozen(table, &choice)?;
        }
        // what was shown did play, whatever is chosen without what was learned then
        if made.is_none() && !ask.plays(creative, variant, &choice) {
            return None;
        }
        let reason = match manner.control {
            _ if self.request.preview.is_some() => Reason::Preview,
            Some(_) => Reason::Holdout,
            None if choice.iter().all(Option::is_none) => Reason::Default,
            None if thought.is_some() => Reason::Optimized,
            None => Reason::Weighted,
        };
        let matched = self.matched(campaign.map(Arc::as_ref), creative, &choice);
        let by = (learner.map(Arc::as_ref), thought.as_ref());
        let exposure = campaign.map(|campaign| self.exposure((campaign, creative, &choice), &manner, by, ask));
        Some(Showing {
            campaign: campaign.cloned(),
            creative: Arc::clone(creative),
            variant,
            size,
            choice,
            reason,
            matched,
            propensity: thought.as_ref().zip(exposure.as_ref()).and_then(|(thought, exposure)| {
                let wanted = self.request.explain == Explain::Full;
                wanted.then(|| thought.propensity(creative, &exposure.choice)).flatten()
            }),
            exposure,
            thought,
            deferred: None,
            picked,
        })
    }

    /// The combinations that may be shown of a creative's template; made again, a decision has those of its time.
    fn table(&self, creative: &CreativeId, listing: &Listing, variant: usize) -> Option<Arc<Table>> {
        let listed = &self.snapshot.listed;
        match self.goods.recorded {
            Some(_) => listed.ever(creative, listing, variant),
            None => listed.of(creative, listing, variant).cloned(),
        }
    }

    /// The products of a choice among combinations, none where it is not among them; where there are several sets,
    /// always the same for the person.
    fn frozen(&self, table: &Table, choice: &[Option<u16>]) -> Option<Vec<Picked>> {
        let scope = Scope::COMPONENT.within(table.creative.lasting.0);
        let draw = |of: &Combination| self.sticky.draw(scope, NameHash::of(&of.crid).0, 1);
        let combination = table.of_choice(choice).min_by(|a, b| draw(a).total_cmp(&draw(b)));
        combination.map(|of| of.frozen.iter().map(Picked::frozen).collect())
    }

    /// Chooses by what was learned, where the campaign wants that and something was.
    fn think(
        &mut self,
        learner: &Arc<Learner>,
        creative: &Arc<Creative>,
        manner: &Manner<'_>,
        eligible: &[Vec<u16>],
        ask: &Ask<'_>,
        id: DecisionId,
    ) -> Option<(Vec<Option<u16>>, Thought)> {
        let draws = learner.draws.as_ref().filter(|_| {
            manner.rotation == Rotation::Optimized
                && manner.control.is_none()
                && eligible.iter().any(|of| !of.is_empty())
        })?;
        let space = learner.space(creative, eligible)?;
        let features = learner.features(&mut self.evaluator, &self.request.context, ask.registered, true);
        // the low bits of the id come from the seed
        let chosen = draws.choose(&space, &features, id.0.as_u128() as u64);
        let choice = learner.candidates(creative, &chosen.choice);
        let thought = Thought { learner: Arc::clone(learner), by: chosen.by, eligible: eligible.to_vec(), features };
        Some((choice, thought))
    }

    /// How components of a campaign are chosen for this person.
    pub(super) fn manner(&self, campaign: Option<&Campaign>) -> Manner<'a> {
        let held_out = campaign.filter(|campaign| {
            self.known && self.measured && self.sticky.unit(Scope::HOLDOUT, campaign.hash.0) < campaign.holdout
        });
        Manner {
            sticky: self.sticky,
            rotation: campaign.map_or(Rotation::Weighted, |campaign| campaign.rotation),
            control: held_out.map(|campaign| campaign.control),
            language: self.request.context.language.as_ref(),
            languages: None,
            video: None,
            native: None,
            now: self.now,
        }
    }

    /// Segments named by what is shown that the person is in.
    fn matched(&mut self, campaign: Option<&Campaign>, creative: &Creative, choice: &[Option<u16>]) -> Vec<SegmentIx> {
        let components =
            (0..creative.slots.len()).filter_map(|slot| creative.chosen(slot, choice)?.condition.as_deref());
        let conditions = campaign.and_then(|campaign| campaign.condition.as_ref()).into_iter().chain(components);
        let mut matched: Vec<SegmentIx> = Vec::new();
        for ix in conditions.flat_map(|condition| condition.segments()) {
            if !matched.contains(ix) && self.evaluator.segment(*ix).holds() {
                matched.push(*ix);
            }
        }
        // by name: positions depend on the order in which the catalogue grew
        matched.sort_by_key(|ix| self.snapshot.rules.key(*ix));
        matched
    }
}
