//! Legal combinations, kept for the next decision with the same choice: working them out takes longer
//! than choosing among them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::domain::{catalog::creative::Creative, decision::learned::Paired, optimizer::Space};

/// The spaces of one creative within one campaign. What is kept says the same as what is worked out, so
/// that decisions do not depend on it.
#[derive(Debug, Default)]
pub struct Spaces(RwLock<Kept>);

/// By revision, then per slot what may stand in it; none where there is no legal combination.
type ByEligible = HashMap<Vec<Vec<u16>>, Option<Arc<Space<Paired>>>>;

#[derive(Debug, Default)]
struct Kept {
    count: usize,
    // a revision is known by its address, which is its own for as long as it is held here
    revisions: Vec<(Arc<Creative>, ByEligible)>,
}

impl Spaces {
    /// Spaces that are kept at most; with more, all begin anew.
    pub const MOST: usize = 128;
    /// Revisions whose spaces are kept: while a new one comes into use both are asked for.
    const REVISIONS: usize = 2;

    /// The space of what is eligible of a revision, made where it is not kept.
    pub fn get(
        &self,
        creative: &Arc<Creative>,
        eligible: &[Vec<u16>],
        make: impl FnOnce() -> Option<Space<Paired>>,
    ) -> Option<Arc<Space<Paired>>> {
        let is = |(own, _): &&(Arc<Creative>, ByEligible)| Arc::ptr_eq(own, creative);
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = kept.revisions.iter().find(is).and_then(|(_, spaces)| spaces.get(eligible)) {
            return space.clone();
        }
        drop(kept);
        let made = make().map(Arc::new);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.count >= Self::MOST {
            *kept = Kept::default();
        }
        let at = kept.revisions.iter().position(|revision| is(&revision)).unwrap_or_else(|| {
            if kept.revisions.len() >= Self::REVISIONS {
                let (_, gone) = kept.revisions.remove(0);
                kept.count -= gone.len();
            }
            kept.revisions.push((Arc::clone(creative), HashMap::new()));
            kept.revisions.len() - 1
        });
        if kept.revisions[at].1.insert(eligible.to_vec(), made.clone()).is_none() {
            kept.count += 1;
        }
        made
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).count
    }
}
