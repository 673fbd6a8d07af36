//! Values escaped beforehand, so that assembling is only copying.

use super::video::Video;

/// A value escaped for every place in which its slot stands in one template. Made by
/// [`super::Template::prepare`]; belongs to that template and slot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// Whether there is a value.
    pub(super) present: bool,
    pub(super) places: Box<[Box<str>]>,
    pub(super) items: Box<[Item]>,
    /// The video itself, of which each player gets what it plays.
    pub(super) video: Option<Box<Video>>,
    /// The same value for each companion of a video.
    pub(super) parts: Box<[Prepared]>,
}

impl Prepared {
    /// The video, where it is one in a template that plays it.
    #[must_use]
    pub fn video(&self) -> Option<&Video> {
        self.video.as_deref()
    }
}

/// A product escaped for every place in its loop.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// Which parts the product has, in the order of [`super::field::Part::ALL`].
    pub(super) has: [bool; 4],
    pub(super) places: Box<[Box<str>]>,
}
