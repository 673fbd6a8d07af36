//! Values escaped beforehand, so that assembling is only copying.

/// A value escaped for every place in which its slot stands in one template. Made by
/// [`super::Template::prepare`]; belongs to that template and slot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// Whether there is a value.
    pub(super) present: bool,
    pub(super) places: Box<[Box<str>]>,
    pub(super) items: Box<[Item]>,
}

/// A product escaped for every place in its loop.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// Which parts the product has, in the order of [`super::field::Part::ALL`].
    pub(super) has: [bool; 4],
    pub(super) places: Box<[Box<str>]>,
}
