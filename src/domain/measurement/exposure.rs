//! What was shown to whom, as learning and reports count it: travels in tokens and waits with
//! outcomes.

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

    /// As few bytes as tokens have room for.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let format = if self.experiment == 0 { Self::FORMAT } else { Self::IN_EXPERIMENT };
        let mut out = vec![format << 4 | self.arm.number()];
        if self.experiment != 0 {
            put(&mut out, self.experiment.into());
        }
        put(&mut out, self.version);
        out.push(self.choice.len().min(Self::SLOTS) as u8);
        // the default is by far the commonest: 0
        self.choice.iter().take(Self::SLOTS).for_each(|one| put(&mut out, u64::from(one.wrapping_add(1))));
        out.push(self.features.len().min(Self::FEATURES) as u8);
        self.features.iter().take(Self::FEATURES).for_each(|one| put(&mut out, u64::from(*one)));
        out
    }

    /// What was packed; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let (&head, mut rest) = packed.split_first()?;
        let arm = *Arm::ALL.get(usize::from(head & 0xf))?;
        let experiment = match head >> 4 {
            Self::FORMAT => 0,
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
        (rest.is_empty() && features.is_sorted_by(|a, b| a < b)).then_some(Self {
            arm,
            experiment,
            version,
            choice,
            features,
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
        };
        assert!(usual.pack().len() <= 16, "{}", usual.pack().len());
        let tested = Exposure { experiment: u32::MAX >> 4, ..usual };
        assert!(tested.pack().len() <= 20, "{}", tested.pack().len());
    }

    proptest! {
        #[test]
        fn what_is_packed_can_be_read(
            arm in 0..Arm::ALL.len(), experiment in any::<u32>(), version in 0..1_u64 << 60, choice in vec(any::<u16>(), 0..64),
            features in proptest::collection::btree_set(any::<u16>(), 0..16),
        ) {
            let features = features.into_iter().collect();
            let exposure = Exposure { arm: Arm::ALL[arm], experiment, version, choice, features };
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
