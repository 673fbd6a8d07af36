//! Weights for combinations too many to be weighed one by one, under the additive model.
//!
//! If a reward is on average a sum over the slots' components, logged rewards need only be weighed by
//! what was shown in each slot: the pseudo-inverse estimator of Swaminathan et al. ("Off-policy
//! evaluation for slate recommendation", NeurIPS 2017). It needs the probability with which the
//! logging policy shows each component and each pair of components, whatever the dependence between
//! slots; weighing each slot by itself would be wrong as soon as slots depend on each other.

/// The most components of all slots together.
pub const MOST_COMPONENTS: usize = 512;
/// How far a probability may come out wrong before the target counts as not covered.
const TOLERANCE: f64 = 1e-4;
/// Added to the diagonal, so that the matrix has an inverse: far below any floor of exploration.
const RIDGE: f64 = 1e-10;

/// Why a target cannot be weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlateError {
    /// A slot, a component or a number of them that the design does not have.
    #[error("the choice or the probabilities do not fit the slots")]
    Shape,
    /// A probability that is none, or probabilities of a slot that do not sum to 1.
    #[error("the probabilities of each slot must be 0 to 1 and sum to 1")]
    Probability,
    /// The target shows what the logging policy never did.
    #[error("the logging policy never showed what the target shows")]
    NotCovered,
}

/// With which probabilities the logging policy shows components and pairs of them, for one context:
/// a mixture, as the policy itself is one. The log needs to keep one per snapshot and set of
/// features, not one per row.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Position of each slot's first component, and at the end how many there are.
    starts: Vec<usize>,
    /// Probability that both components are shown, in rows; on the diagonal that one is.
    pairs: Vec<f64>,
}

impl Design {
    /// An empty mixture over slots with so many components each.
    ///
    /// # Errors
    /// No slot, a slot without components, or more than [`MOST_COMPONENTS`].
    pub fn new(sizes: &[usize]) -> Result<Self, SlateError> {
        let mut starts = vec![0];
        for &size in sizes {
            let end = starts[starts.len() - 1] + size.min(MOST_COMPONENTS + 1);
            if size == 0 || end > MOST_COMPONENTS {
                return Err(SlateError::Shape);
            }
            starts.push(end);
        }
        let count = starts[starts.len() - 1];
        if count == 0 {
            return Err(SlateError::Shape);
        }
        Ok(Self { pairs: vec![0.0; count * count], starts })
    }

    /// Mixes in one combination, shown with this probability: what a member of an ensemble prefers.
    ///
    /// # Errors
    /// A choice of other slots, or a weight that is no probability.
    pub fn mix_choice(&mut self, weight: f64, choice: &[u16]) -> Result<(), SlateError> {
        let shown = self.positions(choice)?;
        check(weight)?;
        let count = self.count();
        for &one in &shown {
            for &other in &shown {
                self.pairs[one * count + other] += weight;
            }
        }
        Ok(())
    }

    /// Mixes in slots that are drawn independently, each from its own probabilities: even exploration
    /// where every combination is legal.
    ///
    /// # Errors
    /// Probabilities of other slots, or that are none.
    pub fn mix_independent(&mut self, weight: f64, slots: &[Vec<f64>]) -> Result<(), SlateError> {
        self.flat(slots)?;
        self.mix_pairs(weight, |(slot, one), (other_slot, other)| {
            let (first, second) = (slots[slot][one], slots[other_slot][other]);
            match (slot == other_slot, one == other) {
                (true, true) => first,
                (true, false) => 0.0,
                (false, _) => first * second,
            }
        })
    }

    /// Mixes in any distribution by its probability that two components, each a slot and a position
    /// in it, are shown together; for the same component that it is shown: even exploration under
    /// pairing rules.
    ///
    /// # Errors
    /// A weight or a value that is no probability; nothing was mixed in.
    pub fn mix_pairs(
        &mut self,
        weight: f64,
        together: impl Fn((usize, usize), (usize, usize)) -> f64,
    ) -> Result<(), SlateError> {
        check(weight)?;
        let starts = &self.starts;
        let sizes = starts.windows(2).map(|ends| ends[1] - ends[0]).enumerate();
        let all: Vec<(usize, usize)> = sizes.flat_map(|(slot, size)| (0..size).map(move |at| (slot, at))).collect();
        let added: Vec<f64> = all.iter().flat_map(|one| all.iter().map(|other| together(*one, *other))).collect();
        added.iter().try_for_each(|&value| check(value))?;
        self.pairs.iter_mut().zip(added).for_each(|(pair, value)| *pair += weight * value);
        Ok(())
    }

    /// The weights of a target that shows components with these probabilities, slot by slot.
    ///
    /// # Errors
    /// Probabilities that do not fit, a mixture whose weights do not sum to 1, or a target that the
    /// logging policy does not cover.
    pub fn weights(&self, target: &[Vec<f64>]) -> Result<SlotWeights, SlateError> {
        let target = self.flat(target)?;
        let count = self.count();
        let shown: f64 = (0..self.starts[1]).map(|at| self.pairs[at * count + at]).sum();
        if (shown - 1.0).abs() > TOLERANCE {
            return Err(SlateError::Probability);
        }
        let solved = solve(&self.pairs, &target);
        let wrong = self.pairs.chunks(count).zip(&target).any(|(row, expected)| {
            let got: f64 = row.iter().zip(&solved).map(|(pair, weight)| pair * weight).sum();
            got.is_nan() || (got - expected).abs() > TOLERANCE
        });
        if wrong {
            return Err(SlateError::NotCovered);
        }
        Ok(SlotWeights { starts: self.starts.clone(), solved })
    }

    /// Per slot the probability with which each component is shown.
    #[must_use]
    pub fn shown(&self) -> Vec<Vec<f64>> {
        let count = self.count();
        let slot = |ends: &[usize]| (ends[0]..ends[1]).map(|at| self.pairs[at * count + at]).collect();
        self.starts.windows(2).map(slot).collect()
    }

    fn count(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn positions(&self, choice: &[u16]) -> Result<Vec<usize>, SlateError> {
        positions(&self.starts, choice)
    }

    fn flat(&self, slots: &[Vec<f64>]) -> Result<Vec<f64>, SlateError> {
        let sizes = self.starts.windows(2).map(|ends| ends[1] - ends[0]);
        if !sizes.eq(slots.iter().map(Vec::len)) {
            return Err(SlateError::Shape);
        }
        for slot in slots {
            slot.iter().try_for_each(|&value| check(value))?;
            check_sum(slot.iter().sum())?;
        }
        Ok(slots.concat())
    }
}

fn check(probability: f64) -> Result<(), SlateError> {
    if (0.0..=1.0 + 1e-9).contains(&probability) { Ok(()) } else { Err(SlateError::Probability) }
}

fn check_sum(sum: f64) -> Result<(), SlateError> {
    if (sum - 1.0).abs() <= TOLERANCE { Ok(()) } else { Err(SlateError::Probability) }
}

fn positions(starts: &[usize], choice: &[u16]) -> Result<Vec<usize>, SlateError> {
    if choice.len() + 1 != starts.len() {
        return Err(SlateError::Shape);
    }
    let position = |(ends, &at): (&[usize], &u16)| Some(ends[0] + usize::from(at)).filter(|at| *at < ends[1]);
    starts.windows(2).zip(choice).map(position).collect::<Option<_>>().ok_or(SlateError::Shape)
}

/// Solves for a positive semi-definite matrix by Cholesky's method.
fn solve(matrix: &[f64], right: &[f64]) -> Vec<f64> {
    let count = right.len();
    let mut lower = vec![0.0; count * count];
    for row in 0..count {
        for column in 0..=row {
            let ahead = (0..column).map(|k| lower[row * count + k] * lower[column * count + k]).sum::<f64>();
            let left = matrix[row * count + column] - ahead;
            lower[row * count + column] = if row == column {
                // what rounding leaves of a direction that is determined already
                (left + RIDGE).max(0.5 * RIDGE).sqrt()
            } else {
                left / lower[column * count + column]
            };
        }
    }
    let mut solved = right.to_vec();
    for row in 0..count {
        let ahead: f64 = (0..row).map(|k| lower[row * count + k] * solved[k]).sum();
        solved[row] = (solved[row] - ahead) / lower[row * count + row];
    }
    for row in (0..count).rev() {
        let ahead: f64 = (row + 1..count).map(|k| lower[k * count + row] * solved[k]).sum();
        solved[row] = (solved[row] - ahead) / lower[row * count + row];
    }
    solved
}

/// What each component counts in the weight of a logged choice, for one context and target.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotWeights {
    starts: Vec<usize>,
    solved: Vec<f64>,
}

impl SlotWeights {
    /// The weight of a logged choice. It may be negative; its expectation under the logging policy is 1.
    ///
    /// # Errors
    /// A choice of other slots.
    pub fn of(&self, choice: &[u16]) -> Result<f64, SlateError> {
        Ok(positions(&self.starts, choice)?.into_iter().map(|at| self.solved[at]).sum())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn even(sizes: &[usize]) -> Vec<Vec<f64>> {
        sizes.iter().map(|&size| vec![1.0 / size as f64; size]).collect()
    }

    #[test]
    fn one_slot_is_plain_inverse_propensity() {
        let mut design = Design::new(&[3]).expect("a design");
        design.mix_independent(1.0, &[vec![0.7, 0.2, 0.1]]).expect("a mixture");
        let weights = design.weights(&[vec![0.0, 0.5, 0.5]]).expect("weights");
        for (choice, expected) in [(0, 0.0), (1, 2.5), (2, 5.0)] {
            assert!((weights.of(&[choice]).expect("a choice") - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn what_was_never_shown_is_refused() {
        let mut design = Design::new(&[2, 2]).expect("a design");
        design.mix_choice(0.5, &[0, 0]).expect("a choice");
        assert_eq!(design.weights(&even(&[2, 2])), Err(SlateError::Probability), "half of the mixture is missing");
        design.mix_choice(0.5, &[0, 1]).expect("a choice");
        assert_eq!(design.weights(&even(&[2, 2])), Err(SlateError::NotCovered));
        assert!(design.weights(&[vec![1.0, 0.0], vec![0.5, 0.5]]).is_ok());
        assert_eq!(design.mix_choice(0.1, &[0, 2]), Err(SlateError::Shape));
        assert_eq!(design.mix_choice(f64::NAN, &[0, 1]), Err(SlateError::Probability));
        assert_eq!(design.weights(&[vec![1.0, 0.5], vec![0.5, 0.5]]), Err(SlateError::Probability));
        assert_eq!(Design::new(&[]), Err(SlateError::Shape));
        assert_eq!(Design::new(&[600]), Err(SlateError::Shape));
        assert_eq!(Design::new(&[2, 0]), Err(SlateError::Shape));
    }

    proptest! {
        /// The whole expectation, by going through every combination: dependent slots and all.
        #[test]
        fn weighted_rewards_are_the_targets(
            members in prop::collection::vec((0_u16..3, 0_u16..2, 0_u16..4), 1..6),
            effects in prop::collection::vec(0.0_f64..1.0, 9), favourite in 0_usize..4,
        ) {
            let sizes = [3, 2, 4];
            let (mut design, each) = (Design::new(&sizes).expect("a design"), 0.95 / members.len() as f64);
            design.mix_independent(0.05, &even(&sizes)).expect("a mixture");
            for &(a, b, c) in &members {
                design.mix_choice(each, &[a, b, c]).expect("a choice");
            }
            let mut last = vec![0.1; 4];
            last[favourite] = 0.7;
            let target = [vec![0.5, 0.25, 0.25], vec![0.0, 1.0], last];
            let weights = design.weights(&target).expect("weights");
            let (mut total, mut mean) = (0.0, 0.0);
            for (a, b, c) in (0..24_u16).map(|at| (at / 8, at / 4 % 2, at % 4)) {
                let times = members.iter().filter(|member| **member == (a, b, c)).count() as f64;
                let propensity = 0.05 / 24.0 + each * times;
                let weight = weights.of(&[a, b, c]).expect("a choice");
                let reward = effects[usize::from(a)] + effects[usize::from(3 + b)] + effects[usize::from(5 + c)];
                total += propensity * weight;
                mean += propensity * weight * reward;
            }
            let flat = target.concat();
            let expected: f64 = flat.iter().zip(&effects).map(|(share, effect)| share * effect).sum();
            prop_assert!((total - 1.0).abs() < 1e-3 && (mean - expected).abs() < 2e-3, "{} {} {}", total, mean, expected);
        }
    }
}
