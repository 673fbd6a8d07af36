//! Scenarios drawn from seeds.

use serde_json::{Map, Value, json};

/// A kind of scenario, and what is asked of the optimizer in it.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The most regret, as a share of chance's.
    pub(crate) most: f64,
    /// The most regret, as a share of that of slots by themselves, which is hard to beat in so few
    /// decisions where the best of each slot is nearly the best combination.
    pub(crate) rival: f64,
    decisions: usize,
    slots: usize,
    components: usize,
    features: usize,
    /// Features of a person, one of them for sure.
    each: usize,
    rate: f64,
    /// Standard deviations of mains, pairs, features for components, and combinations.
    spread: [f64; 4],
    change: Change,
    delayed: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    None,
    /// Half-way all effects are others.
    Swap,
    /// Half-way a component appears that is better than the rest of its slot.
    Launch,
}

const SMALL: Kind = Kind {
    name: "small",
    most: 0.5,
    rival: 1.1,
    decisions: 16_000,
    slots: 3,
    components: 4,
    features: 6,
    each: 1,
    rate: 0.08,
    spread: [0.3, 0.12, 0.3, 0.0],
    change: Change::None,
    delayed: false,
};

pub(crate) const KINDS: [Kind; 9] = [
    SMALL,
    Kind { name: "middle", most: 0.65, rival: 1.25, components: 8, features: 10, ..SMALL },
    Kind {
        name: "wide",
        most: 0.65,
        rival: 1.25,
        slots: 5,
        components: 6,
        features: 24,
        each: 4,
        spread: [0.2, 0.05, 0.15, 0.0],
        ..SMALL
    },
    Kind { name: "pairs", rival: 1.35, features: 0, spread: [0.2, 0.35, 0.0, 0.0], ..SMALL },
    Kind { name: "swap", rival: 1.4, decisions: 24_000, change: Change::Swap, ..SMALL },
    Kind { name: "launch", rival: 1.25, change: Change::Launch, ..SMALL },
    Kind { name: "low traffic", most: 0.7, decisions: 6_000, ..SMALL },
    Kind { name: "residual", spread: [0.3, 0.12, 0.3, 0.2], ..SMALL },
    Kind { name: "delayed", delayed: true, ..SMALL },
];

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self, deviation: f64) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.unit()).ln()).sqrt(), std::f64::consts::TAU * self.unit());
        deviation * radius * angle.cos()
    }

    fn table(&mut self, rows: usize, columns: usize, deviation: f64) -> Vec<Vec<f64>> {
        (0..rows).map(|_| (0..columns).map(|_| self.normal(deviation)).collect()).collect()
    }
}

impl Kind {
    /// A scenario of this kind, so many times as long as in its short form.
    pub(crate) fn scenario(&self, scale: usize, seed: u64) -> Value {
        let mut draw = Draw(self.name.bytes().fold(seed, |seed, byte| seed * 31 + u64::from(byte)));
        let names = |stem: &str, count: usize| (0..count).map(|n| format!("{stem}{n}")).collect::<Vec<_>>();
        let slots: Vec<Value> = (0..self.slots)
            .map(
                |slot| json!({"id": format!("slot{slot}"), "components": names(&format!("c{slot}-"), self.components)}),
            )
            .collect();
        let features = names("segment=s", self.features);
        let people: Vec<Value> = (0..(4 * self.features).clamp(1, 48))
            .map(|n| {
                let mut own: Vec<&String> = features.get(n % self.features.max(1)).into_iter().collect();
                own.extend((1..self.each).map(|_| &features[draw.next() as usize % self.features]));
                json!({"id": format!("u{n}"), "weight": 1.0 / (1.0 + n as f64), "features": own, "request": {}})
            })
            .collect();
        let decisions = self.decisions * scale;
        let mut phases = vec![self.phase(0, &features, &mut draw)];
        match self.change {
            Change::None => {}
            Change::Swap => phases.push(self.phase(decisions / 2, &features, &mut draw)),
            Change::Launch => {
                let row = phases[0]["main"][0].as_array_mut().expect("a row");
                let best = row.iter().filter_map(Value::as_f64).fold(f64::MIN, f64::max);
                row[self.components - 1] = json!(best + 0.4);
                let mut later = phases[0].clone();
                later["from"] = json!(decisions / 2);
                phases[0]["available"][0][self.components - 1] = json!(false);
                phases.push(later);
            }
        }
        let feedback = if self.delayed {
            json!({"kind": "exponential", "mean": decisions / 40, "window": decisions / 8})
        } else {
            json!({"kind": "fixed", "delay": 200})
        };
        json!({"format": "dco-bandit-heldout/1", "name": self.name, "T": decisions, "seed": 7, "step_ms": 3000, "slots": slots,
            "features": features, "population": people, "truth": {"link": "logit", "phases": phases}, "feedback": feedback})
    }

    fn phase(&self, from: usize, features: &[String], draw: &mut Draw) -> Value {
        let [mains, pairs, crosses, cells] = self.spread;
        let (d, n) = (self.slots, self.components);
        let main = draw.table(d, n, mains);
        let mut pair = Map::new();
        for first in 0..d {
            for second in first + 1..d {
                pair.insert(format!("{first}-{second}"), json!(draw.table(n, n, pairs)));
            }
        }
        let (mut bias, mut cross) = (Map::new(), Map::new());
        for feature in features {
            bias.insert(feature.clone(), json!(draw.normal(0.2)));
            let mut table = draw.table(d, n, crosses);
            table.iter_mut().flatten().for_each(|effect| *effect *= f64::from(u8::from(draw.unit() < 0.5)));
            cross.insert(feature.clone(), json!(table));
        }
        let cell = if cells > 0.0 { draw.table(1, n.pow(d as u32), cells).remove(0) } else { Vec::new() };
        json!({"from": from, "bias": (self.rate / (1.0 - self.rate)).ln(), "main": main, "pair": pair, "feature_bias": bias,
            "feature_component": cross, "cell": cell, "available": vec![vec![true; n]; d]})
    }
}
