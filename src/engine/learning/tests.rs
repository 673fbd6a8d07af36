//! Looks at a store that fails, and callers that leave.

use std::{
    future::{Future as _, poll_fn},
    task::Poll,
};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{catalog::key::Kind, decision::learned::Learner, values::Millis},
    engine::{
        disk::Disk,
        fakes::{Failing, FakeCatalog, FakeClock, FakeLearning, Fault},
    },
};

const LONG: Duration = Duration::from_secs(5);

fn subject(creative: impl std::fmt::Display) -> Subject {
    let creative = creative.to_string().parse().expect("an id");
    Subject { account: 1, campaign: "spring".parse().expect("an id"), creative }
}

/// Learning about one creative of one campaign.
struct Stage {
    store: Arc<FakeLearning>,
    catalog: Arc<FakeCatalog>,
    learning: Learning,
    _folder: TempDir,
}

impl Stage {
    async fn new(rotation: &str) -> Self {
        let (store, catalog) = (Arc::new(FakeLearning::default()), Arc::new(FakeCatalog::default()));
        let template = json!({"name": "A template", "format": "html", "size": "300x250",
            "slots": {"headline": {"type": "text", "default": "Hello"}},
            "markup": "<!doctype html><body><a href=\"{{click_url}}\">{{headline}}</a></body>"});
        let component = |value: &str| json!({"slot": "headline", "value": value});
        let revision = json!({"revision": 1, "published_at": Millis(1), "templates": {"t": template},
            "components": {"a": component("This"), "b": component("That")},
            "creative": {"name": "A creative", "advertiser": "shop", "templates": ["t"]}});
        catalog.put(Kind::Advertiser, "shop", json!({"name": "Shop", "domain": "shop.example"}));
        catalog.put(Kind::Revision, "hero/1", revision);
        catalog.put(Kind::Publication, "hero", json!({"revision": 1, "status": "published"}));
        let clock: Arc<dyn Clock> = Arc::new(FakeClock);
        let url = "https://t.example".to_owned();
        let catalogue = Arc::new(Catalogue::new(catalog.clone(), Arc::clone(&clock), Disk::new(None), url));
        let folder = tempfile::tempdir().expect("a folder");
        let learning = Learning::new(store.clone(), catalogue, clock, folder.path().to_owned(), Counter::noop());
        let stage = Self { store, catalog, learning, _folder: folder };
        stage.rotate(rotation).await;
        stage.learning.refresh().await.expect("learned");
        stage
    }

    /// The campaign chooses in another way.
    async fn rotate(&self, rotation: &str) {
        let campaign = json!({"name": "Spring", "advertiser": "shop", "status": "active", "creatives": ["hero"],
            "landing_url": "https://shop.example/", "rotation": rotation});
        self.catalog.put(Kind::Campaign, "spring", campaign);
        let catalogue = &self.learning.0.catalogue;
        catalogue.reload().await.expect("documents");
        assert_eq!(catalogue.world().account(1).expect("an account").snapshot.faults, BTreeMap::default());
    }

    /// What decisions choose by.
    fn learner(&self) -> Arc<Learner> {
        let world = self.learning.0.catalogue.world();
        let account = world.account(1).expect("an account");
        let line = &account.snapshot.lines[0];
        Arc::clone(account.learned.of(&line.campaign, &line.creatives[0]).expect("something is known"))
    }

    /// How many draws decisions choose among.
    fn members(&self) -> Option<usize> {
        members(&self.learner())
    }

    /// One look, and the order in which it learned about what waits.
    async fn look(&self) -> (Result<bool, StoreError>, Vec<Subject>) {
        self.store.order();
        let result = self.learning.look().await;
        (result, self.store.order())
    }
}

fn members(learner: &Learner) -> Option<usize> {
    Some(learner.draws.as_ref()?.members())
}

#[tokio::test]
async fn who_asks_what_is_known_does_not_wait_for_a_look() {
    let stage = Stage::new("optimized").await;
    stage.store.waiting.lock().expect("not poisoned").push(subject("hero"));
    stage.store.learning(Fault::Hang);
    stage.store.order();
    let look = tokio::spawn({
        let learning = stage.learning.clone();
        async move { learning.refresh().await }
    });
    while stage.store.order().is_empty() {
        tokio::task::yield_now().await;
    }
    let campaign = "spring".parse().expect("an id");
    let known = stage.learning.of_campaign(1, &campaign);
    assert_eq!(
        known.iter().map(|(of, known)| (of, known.shape.slots().len())).collect::<Vec<_>>(),
        [(&subject("hero"), 1)]
    );
    let whole = time::timeout(LONG, stage.learning.whole(1, &campaign)).await.expect("nobody is waited for");
    assert_eq!(whole.values().map(|learner| members(learner)).collect::<Vec<_>>(), [Some(64)]);
    assert_eq!((stage.members(), look.is_finished()), (Some(4), false));
    stage.store.learning(Fault::None);
    look.await.expect("no panic").expect("learned");
}

/// However far a look came before its caller left, the next one goes on from there.
#[tokio::test]
async fn a_look_that_was_given_up_leaves_nothing_half_done() {
    let (mut steps, mut ended) = (0, false);
    // drawing may be over before it is first asked for
    while !ended || steps == 0 {
        let stage = Stage::new("optimized").await;
        assert_eq!(stage.members(), Some(4), "nobody has chosen yet");
        stage.learner().ask();
        let mut look = Box::pin(stage.learning.refresh());
        ended = false;
        for _ in 0..=steps {
            ended |= poll_fn(|context| Poll::Ready(look.as_mut().poll(context).is_ready())).await;
            if ended {
                break;
            }
            time::sleep(Duration::from_millis(20)).await;
        }
        drop(look);
        stage.learning.refresh().await.expect("learned");
        assert_eq!(stage.members(), Some(64), "after {steps} steps");
        steps += usize::from(!ended);
    }
}

#[tokio::test]
async fn what_decisions_were_not_given_is_theirs_at_the_next_look() {
    let stage = Stage::new("optimized").await;
    stage.learner().ask();
    // somebody else is changing the catalogue, and takes long
    let catalogue = Arc::clone(&stage.learning.0.catalogue);
    let change = tokio::spawn(async move { catalogue.follow(1, 2).await });
    tokio::task::yield_now().await;
    assert!(time::timeout(Duration::from_millis(200), stage.learning.refresh()).await.is_err());
    assert_eq!(stage.members(), Some(4));
    change.abort();
    stage.learning.refresh().await.expect("learned");
    assert_eq!(stage.members(), Some(64));
}

#[tokio::test]
async fn a_rotation_that_changes_while_the_store_is_away_has_its_draws_when_it_is_back() {
    let stage = Stage::new("even").await;
    assert_eq!(stage.members(), None);
    stage.rotate("optimized").await;
    stage.store.versions(Fault::Unavailable);
    assert!(stage.look().await.0.is_err());
    stage.store.versions(Fault::None);
    assert!(stage.look().await.0.is_ok());
    assert_eq!(stage.members(), Some(4));
}

/// Twenty creatives that wait at each look.
async fn twenty() -> (Stage, Vec<Subject>) {
    let stage = Stage::new("even").await;
    let all: Vec<_> = (0..20).map(|n| subject(format!("c-{n}"))).collect();
    stage.store.waiting.lock().expect("not poisoned").clone_from(&all);
    // at first sight they are strange
    let (_, order) = stage.look().await;
    assert!(order.is_empty());
    (stage, all)
}

#[tokio::test]
async fn what_failed_goes_last_also_after_the_store_was_away() {
    let corrupt: Failing = || StoreError::Corrupt("odd".to_owned());
    let away: [(Failing, usize); 3] = [
        (|| StoreError::Unavailable("away".to_owned()), 1),
        (|| StoreError::Busy, 1),
        (|| StoreError::Timeout("slow".to_owned()), 2),
    ];
    for (away, ends_after) in away {
        let (stage, all) = twenty().await;
        let odd = &all[..3];
        let fail = |which: &[Subject], how: Failing| {
            let failing = which.iter().map(|subject| (subject.clone(), how)).collect();
            *stage.store.failing.lock().expect("not poisoned") = failing;
        };
        fail(odd, corrupt);
        let (result, order) = stage.look().await;
        assert_eq!((result.is_ok(), order.len()), (true, 20));
        fail(&all, away);
        let (result, order) = stage.look().await;
        assert_eq!((result.is_err(), order.len()), (true, ends_after));
        assert!(order.iter().all(|subject| !odd.contains(subject)));
        // those that time out are suspects themselves
        let suspects = if ends_after > 1 { order } else { Vec::new() };
        fail(&[], corrupt);
        let (result, order) = stage.look().await;
        assert_eq!((result.is_ok(), order.len()), (true, 20));
        let at = 20 - odd.len() - suspects.len();
        assert!(odd.iter().chain(&suspects).all(|subject| order[at..].contains(subject)), "{order:?}");
    }
}

#[tokio::test]
async fn what_failed_goes_last_also_after_a_look_that_was_given_up() {
    let (stage, all) = twenty().await;
    let corrupt: Failing = || StoreError::Corrupt("odd".to_owned());
    *stage.store.failing.lock().expect("not poisoned") =
        all[..3].iter().map(|subject| (subject.clone(), corrupt)).collect();
    assert!(stage.look().await.0.is_ok());
    stage.store.learning(Fault::Hang);
    assert!(time::timeout(Duration::from_millis(200), stage.look()).await.is_err());
    stage.store.learning(Fault::None);
    let (_, order) = stage.look().await;
    assert!(all[..3].iter().all(|subject| order[17..].contains(subject)), "{order:?}");
}

#[tokio::test]
async fn who_starts_knows_what_was_learned_before_learning_more() {
    let stage = Stage::new("optimized").await;
    stage.store.waiting.lock().expect("not poisoned").push(subject("hero"));
    stage.store.learning(Fault::Hang);
    let (clock, folder): (Arc<dyn Clock>, _) = (Arc::new(FakeClock), tempfile::tempdir().expect("a folder"));
    let catalogue = Arc::clone(&stage.learning.0.catalogue);
    let path = folder.path().to_owned();
    let second = Learning::new(stage.store.clone(), catalogue, clock, path, Counter::noop());
    let look = tokio::spawn({
        let second = second.clone();
        async move { second.refresh().await }
    });
    let campaign = "spring".parse().expect("an id");
    let knows = async {
        while second.of_campaign(1, &campaign).is_empty() {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    time::timeout(6 * LONG, knows).await.expect("it knows");
    assert!(!look.is_finished());
    look.abort();
}

#[tokio::test]
async fn no_look_has_the_order_of_the_one_before() {
    let (stage, _) = twenty().await;
    let (first, second) = (stage.look().await.1, stage.look().await.1);
    assert_eq!((first.len(), second.len()), (20, 20));
    assert_ne!(first, second);
}
