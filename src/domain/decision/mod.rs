//! The main job: what a person sees, and why.

pub mod standing;
