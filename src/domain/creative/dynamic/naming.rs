//! Ids for assets.

use std::collections::{HashMap, HashSet};

use crate::domain::ids::ComponentId;

/// What an asset is known by.
pub(super) struct Called {
    /// Its own id.
    pub(super) id: Option<String>,
    /// What it is called, with its slot.
    pub(super) name: String,
}

/// An id for every asset: its own where that can be one and is nobody else's in the document, else one made of the
/// slot and the name, the same for the same document.
pub(super) fn ids(assets: &[Called]) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    assets.iter().flat_map(|asset| &asset.id).for_each(|id| *counts.entry(id).or_default() += 1);
    let own = |asset: &Called| {
        let is_own = |id: &&String| counts.get(id.as_str()) == Some(&1) && id.parse::<ComponentId>().is_ok();
        asset.id.as_ref().filter(is_own).cloned()
    };
    let own: Vec<Option<String>> = assets.iter().map(own).collect();
    let mut taken: HashSet<String> = own.iter().flatten().cloned().collect();
    // of equal names, so that many of them do not count from the beginning each
    let mut next: HashMap<String, u32> = HashMap::new();
    let made = assets.iter().zip(own).map(|(asset, own)| {
        own.unwrap_or_else(|| {
            let slug = slug(&asset.name);
            let mut id = slug.clone();
            if taken.contains(&id) {
                let next = next.entry(slug.clone()).or_insert(2);
                while taken.contains(&id) {
                    id = format!("{slug}-{next}");
                    *next += 1;
                }
            }
            taken.insert(id.clone());
            id
        })
    });
    made.collect()
}

/// Small letters, digits and hyphens, at most 56 of them.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    slug.truncate(56);
    if slug.is_empty() { "asset".to_owned() } else { slug }
}
