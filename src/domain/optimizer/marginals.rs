//! How likely components are where combinations are drawn evenly.

use crate::domain::optimizer::space::{Rules, Space};

/// How likely components and pairs of them are in a combination drawn evenly.
pub(super) struct Marginals<'a, R> {
    space: &'a Space<R>,
    pinned: Option<(usize, u16)>,
    /// Of each ruled slot where its options begin in a row of the pairs.
    starts: Vec<usize>,
    pairs: Vec<f64>,
    width: usize,
}

impl<R: Rules> Marginals<'_, R> {
    /// The probability that two components, each a slot and a position among its options, are there.
    pub(super) fn together(&self, one: (usize, usize), other: (usize, usize)) -> f64 {
        match (self.ruled(one), self.ruled(other)) {
            (Some(one), Some(other)) => self.pairs[one * self.width + other],
            _ if one == other => self.alone(one),
            _ if one.0 == other.0 => 0.0,
            // what no rule names is drawn by itself
            _ => self.alone(one) * self.alone(other),
        }
    }

    fn ruled(&self, (slot, at): (usize, usize)) -> Option<usize> {
        Some(self.starts[self.space.place(slot)?] + at)
    }

    fn alone(&self, (slot, at): (usize, usize)) -> f64 {
        let options = &self.space.options[slot];
        match (self.ruled((slot, at)), self.pinned) {
            (Some(at), _) => self.pairs[at * self.width + at],
            (None, Some((pinned, one))) if pinned == slot => f64::from(u8::from(options[at] == one)),
            (None, _) => 1.0 / options.len() as f64,
        }
    }
}

impl<R: Rules> Space<R> {
    /// How likely components are by even draws, `pinned` as in [`Self::draw_with`].
    pub(super) fn marginals(&self, pinned: Option<(usize, u16)>) -> Marginals<'_, R> {
        let place = pinned.and_then(|(slot, one)| Some((self.place(slot)?, one)));
        let ends = self.ruled.iter().scan(0, |end, slot| {
            *end += self.options[*slot].len();
            Some(*end)
        });
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let width = starts.last().copied().unwrap_or_default();
        let (mut pairs, mut tuples) = (vec![0.0; width * width], 0.0_f64);
        for tuple in self.tuples().filter(|tuple| place.is_none_or(|(place, one)| tuple[place] == one)) {
            tuples += 1.0;
            let at = |(place, slot): (usize, &usize)| {
                Some(starts[place] + self.options[*slot].binary_search(&tuple[place]).ok()?)
            };
            let shown: Vec<usize> = self.ruled.iter().enumerate().filter_map(at).collect();
            for one in &shown {
                shown.iter().for_each(|other| pairs[one * width + other] += 1.0);
            }
        }
        pairs.iter_mut().for_each(|pair| *pair /= tuples.max(1.0));
        Marginals { space: self, pinned, starts, pairs, width }
    }
}
