//! Cut points of recency, frequency and money: fifths of the people who bought.

use std::sync::Arc;

use super::{Fifths, Proposal, TooFew, moved};
use crate::domain::{
    audience::{
        activity::{Stream, total_within},
        model_document::{Learned, ModelDoc},
        models::RfmModel,
        user::UserState,
    },
    values::{Millis, Span},
};

/// People with purchases that it takes.
const NEEDED: usize = 50;

/// What a person bought within the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buyer {
    /// Milliseconds since the last one.
    pub(super) age: i64,
    pub(super) count: i64,
    pub(super) sum: f64,
}

/// The three lists of cut points.
pub(super) type Cuts = ([Span; 4], [u8; 4], [f64; 4]);

pub(super) fn train(
    document: &ModelDoc,
    people: &[Arc<UserState>],
    now: Millis,
    seed: u32,
) -> Result<Proposal, TooFew> {
    let mut proposed = document.clone();
    let buyers: Vec<Buyer> = match (document, document.rfm_streams()) {
        (ModelDoc::Rfm { window, .. }, Some(streams)) => {
            people.iter().filter_map(|person| buyer(person, &streams, *window, now)).collect()
        }
        _ => Vec::new(),
    };
    if buyers.len() < NEEDED {
        return Err(TooFew { found: buyers.len(), needed: NEEDED });
    }
    let mut places = Vec::new();
    if let ModelDoc::Rfm { window, recency, frequency, money, .. } = &mut proposed {
        let cuts = cut(&buyers, *window);
        (*recency, *frequency, *money) = (Some(cuts.0), Some(cuts.1), Some(cuts.2));
        places = buyers.iter().map(|buyer| place(buyer, &cuts)).collect();
    }
    let mut fifths = Fifths::default();
    for [recency, frequency, money] in &places {
        fifths.recency[*recency] += 1;
        fifths.frequency[*frequency] += 1;
        fifths.money[*money] += 1;
    }
    let transitions = match document.learned() {
        Some(Learned::Rfm(RfmModel { recency, frequency, money, .. })) => {
            let old: Vec<_> = buyers.iter().map(|buyer| place(buyer, &(recency, frequency, money))).collect();
            let of = |(at, what)| moved(what, old.iter().zip(&places).map(move |(old, new)| (old[at], new[at])), 5, 5);
            ["recency", "frequency", "money"].into_iter().enumerate().map(of).collect()
        }
        _ => Vec::new(),
    };
    Ok(Proposal {
        at: now,
        seed,
        document: proposed,
        people: buyers.len() as u64,
        fifths: Some(fifths),
        clusters: Vec::new(),
        silhouette: None,
        tried: Vec::new(),
        transitions,
    })
}

fn buyer(person: &UserState, [purchases, amounts]: &[Stream; 2], window: Span, now: Millis) -> Option<Buyer> {
    let activity = person.activity.view();
    let whole = activity.stream(purchases.id())?;
    let newest = whole.whole().atoms().map(|atom| atom.at).find(|&at| at <= now.0)?;
    let age = now.0 - newest;
    let (count, _) = total_within(whole.whole(), window, now.0);
    let spent = activity.stream(amounts.id()).map_or(0, |stream| total_within(stream.whole(), window, now.0).1);
    (age < window.millis()).then_some(Buyer { age, count, sum: spent as f64 / 1e6 })
}

/// Cut points such that each fifth holds a fifth of these, five or more. People who are equal fall
/// into the same one.
pub(super) fn cut(buyers: &[Buyer], window: Span) -> Cuts {
    // The first of the next fifth.
    fn cuts<T: Copy>(sorted: &[T]) -> [T; 4] {
        [1, 2, 3, 4].map(|fifths| sorted[sorted.len() * fifths / 5])
    }
    let mut ages: Vec<i64> = buyers.iter().map(|buyer| buyer.age).collect();
    let mut counts: Vec<i64> = buyers.iter().map(|buyer| buyer.count).collect();
    let mut sums: Vec<f64> = buyers.iter().map(|buyer| buyer.sum).collect();
    ages.sort_unstable();
    counts.sort_unstable();
    sums.sort_unstable_by(f64::total_cmp);
    // Whole seconds, as durations are written.
    let span = |age: i64| Span::from_millis(((age.max(1) + 999) / 1_000 * 1_000).min(window.millis()));
    (cuts(&ages).map(span), cuts(&counts).map(|count| count.clamp(2, 63) as u8), cuts(&sums))
}

/// The fifths of a person, 0 to 4, as conditions of the model answer.
pub(super) fn place(buyer: &Buyer, (recency, frequency, money): &Cuts) -> [usize; 3] {
    let reached = |cuts: [bool; 4]| cuts.into_iter().filter(|&reached| reached).count();
    [
        4 - reached(recency.map(|cut| buyer.age >= cut.millis())),
        reached(frequency.map(|cut| buyer.count >= i64::from(cut))),
        reached(money.map(|cut| buyer.sum >= cut)),
    ]
}
