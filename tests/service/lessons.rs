//! What is learned reaches every replica in time, and what nothing can be learned from does no harm.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tessera::{config::Config, domain::values::Millis};

use crate::{
    harness::{KEY, Patient as _, Remote, Service, read, until},
    turn,
};

const HOUR: i64 = 3_600_000;

/// Three headlines, chosen by what is learned of them.
async fn author(service: &Service) {
    for n in 0..3 {
        let path = format!("/v1/creatives/fallback/components/h{n}");
        service.put(&path, &json!({"slot": "headline", "value": format!("h{n}")})).await;
    }
    publish(service).await;
    let campaign = json!({
        "name": "Learning", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "rotation": "optimized", "goal": "click"
    });
    service.put("/v1/campaigns/learning", &campaign).await;
}

async fn publish(service: &Service) {
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
}

fn ask(person: u32) -> Value {
    json!({
        "placements": [{"id": "top", "placement": "home", "candidates": {"campaign": "learning"}}],
        "user": {"key": format!("u-{person}")},
        "context": {"geo": {"country": "US"}, "device": {"type": "mobile"}}, "explain": "full"
    })
}

fn url<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name].as_str().expect("an address")
}

/// How many draws decisions have to choose among, of each creative of the campaign.
fn members(service: &Service) -> Vec<usize> {
    let world = service.server.engine().catalogue.world();
    let account = world.named("default").expect("an account");
    let snapshot = &account.snapshot;
    let Some(line) = snapshot.line(&"learning".parse().expect("an id")) else { return Vec::new() };
    let line = &snapshot.lines[line];
    let learners = line.creatives.iter().filter_map(|creative| account.learned.of(&line.campaign, creative));
    learners.filter_map(|learner| Some(learner.draws.as_ref()?.members())).collect()
}

/// On one thread, so that its clock can be set forward.
#[tokio::test]
async fn draws_go_while_nobody_asks_and_come_back_when_somebody_does() {
    let _turn = turn(1).await;
    let service = Service::start(&crate::cluster().await.database().await, |_| {}).await;
    author(&service).await;
    let are = async |wanted: usize| {
        until(&format!("there are {wanted} draws"), || async { members(&service) == [wanted] }).await;
    };
    let later = async || {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(601)).await;
        tokio::time::resume();
    };
    are(4).await;
    service.decide(&ask(0)).await;
    are(64).await;
    later().await;
    are(4).await;
    service.decide(&ask(1)).await;
    are(64).await;
    later().await;
    are(4).await;
    // who judges what was learned has all, and leaves decisions what they have
    let engine = service.server.engine();
    let account = engine.catalogue.world().named("default").expect("an account").number();
    let whole = engine.learning.whole(account, &"learning".parse().expect("an id")).await;
    let all: Vec<_> = whole.values().filter_map(|learner| Some(learner.draws.as_ref()?.members())).collect();
    assert_eq!((all, members(&service)), (vec![64], vec![4]));
}

/// By which state of what was learned a replica chooses.
async fn version(remote: &Remote) -> u64 {
    let decision = remote.decide(&ask(0)).await;
    decision["explanation"]["items"][0]["optimizer"]["version"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_learned_from_on_every_replica() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    author(&a).await;
    until("both choose by what is learned", || async { version(&a).await > 0 && version(&b).await > 0 }).await;
    let mut took = Vec::new();
    for person in 0..4 {
        let item = a.decide(&ask(person)).await["placements"]["top"][0].take();
        let before = (version(&a).await, version(&b).await);
        assert_eq!(a.beacon(url(&item, "impression_url")).await.1, "recorded");
        let (here, there) = tokio::join!(
            until("learned here", || async { version(&a).await > before.0 }),
            until("learned there", || async { version(&b).await > before.1 }),
        );
        took.push((here.as_millis(), there.as_millis()));
    }
    println!("an outcome is chosen by after so many ms, where it came and on another replica: {took:?}");
}

/// Some campaigns are being learned about by somebody who takes long: nobody waits for these, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_what_there_is_to_learn() {
    const CAMPAIGNS: usize = 40;
    const HELD: usize = 6;
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    author(&a).await;
    let campaign = json!({
        "name": "Learning", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "rotation": "optimized", "goal": "click"
    });
    for n in 0..CAMPAIGNS {
        a.put(&format!("/v1/campaigns/c-{n:02}"), &campaign).await;
    }
    let decide = async |remote: &Remote, n: usize| {
        let mut ask = ask(n as u32);
        ask["placements"][0]["candidates"]["campaign"] = json!(format!("c-{n:02}"));
        remote.decide(&ask).await
    };
    let version = async |remote: &Remote, n: usize| {
        decide(remote, n).await["explanation"]["items"][0]["optimizer"]["version"].as_u64().unwrap_or_default()
    };
    // how many of some campaigns both choose by with more than so many versions of what was learned
    let ahead = async |campaigns: std::ops::Range<usize>, than: &[u64]| {
        let mut ahead = 0;
        for n in campaigns {
            ahead += usize::from(version(&a, n).await > than[n] && version(&b, n).await > than[n]);
        }
        ahead
    };
    let none = [0; CAMPAIGNS];
    until("all are known", || async { ahead(0..CAMPAIGNS, &none).await == CAMPAIGNS }).await;
    let mut connection = PgConnection::connect(&database).await.expect("a connection");
    let mut held = connection.begin().await.expect("a transaction");
    for n in 0..HELD {
        sqlx::query("select pg_advisory_xact_lock(hashtextextended(concat_ws('/', 1, $1::text, 'fallback'), 7))")
            .bind(format!("c-{n:02}"))
            .execute(&mut *held)
            .await
            .expect("a lock");
    }
    let (mut before, mut items) = (Vec::new(), Vec::new());
    for n in 0..CAMPAIGNS {
        before.push(version(&a, n).await.max(version(&b, n).await));
        items.push(decide(if n % 2 == 0 { &a } else { &b }, n).await["placements"]["top"][0].take());
    }
    for item in &items {
        assert_eq!(a.beacon(url(item, "impression_url")).await.1, "recorded");
    }
    let others = || async { ahead(HELD..CAMPAIGNS, &before).await == CAMPAIGNS - HELD };
    let took = until("the others are learned about", others).await;
    println!("{} of {CAMPAIGNS} campaigns are learned about on two replicas within {took:?}", CAMPAIGNS - HELD);
    assert_eq!(ahead(0..HELD, &before).await, 0, "these are in somebody's hands");
    held.rollback().await.expect("let go");
    until("all are learned about", || async { ahead(0..HELD, &before).await == HELD }).await;
    let left: i64 =
        sqlx::query_scalar("select count(*) from lesson").fetch_one(&mut connection).await.expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_learned_from_keeps_nothing_else_from_being_learned() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, simulated).await;
    author(&service).await;
    let refresh = async || read(service.request(Method::POST, "/v1/simulation/refresh").sent().await, 200).await;
    refresh().await;
    // an outcome of a kind that this program does not know, and a state that it cannot read, of others
    let mut connection = PgConnection::connect(&database).await.expect("a connection");
    for statement in [
        "insert into lesson (account, campaign, creative, decision, kind, revision, combination, exposure)
         values (1, 'a-first', 'fallback', gen_random_uuid(), 99, 1, 1, '')",
        "insert into learned (account, campaign, creative, version, shape, statistics, epoch, watch)
         values (1, 'odd', 'fallback', 1, '[]', '', 0, '{}')",
    ] {
        sqlx::query(statement).execute(&mut connection).await.expect("written");
    }
    let before = version(&service).await;
    let item = service.decide(&ask(1)).await["placements"]["top"][0].take();
    assert_eq!(service.beacon(url(&item, "impression_url")).await.1, "recorded");
    refresh().await;
    assert!(version(&service).await > before, "it is learned from all the same");
    let metrics = service.http.get(format!("{}/metrics", service.base)).bearer_auth(KEY).sent().await;
    let metrics = metrics.text().await.expect("text");
    let failures = metrics.lines().find(|line| line.starts_with("tessera_learning_failures_total"));
    assert!(failures.is_some_and(|line| !line.ends_with(" 0")), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_database_chooses_by_what_was_learned() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, simulated).await;
    author(&service).await;
    let refresh = async |service: &Service| {
        read(service.request(Method::POST, "/v1/simulation/refresh").sent().await, 200).await;
    };
    refresh(&service).await;
    // whoever sees h1 clicks
    for person in 0..60 {
        let item = service.decide(&ask(person)).await["placements"]["top"][0].take();
        assert_eq!(service.beacon(url(&item, "impression_url")).await.1, "recorded");
        if item["components"]["headline"] == "h1" {
            assert_eq!(service.beacon(url(&item, "click_url")).await.1, "recorded");
        }
    }
    refresh(&service).await;
    let learned = version(&service).await;
    service.server.shutdown().await;
    let Service { data, .. } = service;
    let file = data.path().join("catalogue/learned.jsonl");
    let number = |file: &std::path::Path| std::fs::metadata(file).expect("the file").ino();
    let before = number(&file);

    let away = "postgres://127.0.0.1:1/away";
    let service = Service::start_in(data, away, |_| {}).await;
    assert_eq!(version(&service).await, learned);
    let mut shown = 0;
    for person in 100..160 {
        let item = service.decide(&ask(person)).await["placements"]["top"][0].take();
        assert_eq!(item["reason"], "optimized");
        shown += u32::from(item["components"]["headline"] == "h1");
    }
    assert!(shown > 30, "{shown} of 60");
    service.server.shutdown().await;
    assert_eq!(number(&file), before, "nothing was learned, so nothing is written");
}

fn simulated(config: &mut Config) {
    config.http.simulation = true;
}

/// A service whose clock its requests set.
struct Stage {
    service: Service,
    start: Millis,
}

impl Stage {
    fn request(&self, method: Method, path: &str, ms: i64) -> reqwest::RequestBuilder {
        self.service.request(method, path).header("tessera-time", self.start.plus(ms).to_string())
    }

    async fn refresh(&self, ms: i64) {
        read(self.request(Method::POST, "/v1/simulation/refresh", ms).sent().await, 200).await;
    }

    async fn decide(&self, person: u32, ms: i64) -> Value {
        read(self.request(Method::POST, "/v1/decisions", ms).json(&ask(person)).sent().await, 200).await
    }

    async fn beacon(&self, url: &str, ms: i64) -> String {
        let answer = self.service.http.get(url).header("tessera-time", self.start.plus(ms).to_string()).sent().await;
        answer.headers()["tessera-outcome"].to_str().expect("ASCII").to_owned()
    }

    /// What was counted of a headline.
    async fn counted(&self, headline: &str) -> (u64, u64) {
        let report = read(self.request(Method::GET, "/v1/campaigns/learning/report", 0).sent().await, 200).await;
        let is = |row: &&Value| row["key"]["component"] == headline;
        let row = report["rows"].as_array().expect("rows").iter().find(is).cloned().unwrap_or_default();
        let of = |name: &str| row["counts"][name].as_u64().unwrap_or_default();
        (of("impressions"), of("clicks"))
    }
}

/// Every number that a choice was explained by.
fn sound(explained: &Value) {
    let why = &explained["explanation"]["items"][0]["optimizer"];
    let others = why["others"].as_array().expect("others").iter().map(|other| &other["belief"]);
    for belief in others.chain([&why["shown"]]) {
        let rates = [&belief["interval"][0], &belief["rate"], &belief["interval"][1]];
        let rates = rates.map(|rate| rate.as_f64().expect("a finite number"));
        assert!(rates.is_sorted() && rates[0] >= 0.0 && rates[2] <= 1.0, "{why:#}");
    }
    let share = why["propensity"].as_f64().expect("a probability");
    assert!(share > 0.0 && share <= 1.0, "{share}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_while_learning_does_no_harm() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |config| config.http.simulation = true).await;
    author(&service).await;
    let stage = Stage { start: service.server.engine().clock.now(), service };
    stage.refresh(0).await;
    let (mut gone, mut shown) = (Vec::new(), Vec::new());
    for person in 0..60 {
        let item = stage.decide(person, 0).await["placements"]["top"][0].take();
        if item["components"]["headline"] == "h1" {
            gone.push(item);
        } else {
            shown.push(item);
        }
    }
    assert!(gone.len() > 5, "a third sees h1");

    // a campaign that may serve everywhere is told apart by where it was shown
    assert_eq!(stage.beacon(url(&shown[0], "impression_url"), 0).await, "recorded");
    stage.refresh(0).await;
    for (by, name) in [("placement", "home"), ("device", "mobile")] {
        let path = format!("/v1/campaigns/learning/report?by={by}");
        let report = read(stage.request(Method::GET, &path, 0).sent().await, 200).await;
        assert_eq!(report["rows"][0]["key"], json!({by: name}), "{report:#}");
    }

    // a component goes while its outcomes are on their way, and clicks come before impressions
    let path = "/v1/creatives/fallback/components/h1";
    let deleted = stage.request(Method::DELETE, path, HOUR).header("if-match", "*").sent().await;
    assert_eq!(deleted.status(), 204);
    publish(&stage.service).await;
    stage.refresh(HOUR).await;
    for item in &gone {
        assert_eq!(stage.beacon(url(item, "click_url"), HOUR).await, "recorded");
        assert_eq!(stage.beacon(url(item, "impression_url"), HOUR).await, "recorded");
    }
    stage.refresh(HOUR).await;
    let all = gone.len() as u64;
    assert_eq!(stage.counted("h1").await, (all, all), "what was shown is counted");
    for person in 100..160 {
        let decision = stage.decide(person, HOUR).await;
        assert_ne!(decision["placements"]["top"][0]["components"]["headline"], "h1");
        sound(&decision);
    }

    // the clock goes back by a day: nothing is lost, forgotten or raised
    let back = stage.decide(200, -24 * HOUR).await;
    sound(&back);
    let item = &back["placements"]["top"][0];
    let other = item["components"]["headline"].as_str().expect("a headline").to_owned();
    let before = stage.counted(&other).await;
    assert_eq!(stage.beacon(url(item, "click_url"), -25 * HOUR).await, "expired", "of a decision an hour ahead");
    assert_eq!(stage.beacon(url(item, "click_url"), -24 * HOUR - 60_000).await, "recorded", "clocks differ");
    assert_eq!(stage.beacon(url(item, "impression_url"), -24 * HOUR).await, "recorded");
    stage.refresh(-26 * HOUR).await;
    assert_eq!(stage.counted(&other).await, (before.0 + 1, before.1 + 1));
    sound(&stage.decide(201, -24 * HOUR).await);

    // what is no token is said to be none, and counts nowhere
    let base = &stage.service.base;
    assert_eq!(stage.beacon(&format!("{base}/v1/i/rubbish"), HOUR).await, "invalid");
    let click = stage.service.http.get(format!("{base}/v1/c/rubbish")).sent().await;
    assert_eq!(click.status(), 404);
    stage.refresh(HOUR).await;
    assert_eq!(stage.counted("h1").await, (all, all));

    // when it returns, what was learned of it still holds: everybody clicked on it
    stage.service.put(path, &json!({"slot": "headline", "value": "h1"})).await;
    publish(&stage.service).await;
    stage.refresh(HOUR).await;
    let mut returned = 0;
    for person in 300..360 {
        let decision = stage.decide(person, HOUR).await;
        returned += u32::from(decision["placements"]["top"][0]["components"]["headline"] == "h1");
    }
    assert!(returned > 30, "{returned} of 60");
}
