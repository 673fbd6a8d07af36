//! Mistakes that tests plant to see whether they would be noticed. The program itself has none.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A window ends a millisecond late.
    WindowEdge,
    /// Of false conjuncts, the later ends of those not looked at are taken for granted.
    AndOfFalse,
    /// The end of a sequence's grace is not told.
    SequenceGrace,
    /// Every local day has 24 hours.
    DstDay,
}

#[cfg(not(test))]
pub(crate) use off::planted;
#[cfg(test)]
pub(crate) use on::{plant, planted};

#[cfg(not(test))]
mod off {
    #[inline(always)]
    pub(crate) const fn planted(_: super::Fault) -> bool {
        false
    }
}

#[cfg(test)]
mod on {
    use std::cell::Cell;

    use super::Fault;

    thread_local!(static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) });

    pub(crate) fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }

    /// Makes this mistake on this thread, until told otherwise.
    pub(crate) fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }
}
