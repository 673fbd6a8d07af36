//! How the policies fared, for people and for programs.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{
    alarms::Alarms,
    run::{Contender, Outcome, POINTS, Stage},
    scenario::Scenario,
};
use crate::domain::optimizer::Settings;

/// The outcomes of a scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Runs of each policy.
    pub seeds: u64,
    /// In the order of [`Contender::ALL`].
    pub outcomes: Vec<Outcome>,
    /// False alarms, where all combinations are alike.
    pub alarms: Option<Alarms>,
}

/// Rows of the plot.
const ROWS: usize = 12;
/// Marks of the policies in the plot.
const MARKS: [char; 5] = ['T', 'u', 'a', 's', 'e'];

impl Report {
    /// Runs every policy through a scenario, `seeds` times each.
    #[must_use]
    pub fn of(scenario: &Scenario, seeds: u64) -> Self {
        let (stage, settings) = (Stage::new(scenario), Settings::default());
        let outcomes = Contender::ALL.iter().map(|one| stage.run(*one, &settings, seeds)).collect();
        Self { scenario: scenario.name.clone(), seeds, outcomes, alarms: Alarms::of(&stage, seeds) }
    }

    /// One object with a member for each policy, and `false_alarms` where all combinations are alike.
    #[must_use]
    pub fn json(&self) -> Value {
        let all = Contender::ALL.iter().zip(&self.outcomes);
        let members = all.map(|(one, outcome)| (one.name().to_owned(), json!(outcome)));
        let alarms = self.alarms.map(|alarms| ("false_alarms".to_owned(), json!(alarms)));
        Value::Object(members.chain(alarms).collect::<Map<_, _>>())
    }
}

/// A table, and regret over time as a plot.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decisions = self.outcomes.first().map_or(0, |outcome| outcome.decisions);
        writeln!(f, "{}: {decisions} decisions, mean of {} runs", self.scenario, self.seeds)?;
        writeln!(f, "regret as a share of an even choice's (0 is perfect, 1 is chance)\n")?;
        writeln!(f, "  {:<12} {:>8} {:>12} {:>12}", "", "all", "first tenth", "last tenth")?;
        for ((one, outcome), mark) in Contender::ALL.iter().zip(&self.outcomes).zip(MARKS) {
            let (all, first, last) = (outcome.norm, outcome.norm_t10, outcome.end_norm);
            writeln!(f, "{mark} {:<12} {all:>8.3} {first:>12.3} {last:>12.3}", one.name())?;
        }
        if let Some(Alarms { runs, every, always_valid, naive }) = self.alarms {
            writeln!(
                f,
                "\nall combinations are alike: a lift over a tenth held out, looked at every {every} decisions,"
            )?;
            writeln!(
                f,
                "is called significant in {always_valid} of {runs} runs, by intervals for one look in {naive}"
            )?;
        }
        writeln!(f)?;
        let top = self.outcomes.iter().flat_map(|outcome| &outcome.curve).fold(1.0_f64, |top, value| top.max(*value));
        let mut plot = vec![vec![' '; POINTS]; ROWS + 1];
        // the first policy is drawn last, over the others
        for (outcome, mark) in self.outcomes.iter().zip(MARKS).rev() {
            for (point, value) in outcome.curve.iter().enumerate() {
                let row = ((1.0 - value.max(0.0) / top) * ROWS as f64).round() as usize;
                plot[row.min(ROWS)][point] = mark;
            }
        }
        for (row, line) in plot.iter().enumerate() {
            let value = top * (1.0 - row as f64 / ROWS as f64);
            writeln!(f, "{value:>6.2} |{}", line.iter().collect::<String>().trim_end())?;
        }
        writeln!(f, "       +{}", "-".repeat(POINTS))?;
        write!(f, "        0{:>width$}", decisions, width = POINTS - 1)
    }
}
