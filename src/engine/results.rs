//! What campaigns achieved: reports over what was counted, the lift of personalisation, and what
//! another rotation would have earned.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use super::{learning::Learning, world::Account};
use crate::{
    domain::{
        catalog::document::GoalDoc,
        decision::learned::Feature,
        ids::{CampaignId, ComponentId, CreativeId, NameHash, SlotName},
        measurement::{
            attribution::Unattributed,
            cells::{Cell, CellKey, Counts, Goal, Measure, Subject as Of},
            exposure::Arm,
            holdout::Plan,
            lift::{Experiment, LiftReport, Sums, lift},
            rate::Rate,
            report::{Arms, By, ReportRow, report},
            traffic::InvalidTally,
        },
        optimizer::Shape,
        values::Millis,
    },
    ports::{Clock, CombinationCell, FeatureCell, LearningStore, Measured, Sides, StoreError},
};

/// What is asked of a campaign's results.
#[derive(Debug, Clone)]
pub struct Question {
    /// What there is a row for.
    pub by: By,
    /// Whose outcomes rows sum; none: those that [`By::arms`] says.
    pub arms: Option<Arms>,
    /// First UTC day of the decisions, since 1970-01-01; none: as far back as anything is kept.
    pub from: Option<i64>,
    /// Last day; none: today.
    pub to: Option<i64>,
    /// People that are expected in the experiment, to say what it could find; none: as many as
    /// there are.
    pub people: Option<u64>,
    /// What a person of the control is expected to give, above 0; none: what people gave.
    pub per_person: Option<f64>,
    /// The share of people in the control, within (0, 1); none: the campaign's.
    pub holdout: Option<f64>,
}

/// What a campaign achieved.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CampaignReport {
    /// The campaign.
    pub campaign: CampaignId,
    /// When the report was made; what was committed some seconds before is in it.
    pub at: Millis,
    /// What an impression succeeds by.
    pub goal: Goal,
    /// What there is a row for.
    pub by: By,
    /// Whose outcomes rows sum.
    pub arm: Arms,
    /// Everything that was counted in these days, in all arms.
    pub totals: Counts,
    /// Beacons of these days that no person caused, and repeats of others; none of them is in the counts.
    pub invalid_traffic: InvalidTally,
    /// Conversions of these days that are not the campaign's own, and why; none of them is in the counts.
    pub unattributed: Unattributed,
    /// The rate of success over all that, as it was seen.
    pub rate: Option<Rate>,
    /// One row for each.
    pub rows: Vec<ReportRow>,
    /// What combinations are made of, where rows are about them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub combinations: BTreeMap<String, Combination>,
    /// What personalisation adds to the control creative, of all days with this holdout and control; none
    /// without a holdout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift: Option<LiftReport>,
    /// The smallest lift that the experiment finds four times of five, of that many people; none without a
    /// holdout of the campaign or of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Detectable>,
}

/// What a combination is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Combination {
    /// The creative.
    pub creative: CreativeId,
    /// Its revision.
    pub revision: u32,
    /// The component in each slot; none for the slot's own default.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub components: BTreeMap<SlotName, Option<ComponentId>>,
}

/// What an experiment can find.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Detectable {
    /// Of so many people in both arms.
    pub people: u64,
    /// This share of whom is in the control.
    pub holdout: f64,
    /// Where each of them there is taken to give so many clicks, conversions or units of value: what was asked, else
    /// what people of the campaign gave, else 0.02 (of value: as many usual conversions).
    pub assumed_per_person: f64,
    /// The smallest relative lift that is found with a chance of 80%: 0.1 is a tenth more.
    pub minimum_detectable_lift: f64,
}

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// There is no such campaign.
    #[error("there is no campaign {0}")]
    NoCampaign(CampaignId),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Answers what campaigns achieved.
#[derive(Clone)]
pub struct Results {
    pub(super) store: Arc<dyn LearningStore>,
    pub(super) learning: Learning,
    pub(super) clock: Arc<dyn Clock>,
}

/// Clicks or conversions expected of a person about whom nothing is known.
const USUAL_RATE: f64 = 0.02;

impl Results {
    /// Results from what is counted.
    #[must_use]
    pub fn new(store: Arc<dyn LearningStore>, learning: Learning, clock: Arc<dyn Clock>) -> Self {
        Self { store, learning, clock }
    }

    /// Reports on a campaign.
    ///
    /// # Errors
    /// See [`ResultsError`].
    pub async fn campaign(
        &self,
        account: &Account,
        id: &CampaignId,
        question: &Question,
    ) -> Result<CampaignReport, ResultsError> {
        let line = account.snapshot.line(id).map(|at| &account.snapshot.lines[at].campaign);
        let at = self.clock.now();
        let days = days(question.from, question.to);
        let goal = match line.map(|campaign| &campaign.goal) {
            Some(GoalDoc::Conversion(_)) => Goal::Conversion,
            Some(GoalDoc::Value(_)) => Goal::Value,
            Some(GoalDoc::Click) | None => Goal::Click,
        };
        let counted = self.store.combinations(account.number(), id.clone(), days).await?;
        let features = match question.by {
            By::Placement | By::Device | By::Segment | By::SegmentComponent => {
                Some(self.store.features(account.number(), id.clone(), days).await?)
            }
            _ => None,
        };
        // asked for last: they have the numbers of all that was counted
        let shapes = self.shapes(account.number(), id).await?;
        if line.is_none() && shapes.is_empty() {
            return Err(ResultsError::NoCampaign(id.clone()));
        }
        let unattributed = self.store.unattributed(account.number(), id.clone(), days).await?;
        let mut totals = Counts::default();
        counted.iter().for_each(|(_, cell)| totals += cell.counts);
        let measured = match goal {
            Goal::Click => Measured::Clicks,
            Goal::Conversion => Measured::Conversions,
            Goal::Value => Measured::Value,
        };
        let measure = Measure::new(goal, &totals);
        let repeated = self.store.repeated(account.number(), id.clone(), days).await?;
        let invalid_traffic = InvalidTally { replay: Some(repeated.values().sum()), ..totals.invalid };
        let (holdout, experiment) = line.map_or((0.0, 0), |campaign| (campaign.holdout, campaign.experiment));
        let Sides { personalised, control, ever, crossed_over, excluded } =
            self.store.sides(account.number(), id.clone(), experiment, measured).await?;
        let experiment = Experiment { personalised, control, holdout, excluded, crossed_over };
        let lift = (holdout > 0.0).then(|| lift(&experiment));
        let plan = detectable(&experiment, &ever, line.map(|campaign| &campaign.goal), question);
        // rows are of all days, and a new experiment has nobody yet to tell how people differ
        let dispersion = ever.dispersion_in(measure.piece());
        let mut cells = match features {
            Some(features) => {
                let mut cells = featured(&features, &shapes, question.by);
                if matches!(question.by, By::Placement | By::Device) {
                    let rest = rest(&counted, &cells);
                    cells.extend(rest);
                }
                cells
            }
            None => combined(&counted, &shapes),
        };
        let arm = question.arms.unwrap_or(question.by.arms());
        cells.retain(|cell| arm.takes(cell.key.arm));
        if question.by == By::Day && arm == Arms::All {
            cells.extend(replays(&counted, &repeated));
        }
        let rows = report(&cells, question.by, goal, dispersion, NameHash::of(id.as_str()).0);
        let combinations = if question.by == By::Combination { parts(&counted, &shapes) } else { BTreeMap::default() };
        Ok(CampaignReport {
            campaign: id.clone(),
            at,
            goal,
            by: question.by,
            arm,
            rate: measure.rate(&totals, dispersion),
            totals,
            invalid_traffic,
            unattributed,
            rows,
            combinations,
            lift,
            plan,
        })
    }
}

impl Results {
    /// What has which number of each creative of a campaign; of those of a newer version nothing is known.
    async fn shapes(&self, account: u32, id: &CampaignId) -> Result<BTreeMap<CreativeId, Shape>, StoreError> {
        let read = |shape: Value| serde_json::from_value(shape).ok().filter(|shape: &Shape| shape.check().is_ok());
        let shapes = self.store.shapes(account, id.clone()).await?;
        Ok(shapes.into_iter().filter_map(|(creative, shape)| Some((creative, read(shape)?))).collect())
    }
}

fn detectable(experiment: &Experiment, ever: &Sums, goal: Option<&GoalDoc>, question: &Question) -> Option<Detectable> {
    let Experiment { personalised, control, .. } = experiment;
    let holdout = question.holdout.unwrap_or(experiment.holdout);
    let people = question.people.unwrap_or(personalised.people + control.people).max(1);
    // what one conversion is worth, so that value counts as so many
    let piece = if let Some(GoalDoc::Value(value)) = goal { value.usual.amount.micros() as f64 / 1e6 } else { 1.0 };
    let measured = [control, personalised, ever]
        .into_iter()
        .find_map(|sums| sums.mean().filter(|mean| *mean > 0.0).map(|mean| (mean, sums.dispersion_in(piece))));
    let (per_person, dispersion) = measured.unwrap_or((USUAL_RATE * piece, 1.0));
    let assumed_per_person = question.per_person.unwrap_or(per_person);
    let plan = Plan { per_person: assumed_per_person / piece, dispersion, holdout, people };
    let minimum_detectable_lift = plan.minimum_detectable_lift().ok()?;
    Some(Detectable { people, holdout, assumed_per_person, minimum_detectable_lift })
}

/// Beacons that came again, for every day of which something is known.
fn replays(counted: &[(CreativeId, CombinationCell)], repeated: &BTreeMap<i32, u64>) -> Vec<Cell> {
    let mut days: BTreeMap<i32, u64> = counted.iter().map(|(_, cell)| (cell.day, 0)).collect();
    days.extend(repeated);
    let cell = |(at, replay)| {
        let (device, subject) = ("".into(), Of::Combination { combination: 0 });
        let key = CellKey { day: day(at), placement: None, device, arm: Arm::default(), subject };
        let invalid = InvalidTally { replay: Some(replay), ..InvalidTally::default() };
        Cell { key, counts: Counts { invalid, ..Counts::default() } }
    };
    days.into_iter().map(cell).collect()
}

/// From the first of some UTC days to before the one after the last; left out: as far as there are any.
pub(super) fn days(from: Option<i64>, to: Option<i64>) -> (i32, i32) {
    let day = |day: Option<i64>, left_out: i32| day.map_or(left_out, |day| i32::try_from(day).unwrap_or(left_out));
    (day(from, 0), day(to, i32::MAX - 1).saturating_add(1))
}

fn day(day: i32) -> Millis {
    Millis(i64::from(day) * 86_400_000)
}

/// Cells of combinations and of their components.
fn combined(counted: &[(CreativeId, CombinationCell)], shapes: &BTreeMap<CreativeId, Shape>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (creative, cell) in counted {
        let mut add = |subject| {
            let key = CellKey { day: day(cell.day), placement: None, device: "".into(), arm: cell.arm, subject };
            cells.push(Cell { key, counts: cell.counts });
        };
        add(Of::Combination { combination: cell.combination });
        for (slot, component) in components(shapes.get(creative), &cell.choice) {
            if let Some(component) = component {
                add(Of::Component { slot, component });
            }
        }
    }
    cells
}

/// What stands in each slot of a choice.
fn components(shape: Option<&Shape>, choice: &[u16]) -> Vec<(SlotName, Option<ComponentId>)> {
    let slots = shape.map(Shape::slots).unwrap_or_default();
    let component = |(slot, number): (&crate::domain::optimizer::ShapeSlot, &u16)| {
        (slot.name.clone(), slot.components.get(usize::from(*number)).cloned())
    };
    slots.iter().zip(choice).map(component).collect()
}

fn parts(
    counted: &[(CreativeId, CombinationCell)],
    shapes: &BTreeMap<CreativeId, Shape>,
) -> BTreeMap<String, Combination> {
    let part = |(creative, cell): &(CreativeId, CombinationCell)| {
        let components = components(shapes.get(creative), &cell.choice).into_iter().collect();
        let made = Combination { creative: creative.clone(), revision: cell.revision, components };
        (format!("{:016x}", cell.combination), made)
    };
    counted.iter().map(part).collect()
}

/// Cells of features, those that a report by `by` sums over.
fn featured(counted: &[(CreativeId, FeatureCell)], shapes: &BTreeMap<CreativeId, Shape>, by: By) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (creative, cell) in counted {
        let Some(shape) = shapes.get(creative) else { continue };
        let Some(feature) = shape.features().get(usize::from(cell.feature)).and_then(|name| Feature::parse(name))
        else {
            continue;
        };
        let component = cell.component.and_then(|(slot, number)| {
            let slot = shape.slots().get(usize::from(slot))?;
            Some((slot.name.clone(), slot.components.get(usize::from(number))?.clone()))
        });
        let whole = Of::Combination { combination: 0 };
        let (placement, device, subject) = match (by, feature, component) {
            (By::Placement, Feature::Placement(placement), None) => (Some(placement), "".into(), whole),
            (By::Device, Feature::Device(device), None) => (None, device, whole),
            (By::Segment, Feature::Segment(segment), None) => (None, "".into(), Of::Segment { segment }),
            (By::SegmentComponent, Feature::Segment(segment), Some((slot, component))) => {
                (None, "".into(), Of::SegmentComponent { segment, slot, component })
            }
            _ => continue,
        };
        let key = CellKey { day: day(cell.day), placement, device, arm: cell.arm, subject };
        cells.push(Cell { key, counts: cell.counts });
    }
    cells
}

/// What was counted beside some cells that are parts of it: of a placement or device that is unknown
/// or not told apart.
fn rest(counted: &[(CreativeId, CombinationCell)], parts: &[Cell]) -> Vec<Cell> {
    let mut all: BTreeMap<(Millis, Arm), (Counts, Counts)> = BTreeMap::new();
    for (_, cell) in counted {
        all.entry((day(cell.day), cell.arm)).or_default().0 += cell.counts;
    }
    for cell in parts {
        all.entry((cell.key.day, cell.key.arm)).or_default().1 += cell.counts;
    }
    let left = all.into_iter().map(|((day, arm), (all, part))| {
        let key = CellKey { day, placement: None, device: "".into(), arm, subject: Of::Combination { combination: 0 } };
        Cell { key, counts: all.without(&part) }
    });
    left.filter(|cell| !cell.counts.is_nothing()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_counted_becomes_rows_of_each_kind() {
        let shape: Shape = serde_json::from_value(json!({
            "slots": [{"name": "image", "components": ["beach", "city"]}],
            "features": ["segment:travellers", "device:mobile", "placement:home"]
        }))
        .expect("a shape");
        let creative: CreativeId = "hero".parse().expect("an id");
        let shapes = BTreeMap::from([(creative.clone(), shape)]);
        let counts = |impressions, clicks| Counts { impressions, clicks, ..Counts::default() };
        let combination = |number: u64, choice: u16, counts| {
            let (arm, revision, choice) = (Arm::Personalised, 3, vec![choice]);
            (creative.clone(), CombinationCell { day: 20_000, arm, revision, combination: number, choice, counts })
        };
        let counted = [combination(7, 1, counts(100, 9)), combination(8, u16::MAX, counts(50, 1))];
        let rows = |by, cells: &[Cell]| report(cells, by, Goal::Click, 1.0, 1);
        let cells = combined(&counted, &shapes);
        assert_eq!(rows(By::Combination, &cells).len(), 2);
        let components = rows(By::Component, &cells);
        assert_eq!(components.len(), 1, "a default is no component");
        assert_eq!(components[0].counts.clicks, 9);
        assert_eq!(rows(By::Day, &cells)[0].counts.impressions, 150);
        let made = &parts(&counted, &shapes)["0000000000000007"];
        assert_eq!((made.revision, json!(made.components)), (3, json!({"image": "city"})));

        let feature = |feature, component| {
            let (day, arm) = (20_000, Arm::Personalised);
            (creative.clone(), FeatureCell { day, arm, feature, component, counts: counts(10, 2) })
        };
        let counted =
            [feature(0, None), feature(0, Some((0, 1))), feature(1, None), feature(2, None), feature(9, None)];
        for (by, expected) in [
            (By::Segment, json!({"segment": "travellers"})),
            (By::SegmentComponent, json!({"segment": "travellers", "slot": "image", "component": "city"})),
            (By::Device, json!({"device": "mobile"})),
            (By::Placement, json!({"placement": "home"})),
        ] {
            let rows = rows(by, &featured(&counted, &shapes, by));
            assert_eq!((rows.len(), json!(rows[0].key)), (1, expected));
            assert_eq!(rows[0].counts.impressions, 10);
        }
    }

    #[test]
    fn what_an_experiment_finds_rests_on_what_is_known_of_people() {
        let of = |people, sum, squares| Sums { people, sum, squares };
        let (nobody, some) = (Sums::default(), of(1_000, 100.0, 100.0));
        let experiment = |control| Experiment {
            personalised: nobody,
            control,
            holdout: 0.1,
            excluded: Default::default(),
            crossed_over: 0,
        };
        let asked = Question {
            by: By::Day,
            arms: None,
            from: None,
            to: None,
            people: Some(100_000),
            per_person: None,
            holdout: None,
        };
        let of = |control, ever: Sums, goal: &GoalDoc, asked: &Question| {
            let found = detectable(&experiment(control), &ever, Some(goal), asked).expect("a plan");
            (found.assumed_per_person, found.minimum_detectable_lift)
        };
        let click = GoalDoc::Click;
        assert_eq!(of(nobody, nobody, &click, &asked).0, 0.02);
        assert_eq!(of(some, nobody, &click, &asked).0, 0.1);
        assert_eq!(of(nobody, some, &click, &asked), of(some, nobody, &click, &asked), "what the campaign had before");
        let (told, fewer) = (Question { per_person: Some(0.001), ..asked.clone() }, of(some, nobody, &click, &asked).1);
        assert_eq!(of(some, nobody, &click, &told).0, 0.001);
        assert!(of(some, nobody, &click, &told).1 > 2.0 * fewer);
        let even = Question { holdout: Some(0.5), ..asked.clone() };
        assert!(of(some, nobody, &click, &even).1 < fewer);
        // whatever the currency's unit
        let value = GoalDoc::Value(crate::domain::catalog::document::ValueDoc {
            conversion: "purchase".parse().expect("a name"),
            usual: crate::domain::values::Money {
                amount: "50".parse().expect("an amount"),
                currency: "EUR".parse().expect("a currency"),
            },
        });
        let found = of(nobody, nobody, &value, &asked);
        assert_eq!((found.0, found.1), (1.0, of(nobody, nobody, &click, &asked).1));
        let none = Question { holdout: None, ..asked };
        let without = Experiment { holdout: 0.0, ..experiment(some) };
        assert_eq!(detectable(&without, &nobody, None, &none), None);
    }

    #[test]
    fn what_is_not_told_apart_has_a_row() {
        let shape: Shape =
            serde_json::from_value(json!({"slots": [], "features": ["device:mobile", "placement:home"]}))
                .expect("a shape");
        let creative: CreativeId = "hero".parse().expect("an id");
        let shapes = BTreeMap::from([(creative.clone(), shape)]);
        let counts = |impressions, clicks| Counts { impressions, clicks, ..Counts::default() };
        let (day, revision, combination) = (20_000, 1, 7);
        let counted = [(Arm::Personalised, counts(100, 9)), (Arm::Control, counts(20, 1))].map(|(arm, counts)| {
            (creative.clone(), CombinationCell { day, arm, revision, combination, choice: Vec::new(), counts })
        });
        let features = [
            (Arm::Personalised, 0, counts(60, 4)),
            (Arm::Control, 0, counts(20, 1)),
            (Arm::Personalised, 1, counts(100, 9)),
        ];
        let features = features.map(|(arm, feature, counts)| {
            (creative.clone(), FeatureCell { day, arm, feature, component: None, counts })
        });
        let rows = |by| {
            let mut cells = featured(&features, &shapes, by);
            cells.extend(rest(&counted, &cells));
            let rows = report(&cells, by, Goal::Click, 1.0, 1);
            rows.iter().map(|row| (json!(row.key), row.counts.impressions, row.counts.clicks)).collect::<Vec<_>>()
        };
        assert_eq!(rows(By::Device), [(json!({"device": ""}), 40, 5), (json!({"device": "mobile"}), 80, 5)]);
        assert_eq!(rows(By::Placement), [(json!({}), 20, 1), (json!({"placement": "home"}), 100, 9)]);
    }
}
