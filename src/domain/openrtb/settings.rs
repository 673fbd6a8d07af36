//! How this service bids.

use std::collections::{BTreeMap, HashMap};

use crate::domain::ids::{ExchangeId, SegmentKey};

/// How this service bids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our seat, as `seatbid.seat` names it.
    pub seat: String,
    /// What of a request's `tmax` the network takes, in ms.
    pub network_ms: u64,
    /// For how long a bid holds, in seconds.
    pub expires_s: u32,
    /// What a `crid` stands for.
    pub crid: Granularity,
    /// For exchanges that want another.
    pub crids: BTreeMap<ExchangeId, Granularity>,
    /// Exchanges to which only what they have approved is bid.
    pub audited: Vec<ExchangeId>,
    /// Whether an ad is chosen from the page alone where the TCF does not allow choosing one
    /// (purpose 2); if not, there is no bid.
    pub contextual_without_consent: bool,
    /// Sources of `eids` by which people are known, the best first; the person of an id is `eid:`,
    /// the source, `:` and the id.
    pub eid_sources: Vec<String>,
    /// What segments of data providers stand for.
    pub segments: Vec<MappedSegment>,
    /// What is part of what, by the number of the taxonomy in AdCOM's list of category taxonomies.
    pub taxonomies: BTreeMap<i64, Taxonomy>,
}

impl Settings {
    /// What a `crid` stands for to whoever asks.
    #[must_use]
    pub fn granularity(&self, exchange: Option<&ExchangeId>) -> Granularity {
        exchange.and_then(|exchange| self.crids.get(exchange)).copied().unwrap_or(self.crid)
    }
}

/// What a `crid` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// A revision of a creative in one size.
    Creative,
    /// What is shown in it as well.
    Combination,
}

/// A segment of a data provider, and the segment that its people are in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedSegment {
    /// The taxonomy of `id`: 4 is IAB Audience Taxonomy 1.1. None: the provider's own.
    pub segtax: Option<i64>,
    /// The provider, by its id or name. None: all of them.
    pub data: Option<String>,
    /// The provider's segment.
    pub id: String,
    /// Ours.
    pub segment: SegmentKey,
    /// Whether it stands for those of its parts too, as far as its taxonomy is known.
    pub contains: bool,
}

impl MappedSegment {
    /// Whether a segment of this taxonomy is the one that is meant.
    pub(super) fn is(&self, segtax: Option<i64>, id: &str, taxonomies: &BTreeMap<i64, Taxonomy>) -> bool {
        let within = || {
            let taxonomy = segtax.and_then(|segtax| taxonomies.get(&segtax));
            self.contains && taxonomy.is_some_and(|taxonomy| taxonomy.is_within(id, &self.id))
        };
        self.segtax == segtax && (self.id == id || within())
    }
}

/// What is part of what in a taxonomy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taxonomy(HashMap<Box<str>, Option<Box<str>>>);

impl Taxonomy {
    /// How deep taxonomies are at most.
    const DEEPEST: usize = 32;

    /// Reads a table as IAB Tech Lab publishes them: columns with tabs or commas between, of which the first is
    /// the id and the second that of the parent; lines without an id, and the names of the columns, say nothing.
    ///
    /// # Errors
    /// There is no line with an id, or a parent that is in no line.
    pub fn read(table: &str) -> Result<Self, String> {
        let mut parents = HashMap::new();
        for line in table.lines() {
            let apart = if line.contains('\t') { '\t' } else { ',' };
            let mut columns = line.split(apart).map(|column| column.trim().trim_matches(['"', '\u{feff}']));
            let id = columns.next().unwrap_or_default();
            if id.is_empty() || id.contains(' ') || id.eq_ignore_ascii_case("id") {
                continue;
            }
            let parent = columns.next().filter(|parent| !parent.is_empty());
            parents.insert(Box::from(id), parent.map(Box::from));
        }
        let lost = parents.values().flatten().find(|parent| !parents.contains_key(*parent));
        match lost {
            Some(parent) => Err(format!("there is no line of the parent {parent}")),
            None if parents.is_empty() => Err("there is no line with an id".to_owned()),
            None => Ok(Self(parents)),
        }
    }

    /// Whether it has an id.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Whether an id is another or part of it.
    #[must_use]
    pub fn is_within(&self, id: &str, of: &str) -> bool {
        let mut above = std::iter::successors(Some(id), |id| self.0.get(*id)?.as_deref());
        above.by_ref().take(Self::DEEPEST).any(|id| id == of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_say_what_is_part_of_what() {
        let made = Taxonomy::read(
            "\u{feff}\"Unique ID\",\"Parent ID\",\"Name\"\r\n\"1\",,\"All, of it\"\r\n2,1,Some\r\n3,2\r\n\r\n",
        );
        let made = made.expect("a taxonomy");
        assert!(made.is_within("3", "1") && made.is_within("3", "3") && made.is_within("2", "1"));
        assert!(!made.is_within("1", "3") && !made.is_within("3", "4") && !made.knows("4") && made.is_within("4", "4"));
        for wrong in ["", "Unique ID\tParent ID\n", "2\t1\n"] {
            assert!(Taxonomy::read(wrong).is_err(), "{wrong:?}");
        }
        let round = Taxonomy::read("1\t2\n2\t1\n").expect("a taxonomy");
        assert!(!round.is_within("1", "3"), "it ends");
    }

    #[test]
    fn a_segment_stands_for_its_parts_where_it_is_said() {
        let table = Taxonomy::read("1\t\n2\t1\n3\t2\n").expect("a taxonomy");
        let taxonomies = BTreeMap::from([(4, table)]);
        let mapped = |contains| {
            let segment = "a".parse().expect("a segment");
            MappedSegment { segtax: Some(4), data: None, id: "1".into(), segment, contains }
        };
        assert!(mapped(true).is(Some(4), "3", &taxonomies) && mapped(false).is(Some(4), "1", &taxonomies));
        assert!(!mapped(false).is(Some(4), "3", &taxonomies) && !mapped(true).is(Some(5), "3", &taxonomies));
        assert!(!mapped(true).is(None, "1", &taxonomies) && !mapped(true).is(Some(4), "3", &BTreeMap::new()));
    }
}
