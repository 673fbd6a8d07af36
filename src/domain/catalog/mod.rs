//! What may be shown: the documents of an account and the snapshot compiled from them.

mod assets;
pub mod audit;
pub mod bits;
pub mod budget;
pub mod campaign;
pub mod combinations;
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
pub mod listed;
mod places;
mod playing;
pub mod reviewed;
pub mod salvage;
pub mod snapshot;
pub mod templates;
mod variant;
pub mod warnings;
