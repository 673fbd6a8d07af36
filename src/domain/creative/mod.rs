//! What is shown: templates with typed slots, the values that fill them, and their assembly.
//!
//! [`Template::parse`] reads a template once, finds the context of every placeholder with a
//! browser's own tokenizer rules and refuses those without a safe one. [`SlotValue::parse`] reads a
//! component's value, [`Template::prepare`] escapes it for all its places, and [`assemble_html`],
//! [`assemble_native`] and [`assemble_vast`] put the chosen ones together in one pass.

mod assemble;
mod assets;
mod attribute;
mod color;
mod combinations;
mod context;
mod contrast;
mod cover;
mod css;
mod documents;
mod dynamic;
mod escape;
mod field;
mod heaviest;
mod html;
mod image_reading;
mod insecure;
mod lint;
mod marks;
mod native;
mod native_request;
mod pairing;
mod picking;
mod policy;
mod prepared;
mod reading;
mod slot;
mod styles;
mod syntax;
mod template;
mod url;
mod value;
mod vast;
mod vast_document;
mod vast_version;
mod video;
mod video_reading;
mod wordless;

pub use assemble::{Dynamic, assemble_html, assemble_native, assemble_native_for};
pub use assets::{ASSETS, asset_name, assets_in_markup, is_asset_name, named_assets, with_paths};
pub use combinations::{Combinations, Intricate};
pub use documents::*;
pub use dynamic::{Exported, Imported, ImportedAsset, ImportedRule, export, import};
pub use insecure::is_insecure;
pub use lint::lint;
pub use native_request::{NativeRequest, Wanted, WantedKind};
pub use pairing::Pairing;
pub use picking::{Choose, Fill, Picking};
pub use prepared::Prepared;
pub use slot::Slot;
pub use template::Template;
pub use url::{ClickMacro, UrlError, WebUrl, is_bidi, percent_encode};
pub use value::{Image, Product, SlotSpec, SlotValue, content};
pub use vast_document::{Spot, VideoEvent, assemble_vast, empty_vast};
pub use vast_version::{UnknownVersion, VastVersion};
pub use video::{MediaFile, Video, VideoRequest};
pub use wordless::every_image_has_words;

#[cfg(test)]
mod tests;
