//! What was shown to whom, as learning and reports count it: travels in tokens and waits with
//! outcomes.

use crate::domain::ids::NameHash;

/// Which side of a campaign's experiment an impression was on.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// Components were chosen for the person.
    #[default]
    Personalised,
    /// The person is in the holdout and saw the control.
    Control,
    /// Components were chosen for nobody known, who is in no experiment.
    Unassigned,
    /// The same of somebody who does not allow to be known.
    NoConsent,
}

impl Arm {
    /// Every arm, by its number in tokens and in the store.
    pub const ALL: [Self; 4] = [Self::Personalised, Self::Control, Self::Unassigned, Self::NoConsent];

    /// Whether it is a side of the experiment.
    #[must_use]
    pub fn is_side(self) -> bool {
        matches!(self, Self::Personalised | Self::Control)
    }

    /// The arm's number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Personalised => 0,
            Self::Control => 1,
            Self::Unassigned => 2,
            Self::NoConsent => 3,
        }
    }
}

/// What was shown of one creative, in the numbers of what is learned about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exposure {
    /// On which side.
    pub arm: Arm,
    /// Of which experiment of the campaign; 0 where there is none.
    #[serde(default)]
    pub experiment: u32,
    /// The version of what was learned that chose; 0 where nothing did.
    pub version: u64,
    /// Per slot the number of the component, [`Exposure::DEFAULT`] for the slot's own default.
    pub choice: Vec<u16>,
    /// Numbers of the features of the person and the request, ascending.
    pub features: Vec<u16>,
    /// What stands for the components shown that had no number yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_components: Vec<u32>,
    /// What stands for features that had none, where nothing had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_features: Vec<u32>,
}

impl Exposure {
    /// Stands for a slot's own default.
    pub const DEFAULT: u16 = u16::MAX;
    /// Features that are told at most: the first of them.
    pub const FEATURES: usize = 16;
    /// Slots that are told at most; of a creative with more, nothing is learned.
    pub const SLOTS: usize = 64;
    const FORMAT: u8 = 1;
    /// With the number of an experiment.
    const IN_EXPERIMENT: u8 = 2;
    /// The same with what had no number, in an experiment or not.
    const UNNUMBERED: u8 = 3;
    /// The bytes that tokens have room for.
    pub const LONGEST: usize = 255;

    /// Stands for the name of what has no number yet: enough to tell it apart within a creative.
    #[must_use]
    pub fn stand_in(name: NameHash) -> u32 {
        name.0 as u32
    }

    /// Whether something had no number.
    #[must_use]
    pub fn is_unnumbered(&self) -> bool {
        !(self.new_components.is_empty() && self.new_features.is_empty())
    }

    /// As few bytes as tokens have room for. Where there is too much to tell, what was shown is left out, as
    /// a component that never gets a number.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let packed = self.pack_all();
        if packed.len() <= Self::LONGEST {
            return packed;
        }
        let Self { arm, experiment, version, .. } = *self;
        Self { arm, experiment, version, new_components: vec![0], ..Self::default() }.pack_all()
    }

    fn pack_all(&self) -> Vec<u8> {
        let format = match self.experiment {
            _ if self.is_unnumbered() => Self::UNNUMBERED,
            0 => Self::FORMAT,
            _ => Self::IN_EXPERIMENT,
        };
        let mut out = Vec::with_capacity(64);
        out.push(format << 4 | self.arm.number());
        if format != Self::FORMAT {
            put(&mut out, self.experiment.into());
        }
        put(&mut out, self.version);
        out.push(self.choice.len().min(Self::SLOTS) as u8);
        // the default is by far the commonest: 0
        self.choice.iter().take(Self::SLOTS).for_each(|one| put(&mut out, u64::from(one.wrapping_add(1))));
        out.push(self.features.len().min(Self::FEATURES) as u8);
        self.features.iter().take(Self::FEATURES).for_each(|one| put(&mut out, u64::from(*one)));
        if format == Self::UNNUMBERED {
            for (new, most) in [(&self.new_components, Self::SLOTS), (&self.new_features, Self::FEATURES)] {
                out.push(new.len().min(most) as u8);
                out.extend(new.iter().take(most).flat_map(|one| one.to_le_bytes()));
            }
        }
        out
    }

    /// What was packed; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let (&head, mut rest) = packed.split_first()?;
        let arm = *Arm::ALL.get(usize::from(head & 0xf))?;
        let format = head >> 4;
        let experiment = match format {
            Self::FORMAT => 0,
            Self::UNNUMBERED => u32::try_from(take(&mut rest)?).ok()?,
            Self::IN_EXPERIMENT => u32::try_from(take(&mut rest)?).ok().filter(|number| *number > 0)?,
            _ => return None,
        };
        let version = take(&mut rest)?;
        let mut list = |most: usize| {
            let count = usize::from(*rest.split_off_first()?);
            let numbers = (0..count).map(|_| u16::try_from(take(&mut rest)?).ok()).collect::<Option<Vec<_>>>();
            numbers.filter(|_| count <= most)
        };
        let mut choice = list(Self::SLOTS)?;
        choice.iter_mut().for_each(|one| *one = one.wrapping_sub(1));
        let features = list(Self::FEATURES)?;
        let mut new = |most: usize| -> Option<Vec<u32>> {
            let count = usize::from(*rest.split_off_first()?);
            let (told, []) = rest.split_off(..4 * count)?.as_chunks() else { return None };
            (count <= most).then(|| told.iter().map(|one| u32::from_le_bytes(*one)).collect())
        };
        let unnumbered = format == Self::UNNUMBERED;
        let new_components = if unnumbered { new(Self::SLOTS)? } else { Vec::new() };
        let new_features = if unnumbered { new(Self::FEATURES)? } else { Vec::new() };
        (rest.is_empty() && features.is_sorted_by(|a, b| a < b)).then_some(Self {
            arm,
            experiment,
            version,
            choice,
            features,
            new_components,
            new_features,
        })
    }
}

/// Appends a number, seven bits a byte, lowest first.
pub(in crate::domain) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number that [`put`] wrote; `None` where there is none.
pub(in crate::domain) fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let byte = *from.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_usual_one_is_small() {
        let usual = Exposure {
            arm: Arm::Personalised,
            experiment: 0,
            version: 40_000,
            choice: vec![3, Exposure::DEFAULT, 0, 7, 2],
            features: vec![0, 5, 17, 63],
            ..Exposure::default()
        };
        assert!(usual.pack().len() <= 16, "{}", usual.pack().len());
        let tested = Exposure { experiment: u32::MAX >> 4, ..usual };
        assert!(tested.pack().len() <= 20, "{}", tested.pack().len());
    }

    #[test]
    fn one_that_is_too_long_still_counts() {
        let arm = Arm::Control;
        let long = Exposure { arm, experiment: 7, new_components: vec![u32::MAX; 64], ..Exposure::default() };
        let packed = long.pack();
        assert!(packed.len() <= Exposure::LONGEST);
        assert_eq!(Exposure::unpack(&packed), Some(Exposure { new_components: vec![0], ..long }));
    }

    proptest! {
        #[test]
        fn what_is_packed_can_be_read(
            arm in 0..Arm::ALL.len(), experiment in any::<u32>(), version in 0..1_u64 << 60, choice in vec(any::<u16>(), 0..64),
            features in proptest::collection::btree_set(any::<u16>(), 0..16),
        ) {
            let features = features.into_iter().collect();
            let exposure = Exposure { arm: Arm::ALL[arm], experiment, version, choice, features, ..Exposure::default() };
            prop_assert_eq!(Exposure::unpack(&exposure.pack()), Some(exposure));
        }

        #[test]
        fn what_had_no_number_can_be_read(
            experiment in 0..3_u32, choice in vec(any::<u16>(), 0..6), new_components in vec(any::<u32>(), 0..20),
            new_features in vec(any::<u32>(), 0..16),
        ) {
            let exposure = Exposure { experiment, choice, new_components, new_features, ..Exposure::default() };
            prop_assert_eq!(Exposure::unpack(&exposure.pack()), Some(exposure));
        }

        #[test]
        fn rubbish_is_refused_without_harm(bytes in vec(any::<u8>(), 0..80)) {
            if let Some(read) = Exposure::unpack(&bytes) {
                prop_assert_eq!(Exposure::unpack(&read.pack()), Some(read));
            }
        }
    }
}
