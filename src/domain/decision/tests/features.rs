use jiff::tz::TimeZone;

use super::*;
use crate::domain::{
    audience::{
        context::{Context, LocalTime},
        evaluate::Evaluator,
        value::Folded,
    },
    decision::learned::{Learner, admit},
    optimizer::Shape,
};

/// The names of the features of a request at [`NOW`] on a phone.
fn features(zone: Option<&TimeZone>) -> Vec<String> {
    let snapshot = Catalogue::new().both("spring", json!({"rotation": "optimized"}), json!({})).build();
    let line = &snapshot.lines[0];
    let mut shape = Shape::default();
    assert!(admit(&mut shape, &snapshot, &line.campaign, &line.creatives[0]));
    let learner = Learner::new(shape.clone(), 1, None);
    let local = LocalTime::of_person(NOW, zone);
    let context = Context { device: Some(Folded::new("mobile")), local, ..Context::default() };
    let mut evaluator = Evaluator::new(&snapshot.rules, Default::default(), &context, NOW);
    let numbers = learner.features(&mut evaluator, &context, None, true);
    numbers.iter().map(|number| shape.features()[usize::from(*number)].to_string()).collect()
}

#[test]
fn the_part_of_the_day_is_learned_by_where_it_is_known() {
    let local = LocalTime::of_person(NOW, Some(&TimeZone::UTC)).expect("a time");
    assert_eq!(features(Some(&TimeZone::UTC)), ["device:mobile".to_owned(), format!("daypart:{}", local.daypart())]);
    // noon in UTC is the morning of New York
    assert_eq!(features(None), ["device:mobile"]);
    assert_eq!(LocalTime::of_person(NOW, None), Some(LocalTime { assumed: true, ..local }), "rules go by UTC");
}
