//! Works out what was believed when a combination was chosen by what was learned.

use crate::domain::{
    decision::{
        belief::{Belief, Forbidden, Other, Part, Reasoning},
        decided::Showing,
        learned::{Learner, Thought},
    },
    ids::ComponentId,
    optimizer::{By, DEFAULT, Score, Term},
};

/// Terms that are told of a combination.
const TERMS: usize = 6;

impl Thought {
    /// What was believed of what is shown; `None` where it is of another creative.
    #[must_use]
    pub fn reasoning(&self, showing: &Showing) -> Option<Reasoning> {
        let (learner, creative) = (&*self.learner, &*showing.creative);
        let draws = learner.draws.as_ref()?;
        let member = match self.by {
            By::Member(member) => Some(usize::from(member)),
            By::Floor | By::Launch => None,
        };
        let mut choice = learner.numbered(creative, &showing.choice);
        choice.truncate(draws.layout().slots());
        let belief = |choice: &[u16]| {
            let score = draws.score(&self.features, choice, member).ok()?;
            Some(told(learner, score))
        };
        let shown = belief(&choice)?;
        let (_, space) = self.among(&showing.creative)?;
        let legal = |choice: &[u16]| space.allows(&choice[..space.options().len().min(choice.len())]);
        let (mut others, mut forbidden) = (Vec::new(), Vec::new());
        for (slot, eligible) in self.eligible.iter().enumerate() {
            let Some(place) = learner.shape.slot(&creative.slots[slot].name).filter(|place| *place < choice.len())
            else {
                continue;
            };
            for candidate in eligible.iter().filter(|candidate| showing.choice[slot] != Some(**candidate)) {
                let id = &creative.components[creative.slots[slot].candidates[usize::from(*candidate)] as usize].id;
                let Some(number) = learner.shape.component(place, id) else { continue };
                let mut other = choice.clone();
                other[place] = number;
                if !legal(&other) {
                    forbidden.push(Forbidden { slot: creative.slots[slot].name.clone(), component: id.clone() });
                    continue;
                }
                others.extend(belief(&other).map(|belief| Other {
                    slot: creative.slots[slot].name.clone(),
                    component: id.clone(),
                    belief,
                }));
            }
        }
        Some(Reasoning {
            version: learner.version,
            by: self.by,
            propensity: self.propensity(&showing.creative, &choice),
            features: self
                .features
                .iter()
                .filter_map(|at| learner.shape.features().get(usize::from(*at)))
                .cloned()
                .collect(),
            shown,
            others,
            forbidden,
        })
    }
}

fn told(learner: &Learner, score: Score) -> Belief {
    let terms = score.terms.iter().filter(|term| term.term != Term::Bias).take(TERMS);
    Belief {
        rate: score.rate,
        interval: score.interval,
        sampled: score.sampled,
        terms: terms
            .map(|part| Part { term: words(learner, part.term), adds: part.mean, deviation: part.deviation })
            .collect(),
    }
}

fn words(learner: &Learner, term: Term) -> String {
    let component = |slot: usize, number: u16| match learner.shape.slots().get(slot) {
        Some(slot) if number != DEFAULT => {
            let id = slot.components.get(usize::from(number)).map_or("?", ComponentId::as_str);
            format!("{} {id}", slot.name)
        }
        _ => "default".to_owned(),
    };
    let feature = |at: u16| learner.shape.features().get(usize::from(at)).map_or("?", String::as_str);
    match term {
        Term::Bias => "everything".to_owned(),
        Term::Component { slot, component: number } => component(slot, number),
        Term::Pair { first, second } => {
            format!("{} with {}", component(first.0, first.1), component(second.0, second.1))
        }
        Term::Feature { feature: at } => feature(at).to_owned(),
        Term::Cross { feature: at, slot, component: number } => {
            format!("{} for {}", component(slot, number), feature(at))
        }
    }
}
