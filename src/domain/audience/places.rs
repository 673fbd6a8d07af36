//! Where the few of many numbers were put: a small table with open addressing, so that asking 20
//! of 10,000 segments costs nothing for the others.

/// Numbers, each with a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// A number and one more than its place; 0 where nothing is. A power of two of them.
    slots: Vec<(u32, u32)>,
    len: usize,
}

impl Places {
    /// Slots of the first table.
    const FIRST: usize = 64;

    /// The place of `number`.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let (of, place) = self.slots[self.slot(number)];
        if of == number { place.checked_sub(1) } else { None }
    }

    /// Notes the place of a `number` that has none yet.
    #[inline]
    pub(super) fn put(&mut self, number: u32, place: u32) {
        if self.len * 2 >= self.slots.len() {
            let larger = (self.slots.len() * 4).max(Self::FIRST);
            let old = std::mem::replace(&mut self.slots, vec![(0, 0); larger]);
            for (number, place) in old.into_iter().filter(|(_, place)| *place > 0) {
                let slot = self.slot(number);
                self.slots[slot] = (number, place);
            }
        }
        let slot = self.slot(number);
        self.slots[slot] = (number, place + 1);
        self.len += 1;
    }

    /// Where `number` is, or the free slot where it belongs. There is always a free one.
    #[inline]
    fn slot(&self, number: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (number.wrapping_mul(0x9e37_79b1) >> 7) as usize & mask;
        while self.slots[slot].1 > 0 && self.slots[slot].0 != number {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_the_place_it_was_given() {
        let mut places = Places::default();
        let numbers: Vec<u32> = (0..5_000).map(|n| n * 7 % 8_191).chain([u32::MAX]).collect();
        for (place, &number) in (0..).zip(&numbers) {
            assert_eq!(places.get(number), None);
            places.put(number, place);
        }
        assert!((0..).zip(&numbers).all(|(place, &number)| places.get(number) == Some(place)));
        assert_eq!(places.get(u32::MAX - 1), None);
    }
}
