//! IAB Tech Lab's Dynamic Content Ads 1.0: the parts of an ad and the assets that may stand in them, as other tools
//! for dynamic ads write and read them.
//!
//! A creative component of that standard is a slot here, an asset a component, and assets of one group are shown
//! together. What is written follows the standard's schema; what is read need not, as its own examples do not.

mod export;
mod groups;
mod import;
mod lenient;
mod naming;

pub use export::{Exported, export};
pub use groups::ImportedRule;
pub use import::{Imported, ImportedAsset, import};

/// The member of an asset's attributes by which we know what a slot shows by default.
const DEFAULT: &str = "slotDefault";
/// The member of an asset's attributes by which we know that a component is called like its id, and not without a name.
const NAMED: &str = "named";
/// The member of an ad by which we know a document of ours, which is read as it stands: `groups` has the asset groups
/// that are pairing rules as they are, `pairing` the other rules.
const OWN: &str = "tessera";
/// How a target begins that is one of our segments.
const SEGMENT: &str = "segment:";
/// The value of a request's context that other targets are compared with.
const TARGET: &str = "data.target";

#[cfg(test)]
mod tests;
