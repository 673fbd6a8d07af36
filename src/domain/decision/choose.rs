//! Which component stands in each slot.

use crate::domain::{
    catalog::{
        creative::{Component, Creative, Slot},
        document::{Control, Rotation},
    },
    creative::{NativeRequest, Pairing, VideoRequest},
    decision::{
        exclusion::ComponentExclusion,
        rotation::{Scope, Sticky},
    },
    values::{Locale, Millis},
};

/// How components are to be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// Stable for whom.
    pub sticky: Sticky,
    /// By weight or evenly.
    pub rotation: Rotation,
    /// What the control shows, for a person in the holdout.
    pub control: Option<Control>,
    /// The reader's language.
    pub language: Option<&'a Locale>,
    /// The languages that are taken, where not all are.
    pub languages: Option<&'a [Locale]>,
    /// What the player takes.
    pub video: Option<&'a VideoRequest>,
    /// What a native answer must have, and the variant that answers.
    pub native: Option<(&'a NativeRequest, usize)>,
    /// Now.
    pub now: Millis,
}

impl Manner<'_> {
    /// Whether a component's language is taken, which it is where it has none: where `de` is, `de-AT` is too, and where
    /// that is, `de` is.
    fn takes(&self, component: &Component) -> bool {
        let (Some(own), Some(taken)) = (&component.locale, self.languages) else { return true };
        taken.iter().any(|of| own.serves(of).is_some() || of.serves(own).is_some())
    }

    /// Whether the component at a position among a slot's candidates is within the bounds of what is asked for.
    #[must_use]
    pub fn answers(&self, creative: &Creative, slot: usize, at: usize) -> bool {
        self.native.is_none_or(|(wanted, variant)| creative.answers(variant, slot, at, wanted))
    }
}

/// A choice for every slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Per slot a position among its candidates, or its default.
    pub choice: Vec<Option<u16>>,
    /// Whether no combination of the eligible components is allowed, so that all slots show
    /// their defaults.
    pub unsatisfiable: bool,
}

/// Why a component may not be chosen; `None` when it may. `meets` asks whether the person and
/// the request meet its targeting.
pub fn exclusion(
    component: &Component,
    manner: &Manner<'_>,
    meets: &mut impl FnMut(&Component) -> bool,
) -> Option<ComponentExclusion> {
    if !component.active {
        return Some(if component.held { ComponentExclusion::HeldBack } else { ComponentExclusion::Paused });
    }
    match manner.control {
        Some(Control::Default) => return Some(ComponentExclusion::Control),
        Some(Control::Even) if component.condition.is_some() || component.is_personal() => {
            return Some(ComponentExclusion::Control);
        }
        _ => {}
    }
    match (component.start, component.end) {
        (Some(start), _) if manner.now < start => return Some(ComponentExclusion::NotStarted { start }),
        (_, Some(end)) if manner.now >= end => return Some(ComponentExclusion::Ended { end }),
        _ => {}
    }
    if fit(component, manner.language).is_none() || !manner.takes(component) {
        return Some(ComponentExclusion::Locale);
    }
    if let (Some(wanted), Some(video)) = (manner.video, &component.video)
        && !wanted.takes(video)
    {
        return Some(ComponentExclusion::Video);
    }
    (!meets(component)).then_some(ComponentExclusion::Targeting { why: None })
}

/// How well a component's language serves the reader; `None` when it does not. A component
/// without a language serves everybody, and any match serves better.
fn fit(component: &Component, language: Option<&Locale>) -> Option<usize> {
    match &component.locale {
        None => Some(0),
        Some(locale) => locale.serves(language?),
    }
}

/// Per slot the candidates that may stand in it: of those eligible the ones in the closest language.
pub fn eligible(creative: &Creative, manner: &Manner<'_>, mut meets: impl FnMut(&Component) -> bool) -> Vec<Vec<u16>> {
    let mut of_slot = |(number, slot): (usize, &Slot)| {
        let (mut closest, mut fitting) = (0, Vec::with_capacity(slot.candidates.len()));
        for (at, component) in slot.candidates.iter().map(|at| &creative.components[*at as usize]).enumerate() {
            let may = exclusion(component, manner, &mut meets).is_none();
            let fit = fit(component, manner.language).unwrap_or_default();
            if !may || fit < closest || !manner.answers(creative, number, at) {
                continue;
            }
            if fit > closest {
                closest = fit;
                fitting.clear();
            }
            // positions fit: a creative holds far fewer than 65,536 components
            fitting.push(at as u16);
        }
        fitting
    };
    creative.slots.iter().enumerate().map(&mut of_slot).collect()
}

/// Chooses for every slot among what is eligible, by weight or evenly, the same for the same person.
///
/// A slot without a candidate shows its default. Where pairing rules forbid the first choices
/// together, the slots take turns: each person's draw says which slot comes first, a slot in
/// proportion to how many components compete for it, and every slot takes its best draw that the
/// slots before it leave, its default last. So nothing that is shown could be shown with more
/// components beside it, and every such combination is shown to some.
pub fn choose(creative: &Creative, manner: &Manner<'_>, eligible: &[Vec<u16>]) -> Chosen {
    let scope = Scope::COMPONENT.within(creative.lasting.0);
    let paired = !creative.pairing.is_empty();
    let mut choice = Vec::with_capacity(creative.slots.len());
    let mut ranked: Vec<Vec<u32>> = Vec::new();
    let mut draws: Vec<(f64, u16)> = Vec::new();
    for (slot, eligible) in creative.slots.iter().zip(eligible) {
        draws.clear();
        draws.extend(eligible.iter().map(|at| {
            let component = &creative.components[slot.candidates[usize::from(*at)] as usize];
            let weight = match (manner.rotation, manner.control) {
                (Rotation::Even, _) | (_, Some(_)) => 1,
                _ => component.weight,
            };
            (manner.sticky.draw(scope, component.hash.0, weight), *at)
        }));
        choice.push(draws.iter().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, at)| *at));
        if paired {
            draws.sort_by(|a, b| a.0.total_cmp(&b.0));
            ranked.push(draws.iter().map(|(_, at)| slot.candidates[usize::from(*at)]).collect());
        }
    }
    let any = choice.iter().any(Option::is_some);
    if paired {
        choice = pair(creative, manner.sticky, ranked);
    }
    let unsatisfiable = any && choice.iter().all(Option::is_none);
    Chosen { choice, unsatisfiable }
}

/// The best combination that the pairing rules allow, by position among each slot's candidates.
fn pair(creative: &Creative, sticky: Sticky, mut ranked: Vec<Vec<u32>>) -> Vec<Option<u16>> {
    creative.pairing.narrow(&mut ranked);
    let free = |slot: usize| ranked[slot].first().copied().unwrap_or(Pairing::DEFAULT);
    let (mut ruled, rest): (Vec<usize>, _) = (0..ranked.len()).partition(|slot| creative.pairing.names(*slot));
    // were the order the same for everybody, a slot with one component would take it from all of
    // them, and with it the choice of the slots that rules tie to it
    let turns = sticky.lot(Scope::TURN.within(creative.lasting.0));
    let turn = |slot: &usize| turns.draw(*slot as u64, ranked[*slot].len() as u32);
    ruled.sort_by(|a, b| turn(a).total_cmp(&turn(b)));
    let mut chosen = vec![None; ranked.len()];
    rest.into_iter().for_each(|slot| chosen[slot] = Some(free(slot)));
    let mut search = Search { creative, ranked: &ranked, chosen, looks: 0 };
    if !search.descend(&ruled) {
        return vec![None; ranked.len()];
    }
    let slots = search.chosen.iter().zip(creative.slots.iter());
    slots.map(|(chosen, slot)| slot.candidates.iter().position(|at| Some(*at) == *chosen).map(|at| at as u16)).collect()
}

/// Depth first through the slots that rules name, best draws first.
struct Search<'a> {
    creative: &'a Creative,
    /// Per slot its eligible components, best first.
    ranked: &'a [Vec<u32>],
    /// Per slot what [`Pairing`] reads: a component, its default, or still open.
    chosen: Vec<Option<u32>>,
    looks: u32,
}

impl Search<'_> {
    /// After so many combinations the search gives up: far more than real rules need, and few
    /// enough to stay within the budget of a decision.
    const MOST: u32 = 4_096;

    fn descend(&mut self, slots: &[usize]) -> bool {
        let Some((&slot, rest)) = slots.split_first() else { return true };
        for component in self.ranked[slot].iter().copied().chain([Pairing::DEFAULT]) {
            self.looks += 1;
            if self.looks > Self::MOST {
                return false;
            }
            self.chosen[slot] = Some(component);
            if self.creative.pairing.allows(&self.chosen) && self.descend(rest) {
                return true;
            }
        }
        self.chosen[slot] = None;
        false
    }
}
