//! What may be shown: the documents of an account and the snapshot compiled from them.

pub mod key;
