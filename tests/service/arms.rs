//! Who counts in a report and on which side, and who does not.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{Patient as _, Remote, Service, read},
    turn,
};

const AT: &str = "2026-11-20T10:00:30Z";

async fn start() -> Service {
    let database = crate::cluster().await.database().await;
    Service::start(&database, |config| {
        config.http.simulation = true;
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await
}

/// A campaign of a creative with two headlines.
async fn author(service: &Service, more: Value) {
    for n in 0..2 {
        let path = format!("/v1/creatives/fallback/components/h{n}");
        service.put(&path, &json!({"slot": "headline", "value": format!("h{n}")})).await;
    }
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
    let mut campaign = json!({
        "name": "Trial", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/"
    });
    campaign.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    service.put("/v1/campaigns/trial", &campaign).await;
    refresh(service).await;
}

async fn refresh(service: &Service) {
    let request = service.request(Method::POST, "/v1/simulation/refresh").header("tessera-time", AT);
    read(request.sent().await, 200).await;
}

async fn report(service: &Service, query: &str) -> Value {
    refresh(service).await;
    let request = service.request(Method::GET, &format!("/v1/campaigns/trial/report{query}"));
    read(request.header("tessera-time", AT).sent().await, 200).await
}

async fn decide(remote: &Remote, person: usize, more: &Value) -> Value {
    let mut body = json!({
        "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "trial"}}],
        "user": {"key": format!("u-{person}")}, "context": {"geo": {"country": "US"}}
    });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let request = remote.request(Method::POST, "/v1/decisions").header("tessera-time", AT).json(&body);
    read(request.sent().await, 200).await["placements"]["top"][0].take()
}

async fn beacon(remote: &Remote, item: &Value, name: &str, agent: &str) {
    let request = remote.http.get(item[name].as_str().expect("a beacon")).header("tessera-time", AT);
    let request = request.header("x-forwarded-for", "203.0.113.7");
    assert!(request.header("user-agent", agent).sent().await.status().as_u16() < 400);
}

/// Something for each of some people, 40 at a time, in their order.
async fn each<F: Future<Output = Value> + Send + 'static>(
    people: impl IntoIterator<Item = usize>,
    what: impl Fn(usize) -> F,
) -> BTreeMap<usize, Value> {
    let (mut done, mut running) = (BTreeMap::new(), JoinSet::new());
    for person in people {
        let work = what(person);
        running.spawn(async move { (person, work.await) });
        if running.len() >= 40 {
            done.extend(running.join_next().await.map(|one| one.expect("no panic")));
        }
    }
    done.extend(running.join_all().await);
    done
}

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_person_caused_is_counted_apart() {
    let _turn = turn(1).await;
    let service = start().await;
    author(&service, json!({})).await;
    let remote = Remote::clone(&service);
    // more clicks a minute than one network's people make, and some programs before
    each(0..320, |person| {
        let remote = remote.clone();
        async move {
            let item = decide(&remote, person, &json!({})).await;
            beacon(&remote, &item, "impression_url", if person < 10 { BOT } else { BROWSER }).await;
            item
        }
    })
    .await
    .into_iter()
    .fold(JoinSet::new(), |mut clicks, (_, item)| {
        let remote = remote.clone();
        clicks.spawn(async move { beacon(&remote, &item, "click_url", BROWSER).await });
        clicks
    })
    .join_all()
    .await;
    let made = report(&service, "").await;
    assert_eq!(made["invalid_traffic"], json!({"known_program": 10, "impossible_rate": 20, "replay": 0}), "{made:#}");
    assert_eq!((&made["totals"]["impressions"], &made["totals"]["clicks"]), (&json!(310), &json!(300)));
    let rows = made["rows"].as_array().expect("rows").iter();
    assert_eq!(rows.map(|row| row["counts"]["clicks"].as_u64().expect("a count")).sum::<u64>(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_that_is_not_what_it_should_be_blocks_the_lift() {
    let _turn = turn(1).await;
    let service = start().await;
    author(&service, json!({"holdout": 0.5})).await;
    // what it could find is told before anybody has seen it
    let plan = async |people: &str| report(&service, people).await["plan"].clone();
    let (few, many) = (plan("?people=2000").await, plan("?people=200000").await);
    let least = |plan: &Value| plan["minimum_detectable_lift"].as_f64().expect("a lift");
    assert_eq!((&few["people"], &many["people"]), (&json!(2_000), &json!(200_000)));
    assert!(0.0 < least(&many) && least(&many) < 0.2 && least(&few) > 5.0 * least(&many), "{few} {many}");
    assert_eq!((&many["assumed_per_person"], &many["holdout"]), (&json!(0.02), &json!(0.5)));
    let (often, small) = (plan("?people=200000&per_person=0.5").await, plan("?people=200000&holdout=0.01").await);
    assert_eq!((&often["assumed_per_person"], &small["holdout"]), (&json!(0.5), &json!(0.01)));
    assert!(least(&often) < least(&many) && least(&small) > least(&many), "{often} {small}");
    for (query, pointer) in [
        ("from=2026-11-22&to=2026-11-21", "/to"),
        ("per_person=0", "/per_person"),
        ("per_person=NaN", "/per_person"),
        ("holdout=1", "/holdout"),
        ("people=0", "/people"),
    ] {
        let request = service.request(Method::GET, &format!("/v1/campaigns/trial/report?{query}"));
        let errors = read(request.sent().await, 422).await["errors"].take();
        assert_eq!((&errors[0]["pointer"], errors.as_array().map(Vec::len)), (&json!(pointer), Some(1)), "{query}");
    }
    let day = service.request(Method::GET, "/v1/campaigns/trial/report?from=2026-11-22&to=2026-11-22");
    read(day.sent().await, 200).await;

    let remote = Remote::clone(&service);
    let shown = each(0..1_300, |person| {
        let remote = remote.clone();
        // pretended, so that nobody is enrolled
        async move { decide(&remote, person, &json!({"preview": {"force_segments": []}})).await }
    })
    .await;
    let chosen = |item: &Value| !item["components"]["headline"].is_null();
    let (personalised, held): (Vec<_>, Vec<_>) = shown.iter().partition(|(_, item)| chosen(item));
    assert!(personalised.len() > 560 && held.len() > 560, "half of them each");
    let enrol = |people: Vec<usize>| {
        let remote = remote.clone();
        each(people, move |person| {
            let remote = remote.clone();
            async move { decide(&remote, person, &json!({})).await }
        })
    };
    let of =
        |people: &[(&usize, &Value)], count: usize| people.iter().take(count).map(|(person, _)| **person).collect();
    // both sides alike at first
    enrol(of(&personalised, 60)).await;
    enrol(of(&held, 60)).await;
    let fair = report(&service, "").await["lift"].take();
    assert_eq!((&fair["sample_ratio"]["mismatch"], &fair["sample_ratio"]["people"]), (&json!(false), &json!(120)));
    assert_eq!(fair["result"]["state"], "not_enough_data", "{fair:#}");
    // then one side only, as where a tag loses the other
    enrol(of(&personalised, 560)).await;
    let lost = report(&service, "").await["lift"].take();
    assert_eq!(lost["sample_ratio"]["seen_control"], 60);
    assert!(lost["sample_ratio"]["p_value"].as_f64().is_some_and(|p| p < 0.001), "{lost:#}");
    assert_eq!(
        (&lost["sample_ratio"]["mismatch"], &lost["result"]),
        (&json!(true), &json!({"state": "sample_ratio_mismatch"}))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_be_counted_is_in_no_experiment() {
    let _turn = turn(1).await;
    let service = start().await;
    author(&service, json!({"holdout": 0.5})).await;
    let remote = Remote::clone(&service);
    let consents = [json!(["basic", "profile_read"]), json!(["basic", "profile_read", "measure"])];
    for (at, asserted) in consents.iter().enumerate() {
        let more = json!({"consent": {"gdpr": true, "asserted": asserted}});
        let items = each(at * 100..at * 100 + 30, |person| {
            let (remote, more) = (remote.clone(), more.clone());
            async move {
                let item = decide(&remote, person, &more).await;
                beacon(&remote, &item, "impression_url", BROWSER).await;
                item
            }
        })
        .await;
        let held = items.values().filter(|item| item["reason"] == "holdout").count();
        assert!(if at == 0 { held == 0 } else { held > 1 }, "{held} with {asserted}");
    }
    let lift = report(&service, "").await["lift"].take();
    assert_eq!(lift["excluded"], json!({"impressions": 60, "no_key": 0, "no_consent": 30}), "{lift:#}");
    assert_eq!((&lift["excluded_share"], &lift["sample_ratio"]["people"]), (&json!(0.5), &json!(30)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_add_up_and_are_of_those_who_were_asked_for() {
    let _turn = turn(1).await;
    let service = start().await;
    author(&service, json!({"holdout": 0.4, "control": "even", "rotation": "even"})).await;
    let remote = Remote::clone(&service);
    let asks = [
        json!({"context": {"geo": {"country": "US"}, "device": {"type": "mobile"}}}),
        json!({"placements": [{"id": "top", "placement": "home", "candidates": {"campaign": "trial"}}]}),
        json!({"user": null}),
    ];
    each(0..90, |person| {
        let (remote, mut more) = (remote.clone(), asks[person % 3].clone());
        if person % 3 < 2 {
            more["user"] =
                json!({"key": format!("u-{person}"), "traits": {"age": if person % 2 == 0 { 30 } else { 12 }}});
        } else {
            more = json!({"user": {}});
        }
        async move {
            let item = decide(&remote, person, &more).await;
            beacon(&remote, &item, "impression_url", BROWSER).await;
            item
        }
    })
    .await;
    let sums = async |query: &str| {
        let made = report(&service, query).await;
        let rows = made["rows"].as_array().expect("rows").clone();
        let seen = |row: &Value| row["counts"]["impressions"].as_u64().expect("a count");
        let of: BTreeMap<String, u64> = rows.iter().map(|row| (row["key"].to_string(), seen(row))).collect();
        (of.values().sum::<u64>(), of, made["arm"].clone())
    };
    for by in ["day", "device", "placement", "arm"] {
        let (sum, rows, arm) = sums(&format!("?by={by}")).await;
        assert_eq!((sum, &arm), (90, &json!("all")), "{by}: {rows:?}");
    }
    let (_, devices, _) = sums("?by=device").await;
    assert_eq!(devices, [("{\"device\":\"\"}".to_owned(), 60), ("{\"device\":\"mobile\"}".to_owned(), 30)].into());
    let (_, placements, _) = sums("?by=placement").await;
    assert_eq!(placements, [("{}".to_owned(), 60), ("{\"placement\":\"home\"}".to_owned(), 30)].into());
    // the control shows components as well, in another way
    let (all, ..) = sums("?by=component&arm=all").await;
    let (chosen, _, arm) = sums("?by=component").await;
    let (control, ..) = sums("?by=component&arm=control").await;
    assert_eq!((all, arm), (90, json!("chosen")));
    assert!(control > 4 && chosen + control == all, "{chosen} and {control}");
    let (personalised, ..) = sums("?by=slot&arm=personalised").await;
    let (unassigned, ..) = sums("?by=slot&arm=unassigned").await;
    assert_eq!((unassigned, personalised + unassigned), (30, chosen));
    // who responds to what is known also where nothing is targeted
    let (adults, rows, _) = sums("?by=segment&arm=all").await;
    assert_eq!((adults, rows.len()), (30, 1), "{rows:?}");
    read(service.request(Method::GET, "/v1/campaigns/trial/report?arm=some").sent().await, 422).await;
}
