//! What may be shown: the documents of an account and the snapshot compiled from them.

pub mod approved;
mod assets;
pub mod audit;
pub mod bits;
pub mod budget;
pub mod campaign;
mod compile;
pub mod content;
pub mod creative;
pub mod document;
pub mod evolve;
pub mod flight;
pub mod gate;
pub mod goal;
mod goods;
pub mod index;
pub mod key;
pub mod landing;
pub mod links;
mod places;
mod playing;
pub mod salvage;
pub mod snapshot;
pub mod templates;
mod variant;
pub mod warnings;
