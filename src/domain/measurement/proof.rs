//! That the intervals keep their promises, by simulation: the guarantees are about many experiments,
//! which no single example can show.

use crate::domain::measurement::{
    evaluate::{Basis, Evaluation, Evaluator, Logged, Weight},
    holdout::Excluded,
    lift::{Experiment, LiftState, Sums, lift},
    numbers::Random,
    rate::{Count, Z},
    slate::Design,
};

/// Simulated experiments, and simulated evaluations.
const RUNS: u32 = 200;
const EVALUATIONS: u32 = 120;
const PEOPLE_PER_LOOK: u32 = 1_000;
const LOOKS: u32 = 40;
const HOLDOUT: f64 = 0.2;

/// Somebody whose exposures are not over yet.
struct Person {
    control: bool,
    /// Probability of a click at each of their exposures: people differ, which is what correlates a
    /// person's exposures.
    rate: f64,
    left: u32,
    clicks: f64,
}

/// An experiment in which more people come at every look and those who came come back: 1 to 50
/// exposures each, at most ten between two looks.
struct World {
    random: Random,
    lift: f64,
    active: Vec<Person>,
    arms: [Sums; 2],
    impressions: [Count; 2],
}

impl World {
    fn new(seed: u64, lift: f64) -> Self {
        let (arms, impressions) = ([Sums::default(); 2], [Count::default(); 2]);
        Self { random: Random::new(seed << 20), lift, active: Vec::new(), arms, impressions }
    }

    /// Lets people come and act until the next look.
    fn advance(&mut self) {
        for _ in 0..PEOPLE_PER_LOOK {
            let control = self.random.unit() < HOLDOUT;
            // few people see much; a click rate of 2% on average that differs as much as its mean
            let left = (1.0 / (0.02 + 0.98 * self.random.unit())) as u32;
            let own = -0.02 * self.random.unit().ln();
            let rate = (if control { own } else { own * (1.0 + self.lift) }).min(1.0);
            self.arms[usize::from(control)].enter();
            self.active.push(Person { control, rate, left, clicks: 0.0 });
        }
        for person in &mut self.active {
            let now = person.left.min(10);
            person.left -= now;
            let clicks = (0..now).filter(|_| self.random.unit() < person.rate).count() as u32;
            let arm = usize::from(person.control);
            self.impressions[arm] += Count { trials: now.into(), successes: clicks.into() };
            self.arms[arm].add(person.clicks, clicks.into()).expect("an amount");
            person.clicks += f64::from(clicks);
        }
        self.active.retain(|person| person.left > 0);
    }

    fn report(&self) -> LiftState {
        let [personalised, control] = self.arms;
        lift(&Experiment { personalised, control, holdout: HOLDOUT, excluded: Excluded::default(), crossed_over: 0 })
            .result
    }

    /// Whether a test of two proportions that knows nothing of people or of looking often would call
    /// the arms different.
    fn naive(&self) -> bool {
        let [one, two] = self.impressions.map(|arm| (arm.trials as f64, arm.successes as f64));
        let (n, share) = (one.0 + two.0, (one.1 + two.1) / (one.0 + two.0));
        let error = (share * (1.0 - share) * n / (one.0 * two.0)).sqrt();
        (one.1 / one.0 - two.1 / two.0).abs() > Z * error
    }
}

#[test]
fn looking_often_at_nothing_finds_nothing() {
    let (mut alarms, mut naive, mut estimates) = (0, 0, 0);
    for run in 0..RUNS {
        let (mut world, mut alarm, mut fooled) = (World::new(run.into(), 0.0), false, false);
        for _ in 0..LOOKS {
            world.advance();
            fooled |= world.naive();
            if let LiftState::Estimated { significant, .. } = world.report() {
                alarm |= significant;
                estimates += 1;
            }
        }
        alarms += u32::from(alarm);
        naive += u32::from(fooled);
    }
    println!("false alarms of {RUNS}: always-valid {alarms}, naive {naive}");
    assert!(estimates > RUNS * LOOKS / 2, "{estimates}");
    assert!(alarms * 20 <= RUNS, "{alarms} of {RUNS}");
    assert!(naive * 4 > RUNS, "{naive} of {RUNS}");
}

#[test]
fn the_lift_lies_within_its_interval_at_every_look() {
    let (mut covered, mut found) = (0, 0);
    for run in 0..RUNS {
        let (mut world, mut held) = (World::new((1_000 + run).into(), 0.3), true);
        for _ in 0..LOOKS {
            world.advance();
            if let LiftState::Estimated { low, high, .. } = world.report() {
                held &= low <= 0.3 && high.is_none_or(|high| 0.3 <= high);
            }
        }
        covered += u32::from(held);
        found += u32::from(matches!(world.report(), LiftState::Estimated { significant: true, .. }));
    }
    println!("intervals of {RUNS} that held at all looks: {covered}; lifts found: {found}");
    assert!(covered * 20 >= RUNS * 19, "{covered} of {RUNS}");
    assert!(found * 2 > RUNS, "{found} of {RUNS}: an interval that is never short is no use");
}

/// A rotation that mostly shows one of a few combinations that it takes for the best, as an ensemble
/// does, and any combination with 3%.
struct Rotation {
    sizes: Vec<u16>,
    members: Vec<Vec<u16>>,
    /// What each component adds to the click rate.
    effects: Vec<Vec<f64>>,
}

const FLOOR: f64 = 0.03;
const ROWS: u32 = 20_000;

impl Rotation {
    fn new(seed: u64, slots: usize, size: u16, members: usize) -> Self {
        let mut random = Random::new(seed);
        let choice = |random: &mut Random| (0..slots).map(|_| (random.next() % u64::from(size)) as u16).collect();
        let members = (0..members).map(|_| choice(&mut random)).collect();
        let slot = |random: &mut Random| (0..size).map(|_| 0.08 * random.unit() / slots as f64).collect();
        let effects = (0..slots).map(|_| slot(&mut random)).collect();
        Self { sizes: vec![size; slots], members, effects }
    }

    fn even(&self) -> Vec<Vec<f64>> {
        self.sizes.iter().map(|&size| vec![1.0 / f64::from(size); size.into()]).collect()
    }

    /// What a target that draws slots independently earns per decision.
    fn worth(&self, target: &[Vec<f64>]) -> f64 {
        let slot = |(shares, effects): (&Vec<f64>, &Vec<f64>)| -> f64 {
            shares.iter().zip(effects).map(|(share, effect)| share * effect).sum()
        };
        target.iter().zip(&self.effects).map(slot).sum()
    }

    fn decide(&self, random: &mut Random) -> (Vec<u16>, f64) {
        let choice = if random.unit() < FLOOR {
            self.sizes.iter().map(|&size| (random.next() % u64::from(size)) as u16).collect()
        } else {
            self.members[(random.next() % self.members.len() as u64) as usize].clone()
        };
        let rate: f64 = choice.iter().zip(&self.effects).map(|(&at, effects)| effects[usize::from(at)]).sum();
        (choice, f64::from(u8::from(random.unit() < rate)))
    }

    fn propensity(&self, choice: &[u16]) -> f64 {
        let times = self.members.iter().filter(|member| *member == choice).count() as f64;
        let combinations: f64 = self.sizes.iter().map(|&size| f64::from(size)).product();
        FLOOR / combinations + (1.0 - FLOOR) * times / self.members.len() as f64
    }

    fn design(&self) -> Design {
        let sizes: Vec<usize> = self.sizes.iter().map(|&size| size.into()).collect();
        let mut design = Design::new(&sizes).expect("a design");
        design.mix_independent(FLOOR, &self.even()).expect("a mixture");
        for member in &self.members {
            design.mix_choice((1.0 - FLOOR) / self.members.len() as f64, member).expect("a choice");
        }
        design
    }
}

/// In how many of the runs the interval contains what the target earns.
fn covered(rotation: &Rotation, target: &[Vec<f64>], basis: Basis) -> u32 {
    let worth = rotation.worth(target);
    let weights = rotation.design().weights(target).expect("weights");
    let run = |seed: u64| -> Evaluation {
        let mut random = Random::new(seed << 32);
        let mut evaluator = Evaluator::new(basis);
        for _ in 0..ROWS {
            let (choice, reward) = rotation.decide(&mut random);
            let shares = choice.iter().zip(target).map(|(&at, slot)| slot[usize::from(at)]);
            let weight = match basis {
                Basis::Combinations => {
                    Weight::Joint { propensity: rotation.propensity(&choice), target: shares.product() }
                }
                Basis::AssumingTheAdditiveModel => Weight::Slots { weights: &weights, choice: &choice },
            };
            evaluator.push(&Logged { person: None, weight, reward }).expect("a row");
        }
        evaluator.finish().expect("an answer")
    };
    let found: Vec<Evaluation> = (0..u64::from(EVALUATIONS)).map(run).collect();
    let held = found.iter().filter(|one| one.interval.low <= worth && worth <= one.interval.high).count() as u32;
    let mean = |of: fn(&Evaluation) -> f64| found.iter().map(of).sum::<f64>() / f64::from(EVALUATIONS);
    println!(
        "{basis:?}: {held} of {EVALUATIONS} intervals hold {worth:.4}; mean estimate {:.4}, half-width {:.4}, effective {:.0}, \
         largest weight {:.0}",
        mean(|one| one.value),
        mean(|one| 0.5 * (one.interval.high - one.interval.low)),
        mean(|one| one.effective_sample_size),
        mean(|one| one.largest_weight),
    );
    let bias = mean(|one| one.value) / worth - 1.0;
    assert!(bias.abs() < 0.05, "{bias}");
    held
}

#[test]
fn evaluation_covers_with_64_combinations() {
    let rotation = Rotation::new(1, 3, 4, 12);
    let held = covered(&rotation, &rotation.even(), Basis::of(64));
    assert!(held * 100 >= EVALUATIONS * 92, "{held} of {EVALUATIONS}");
}

#[test]
fn evaluation_covers_with_8_to_the_5_combinations() {
    let rotation = Rotation::new(2, 5, 8, 64);
    let held = covered(&rotation, &rotation.even(), Basis::of(8_u64.pow(5)));
    assert!(held * 100 >= EVALUATIONS * 92, "{held} of {EVALUATIONS}");
    // half of it the best of each slot: by whole combinations a weight would be a thousand and more
    let mut best = rotation.even();
    for (slot, effects) in best.iter_mut().zip(&rotation.effects) {
        let top = (0..effects.len()).max_by(|&a, &b| effects[a].total_cmp(&effects[b])).expect("a component");
        slot.iter_mut().enumerate().for_each(|(at, share)| *share = 0.5 * (*share + f64::from(u8::from(at == top))));
    }
    let held = covered(&rotation, &best, Basis::of(8_u64.pow(5)));
    assert!(held * 100 >= EVALUATIONS * 92, "{held} of {EVALUATIONS}");
}
