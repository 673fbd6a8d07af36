//! What of a creative stands where: its template for a placement, and the values in it.

use crate::domain::{
    catalog::{
        content::Content,
        creative::{Choice, Component, Creative, Place},
        index::Shape,
    },
    values::{Format, Size},
};

impl Creative {
    /// The variant for a placement: of its formats in the order given, the first of its sizes that
    /// a template has exactly, else one that adapts.
    #[must_use]
    pub fn variant(&self, formats: &[Format], sizes: &[Size]) -> Option<(usize, Option<Size>)> {
        formats.iter().find_map(|format| {
            let find = |size: Option<Size>| self.variants.iter().position(|v| v.shape == (*format, size));
            let exact = sizes.iter().find_map(|size| Some((find(Some(*size))?, Some(*size))));
            // native markup has no size, whatever other formats are asked for beside it
            let adapted = sizes.first().copied().filter(|_| *format == Format::Html);
            exact.or_else(|| find(None).map(|at| (at, adapted)))
        })
    }

    /// Every shape it can render.
    pub fn shapes(&self) -> impl Iterator<Item = Shape> {
        self.variants.iter().map(|variant| variant.shape)
    }

    /// The component that a choice puts into a slot.
    #[must_use]
    pub fn chosen(&self, slot: usize, choice: &Choice) -> Option<&Component> {
        let at = choice.get(slot).copied().flatten()?;
        let component = self.slots[slot].candidates.get(usize::from(at))?;
        self.components.get(*component as usize)
    }
}

impl Place {
    /// The value that a choice puts here, as JSON; what a component picks is not known yet.
    #[must_use]
    pub fn content<'a>(&'a self, creative: &'a Creative, choice: &Choice) -> &'a Content {
        match creative.chosen(self.slot, choice) {
            // nothing was picked, so the default is shown
            Some(component) if component.picking.is_some() => &self.default_content,
            Some(component) => self.resized(choice).unwrap_or(&component.content),
            None => &self.default_content,
        }
    }

    /// A hash of the value that a choice puts here.
    #[must_use]
    pub fn fingerprint(&self, creative: &Creative, choice: &Choice) -> u64 {
        let component = creative.chosen(self.slot, choice);
        let resized = component.and_then(|_| self.resized(choice));
        resized.map_or_else(
            || component.map_or(self.default_fingerprint, |component| component.fingerprint),
            Content::fingerprint,
        )
    }

    fn resized(&self, choice: &Choice) -> Option<&Content> {
        self.resized.get(&choice.get(self.slot).copied().flatten()?)
    }
}
