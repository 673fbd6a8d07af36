//! Finding the campaigns that may serve without asking each one.
//!
//! For every attribute that a request or a person can have, each value has the set of campaigns
//! that ask for it, and one more set holds those that do not care. Intersecting the matching sets
//! of all attributes leaves a superset of the eligible campaigns, which are then asked exactly.
//! The work grows with the number of campaigns divided by 64.

use std::collections::HashMap;

use crate::domain::{
    audience::compile::SegmentIx,
    catalog::bits::Bits,
    ids::PlacementId,
    values::{Country, Format, Size},
};

/// What a campaign needs before anything else about it matters.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// It serves only there; empty for everywhere.
    pub placements: Vec<PlacementId>,
    /// What it can render.
    pub shapes: Vec<Shape>,
    /// Only in one of these; empty for everywhere.
    pub countries: Vec<Country>,
    /// Only on one of these; empty for every device.
    pub devices: Vec<Box<str>>,
    /// Only to people in one of these; empty for everybody.
    pub segments: Vec<SegmentIx>,
}

/// What can be rendered: a format in a size, or (none) in any size.
pub type Shape = (Format, Option<Size>);

/// What a request offers.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The registered placement.
    pub placement: Option<&'a PlacementId>,
    /// The formats it shows.
    pub formats: &'a [Format],
    /// The sizes it shows.
    pub sizes: &'a [Size],
    /// Where the person is.
    pub country: Option<Country>,
    /// On what device.
    pub device: Option<&'a str>,
}

/// One attribute: who asks for which value, and who does not care.
#[derive(Clone, Debug)]
struct Attribute<K> {
    any: Bits,
    asked: HashMap<K, Bits>,
}

impl<K: Eq + std::hash::Hash> Attribute<K> {
    fn new(count: usize) -> Self {
        Self { any: Bits::none(count), asked: HashMap::new() }
    }

    fn add(&mut self, at: usize, count: usize, values: impl IntoIterator<Item = K>) {
        let mut asks = false;
        for value in values {
            asks = true;
            self.asked.entry(value).or_insert_with(|| Bits::none(count)).insert(at);
        }
        if !asks {
            self.any.insert(at);
        }
    }
}

/// The sets, over campaigns in serving order.
#[derive(Clone, Debug)]
pub struct Index {
    placement: Attribute<PlacementId>,
    shape: Attribute<Shape>,
    country: Attribute<Country>,
    device: Attribute<Box<str>>,
    segment_any: Bits,
    /// Segments in order, so that evaluation is the same in every run.
    segments: Vec<(SegmentIx, Bits)>,
}

/// Memory that one query after another uses again.
#[derive(Debug, Default)]
pub struct Scratch {
    found: Bits,
    part: Bits,
}

impl Index {
    /// Survivors up to which it is cheaper to ask each campaign than to look at segments first.
    const FEW: usize = 32;

    /// The index over campaigns in serving order; `None` never serves.
    #[must_use]
    pub fn build(campaigns: &[Option<Needs>]) -> Self {
        let count = campaigns.len();
        let mut index = Self {
            placement: Attribute::new(count),
            shape: Attribute::new(count),
            country: Attribute::new(count),
            device: Attribute::new(count),
            segment_any: Bits::none(count),
            segments: Vec::new(),
        };
        let mut by_segment: HashMap<SegmentIx, Bits> = HashMap::new();
        for (at, needs) in campaigns.iter().enumerate().filter_map(|(at, needs)| Some((at, needs.as_ref()?))) {
            index.placement.add(at, count, needs.placements.iter().cloned());
            // a campaign that can render nothing is in no set, not in the set of those who do not care
            for shape in &needs.shapes {
                index.shape.add(at, count, [*shape]);
            }
            index.country.add(at, count, needs.countries.iter().copied());
            index.device.add(at, count, needs.devices.iter().cloned());
            if needs.segments.is_empty() {
                index.segment_any.insert(at);
            }
            for segment in &needs.segments {
                by_segment.entry(*segment).or_insert_with(|| Bits::none(count)).insert(at);
            }
        }
        index.segments = by_segment.into_iter().collect();
        index.segments.sort_by_key(|(segment, _)| *segment);
        index
    }

    /// A superset of the campaigns that may serve, in serving order. `is_member` is asked about
    /// the person only where that spares asking many campaigns.
    pub fn candidates<'s>(
        &self,
        offer: &Offer<'_>,
        scratch: &'s mut Scratch,
        mut is_member: impl FnMut(SegmentIx) -> bool,
    ) -> impl Iterator<Item = usize> + 's {
        let Scratch { found, part } = scratch;
        found.copy_from(&self.placement.any);
        if let Some(asked) = offer.placement.and_then(|placement| self.placement.asked.get(placement)) {
            found.unite(asked);
        }
        part.copy_from(&self.shape.any);
        for format in offer.formats {
            let sizes = offer.sizes.iter().map(|size| Some(*size)).chain([None]);
            for asked in sizes.filter_map(|size| self.shape.asked.get(&(*format, size))) {
                part.unite(asked);
            }
        }
        found.intersect(part);
        narrow(found, part, &self.country, offer.country.as_ref());
        narrow(found, part, &self.device, offer.device);
        if found.len() > Self::FEW {
            part.copy_from(&self.segment_any);
            for (segment, asked) in &self.segments {
                if found.meets(asked) && is_member(*segment) {
                    part.unite(asked);
                }
            }
            found.intersect(part);
        }
        found.iter()
    }
}

fn narrow<K, Q>(found: &mut Bits, part: &mut Bits, attribute: &Attribute<K>, value: Option<&Q>)
where
    K: Eq + std::hash::Hash + std::borrow::Borrow<Q>,
    Q: Eq + std::hash::Hash + ?Sized,
{
    if attribute.asked.is_empty() {
        return;
    }
    match value.and_then(|value| attribute.asked.get(value)) {
        Some(asked) => {
            part.copy_from(&attribute.any);
            part.unite(asked);
            found.intersect(part);
        }
        None => found.intersect(&attribute.any),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};

    use super::*;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(names: Vec<&str>) -> Vec<T> {
        names.into_iter().map(|name| name.parse().expect("a value")).collect()
    }

    fn any_needs() -> impl Strategy<Value = Option<Needs>> {
        let shapes = vec![None, "300x250".parse().ok(), "728x90".parse().ok()];
        let shapes = subsequence(shapes, 0..=2).prop_map(|sizes| sizes.into_iter().map(|size| (Format::Html, size)));
        let parts = (
            prop_oneof![Just(Vec::new()), subsequence(vec!["a", "b", "c"], 0..=2)],
            (shapes, any::<bool>()),
            prop_oneof![Just(Vec::new()), subsequence(vec!["DE", "FR"], 0..=2)],
            prop_oneof![Just(Vec::new()), subsequence(vec!["mobile", "tv"], 0..=2)],
            prop_oneof![Just(Vec::new()), subsequence(vec![SegmentIx(0), SegmentIx(1), SegmentIx(2)], 0..=2)],
        );
        let needs = parts.prop_map(|(placements, (shapes, native), countries, devices, segments)| Needs {
            placements: parsed(placements),
            shapes: shapes.chain(native.then_some((Format::Native, None))).collect(),
            countries: parsed(countries),
            devices: devices.into_iter().map(Into::into).collect(),
            segments,
        });
        prop_oneof![1 => Just(None), 9 => needs.prop_map(Some)]
    }

    proptest! {
        #[test]
        fn what_it_finds_is_what_asking_each_finds(
            needs in prop::collection::vec(any_needs(), 0..200),
            placement in prop::option::of(prop::sample::select(vec!["a", "b", "z"])),
            formats in subsequence(vec![Format::Html, Format::Native], 0..=2),
            sizes in subsequence(vec!["300x250", "728x90", "1x1"], 0..=3),
            country in prop::option::of(prop::sample::select(vec!["DE", "FR", "US"])),
            device in prop::option::of(prop::sample::select(vec!["mobile", "tv", "fridge"])),
            members in any::<[bool; 3]>(),
        ) {
            let (placement, sizes) = (placement.map(|id| id.parse().expect("an id")), parsed::<Size>(sizes));
            let country: Option<Country> = country.map(|code| code.parse().expect("a country"));
            let offer = Offer { placement: placement.as_ref(), formats: &formats, sizes: &sizes, country, device };
            let is_met = |needs: &Needs| {
                (needs.placements.is_empty() || placement.as_ref().is_some_and(|id| needs.placements.contains(id)))
                    && needs.shapes.iter().any(|(format, size)| {
                        formats.contains(format) && size.is_none_or(|size| sizes.contains(&size))
                    })
                    && (needs.countries.is_empty() || country.is_some_and(|of| needs.countries.contains(&of)))
                    && (needs.devices.is_empty() || device.is_some_and(|of| needs.devices.iter().any(|d| **d == *of)))
            };
            let listed = |needs: &Needs| {
                needs.segments.is_empty() || needs.segments.iter().any(|ix| members[ix.0 as usize])
            };
            let mut met: Vec<usize> = (0..needs.len()).filter(|at| needs[*at].as_ref().is_some_and(is_met)).collect();
            if met.len() > Index::FEW {
                met.retain(|at| needs[*at].as_ref().is_some_and(listed));
            }
            let (index, mut scratch) = (Index::build(&needs), Scratch::default());
            // twice: what one query leaves behind must not reach the next
            for _ in 0..2 {
                let found: Vec<usize> = index.candidates(&offer, &mut scratch, |ix| members[ix.0 as usize]).collect();
                prop_assert_eq!(&found, &met);
            }
        }
    }
}
