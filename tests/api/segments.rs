//! Segments as their authors see them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Patient as _, Service, send, tour};

fn dynamic(condition: &Value) -> Value {
    json!({"v": 1, "kind": "dynamic", "match": condition})
}

pub(crate) async fn a_rule_is_previewed_before_anybody_uses_it(service: Arc<Service>) {
    let (mark, grown) = (service.name("mark"), service.name("grown"));
    let rule = json!({"name": "Grown", "rule": dynamic(&json!({"trait": "age", "gte": 18}))});
    service.create(&format!("/v1/segments/{grown}"), &rule).await;
    for age in 0..40 {
        let traits = json!({"traits": {"batch": mark, "age": age}});
        assert_eq!(service.patch(&format!("/v1/profiles/{mark}-{age}"), &traits).await.status, 200);
    }
    // of another type: no comparison of numbers holds, and the author is told
    let traits = json!({"traits": {"batch": mark, "age": "forty"}});
    assert_eq!(service.patch(&format!("/v1/profiles/{mark}-text"), &traits).await.status, 200);
    let all = json!({"all": [{"trait": "batch", "eq": mark}, {"trait": "age", "lt": 30}, {"not": {"trait": "age", "lt": 10}}]});
    let ask = json!({"rule": dynamic(&all), "overlap": [grown], "members": 3});
    let began = Instant::now();
    let answer = loop {
        let answer = service.post("/v1/segments/preview", &ask).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        if answer["conditions"][0]["keeps"]["people"] == 41 {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the sample follows: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let exactly = |people: u64| json!({"people": people, "at_least": people, "at_most": people});
    assert_eq!((&answer["size"], &answer["exact"]), (&exactly(20), &json!(true)), "few people are all in the sample");
    assert_eq!(answer["overlap"][0]["segment"], grown.as_str());
    assert_eq!(answer["overlap"][0]["both"], exactly(12));
    let drops: Vec<_> = answer["conditions"].as_array().expect("conditions").iter().map(|one| &one["drops"]).collect();
    assert_eq!(drops[1..], [&exactly(11), &exactly(10)]);
    let mistyped: Vec<_> =
        answer["conditions"].as_array().expect("conditions").iter().map(|one| &one["mistyped"]).collect();
    assert_eq!(mistyped, [&exactly(0), &exactly(1), &exactly(1)]);
    assert_eq!(answer["conditions"][2]["pointer"], "/match/all/2/not");
    assert_eq!(answer["members"].as_array().expect("members").len(), 3);
    assert!(
        answer["members"]
            .as_array()
            .expect("members")
            .iter()
            .all(|user| user.as_str().is_some_and(|user| user.starts_with(&mark)))
    );
    assert_eq!(answer["lint"], json!([]));

    let mut everybody = ask.clone();
    everybody["exact"] = json!(true);
    let exact = service.post("/v1/segments/preview", &everybody).await.json();
    assert_eq!((&exact["size"], &exact["exact"]), (&exactly(20), &json!(true)), "{exact}");

    let unknown = json!({"rule": dynamic(&json!({"any": [{"segment": "nobodys"}]})), "overlap": [grown, "nobodys"]});
    let faults = service.post("/v1/segments/preview", &unknown).await.faults(422);
    let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["/rule/match/any/0/segment", "/overlap/1"]);
    service.post("/v1/segments/preview", &json!({"rule": {"v": 1, "kind": "static"}})).await.faults(422);
    // nobody's events of this kind are kept yet, which is not the same as nobody having any
    let unread = json!({"event": "sailed", "count": {"gte": 1}, "in": {"last": "P30D"}});
    // other segments of the account may wait for theirs just now
    let unread = json!({"rule": dynamic(&unread), "exact": true, "overlap": []});
    let unread = service.post("/v1/segments/preview", &unread).await.json();
    assert_eq!((&unread["unread_events"], &unread["exact"]), (&json!(["sailed"]), &json!(false)));
    assert_eq!(exact["unread_events"], json!([]));
    // an object is no list of its members
    let listed = service.post("/v1/segments/preview", &json!([dynamic(&all)])).await.faults(422);
    assert_eq!(listed[0].0, "");
    service.post("/v1/segments/preview", &json!({"rule": dynamic(&all), "members": 21})).await.faults(422);
}

pub(crate) async fn authors_are_told_what_to_look_at(service: Arc<Service>) {
    let key = service.name("odd");
    let path = format!("/v1/segments/{key}");
    let rule = json!({"all": [{"trait": "age", "gt": 30}, {"trait": "age", "gte": 18}, {"trait": "agee", "lt": 9}]});
    assert_eq!(service.patch("/v1/profiles/lint", &json!({"traits": {"age": 1}})).await.status, 200);
    let ask = json!({"rule": dynamic(&rule)});
    let began = Instant::now();
    while service.post("/v1/segments/preview", &ask).await.json()["lint"].as_array().expect("lint").len() != 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "the sample follows");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = service.create(&path, &json!({"name": "Odd", "rule": dynamic(&rule)})).await.json();
    let found: Vec<_> =
        answer["lint"].as_array().expect("lint").iter().map(|one| (&one["pointer"], &one["code"])).collect();
    let expected =
        [(json!("/rule/match/all/1"), json!("shadowed")), (json!("/rule/match/all/2/trait"), json!("unknown_trait"))];
    assert_eq!(found, expected.iter().map(|(place, code)| (place, code)).collect::<Vec<_>>());
    let detail = answer["lint"][1]["detail"].as_str().expect("words");
    assert!(detail.contains("did you mean \"age\"?"), "{detail}");
    assert!(service.get(&path).await.json().get("lint").is_none());
}

pub(crate) async fn a_segment_keeps_its_versions(service: Arc<Service>) {
    let key = service.name("versions");
    let path = format!("/v1/segments/{key}");
    let doc = |age: u32| json!({"name": "V", "rule": dynamic(&json!({"trait": "age", "gte": age}))});
    let first = service.create(&path, &doc(18)).await;
    let second = service.put(&path, first.header("etag"), &doc(21)).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let all = service.get(&format!("{path}/versions?limit=1")).await.json();
    assert_eq!(all["items"][0]["document"]["rule"]["match"]["gte"], 21);
    assert!(all["items"][0].get("until").is_none() && all["items"][0]["changed_by"].is_string());
    let rest = service.get(&format!("{path}/versions?after={}", all["next"].as_str().expect("more"))).await.json();
    assert_eq!(rest["items"].as_array().expect("items").len(), 1);
    assert_eq!(rest["items"][0]["until"], all["items"][0]["version"]);
    assert_eq!(rest["items"][0]["document"]["rule"]["match"]["gte"], 18);
    service.get("/v1/segments/nobodys/versions").await.faults(404);
}

pub(crate) async fn events_count_from_the_moment_a_rule_is_kept(service: Arc<Service>) {
    for at in 0..10 {
        let (key, user) = (service.name("prompt"), service.name("u"));
        let rule = dynamic(&json!({"event": key, "count": {"gte": 1}, "in": {"last": "P1D"}}));
        service.create(&format!("/v1/segments/{key}"), &json!({"name": "Prompt", "rule": rule})).await;
        let kept = service.post("/v1/events", &json!({"user": user, "type": key})).await;
        assert_eq!(kept.status, 200, "{}", kept.text());
        let held = service.get(&format!("/v1/profiles/{user}/segments")).await.json();
        assert_eq!(held["segments"][0]["key"], key.as_str(), "the first event of rule {at}: {held}");
    }
}

/// What was told of a segment so far, oldest first.
async fn told(service: &Service, key: &str) -> Vec<(String, String)> {
    let page = service.get(&format!("/v1/segments/{key}/transitions")).await.json();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    page["items"].as_array().expect("items").iter().map(|one| (text(&one["user"]), text(&one["event"]))).collect()
}

pub(crate) async fn who_enters_and_leaves_is_told(service: Arc<Service>) {
    let (young, list, user) = (service.name("young"), service.name("list"), service.name("u"));
    let mine = json!({"all": [{"trait": "age", "lt": 30}, {"trait": "owner", "eq": user}]});
    service.create(&format!("/v1/segments/{young}"), &json!({"name": "Young", "rule": dynamic(&mine)})).await;
    service.create(&format!("/v1/segments/{list}"), &json!({"name": "L", "rule": {"v": 1, "kind": "static"}})).await;
    let request = service.request(reqwest::Method::GET, &format!("/v1/segments/{young}/transitions"));
    let mut stream = request.header("accept", "text/event-stream").sent().await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let profile = format!("/v1/profiles/{user}");
    for traits in [json!({"age": 20, "owner": user}), json!({"age": 25}), json!({"age": 40})] {
        assert_eq!(service.patch(&profile, &json!({"traits": traits})).await.status, 200);
        // one after the other, so that their order is known
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    service.post(&format!("/v1/segments/{list}/members"), &json!({"add": [user]})).await;
    let pair = |event: &str| (user.clone(), event.to_owned());
    let began = Instant::now();
    while told(&service, &young).await != [pair("entered"), pair("left")]
        || told(&service, &list).await != [pair("entered")]
    {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", told(&service, &young).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut text = String::new();
    while !text.contains("event: left") {
        let piece = stream.chunk().await.expect("a piece").expect("the stream goes on");
        text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
    }
    assert!(text.find("event: entered").is_some_and(|at| at < text.find("event: left").expect("both")), "{text}");
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    let (begun, first) = (ids.next().expect("where it began"), ids.next().expect("an id").to_owned());
    let since = service.get(&format!("/v1/segments/{young}/transitions?after={begun}")).await.json();
    assert_eq!(since["items"].as_array().map(Vec::len), Some(2), "who was told nothing has missed nothing");

    let page = service.get(&format!("/v1/segments/{young}/transitions?limit=1")).await.json();
    assert_eq!(page["next"], first.as_str());
    let rest = service.get(&format!("/v1/segments/{young}/transitions?after={first}")).await.json();
    assert_eq!(rest["items"][0]["event"], "left");
    let again = service.request(reqwest::Method::GET, &format!("/v1/segments/{young}/transitions"));
    let again = again.header("accept", "text/event-stream").header("last-event-id", &first);
    let (mut again, mut text) = (again.sent().await, String::new());
    while !text.contains("event: ") {
        let piece = again.chunk().await.expect("a piece").expect("the stream goes on");
        text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
    }
    assert!(text.contains("event: left") && !text.contains("event: entered"), "{text}");
    service.get("/v1/segments/nobodys/transitions").await.faults(404);
    service.get(&format!("/v1/segments/{young}/transitions?after=x")).await.faults(422);
}

pub(crate) async fn what_time_alone_does_is_told_when_it_has_lasted(service: Arc<Service>) {
    let (left, damped, user) = (service.name("left"), service.name("damped"), service.name("u"));
    // an event of its own name: nobody else's are about it
    let began = service.name("began");
    let sequence = json!({"sequence": {"start": {"event": began}, "then": [{"not": "purchase", "within": "PT2S"}],
        "lookback": "PT5S"}});
    let mut rule = dynamic(&sequence);
    service.create(&format!("/v1/segments/{left}"), &json!({"name": "Left", "rule": rule})).await;
    rule["enter_hold"] = json!("PT4S");
    let held = service.create(&format!("/v1/segments/{damped}"), &json!({"name": "Damped", "rule": rule})).await;
    assert_eq!(held.json()["warnings"].as_array().map_or(0, Vec::len), 0, "{}", held.text());
    let before = service.get(&format!("/v1/profiles/{user}/segments")).await;
    assert_eq!(before.status, 404);
    let event = json!({"user": user, "type": began, "id": user});
    let answer = service.post("/v1/events", &event).await;
    assert_eq!(answer.json()["accepted"], 1, "{}", answer.text());
    let (now, patience) = (Instant::now(), Duration::from_secs(30));
    let moves = loop {
        let page = service.get(&format!("/v1/segments/{left}/transitions")).await.json();
        let moves = page["items"].as_array().expect("items").clone();
        if moves.len() == 2 {
            break moves;
        }
        assert!(now.elapsed() < patience, "{moves:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((&moves[0]["event"], &moves[1]["event"]), (&json!("entered"), &json!("left")));
    let at = |one: &Value| one["at"].as_str().expect("an instant").parse::<jiff::Timestamp>().expect("an instant");
    let between = at(&moves[1]).as_millisecond() - at(&moves[0]).as_millisecond();
    assert_eq!(between, 3_000, "from the end of the grace to that of the lookback, to the millisecond");
    assert_eq!(told(&service, &damped).await, [], "3 seconds are less than 4");
}

pub(crate) async fn what_uploads_and_erasures_do_is_told(service: Arc<Service>) {
    let (list, calm, ask) = (service.name("list"), service.name("calm"), "transitions?limit=500");
    service.create(&format!("/v1/segments/{list}"), &json!({"name": "L", "rule": {"v": 1, "kind": "static"}})).await;
    let rule = dynamic(&json!({"all": [{"trait": "owner", "eq": list}, {"not": {"list": list}}]}));
    service.create(&format!("/v1/segments/{calm}"), &json!({"name": "Calm", "rule": rule})).await;
    let users: Vec<String> = (0..1_200).map(|n| format!("{list}-{n}")).collect();
    for user in &users[..2] {
        service.patch(&format!("/v1/profiles/{user}"), &json!({"traits": {"owner": list}})).await;
    }
    let told = async |key: &str, count: usize| {
        let (mut all, began) = (Vec::new(), Instant::now());
        while all.len() < count {
            assert!(began.elapsed() < Duration::from_secs(20), "{key}: {} of {count} told", all.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (mut more, mut after) = (true, String::new());
            all.clear();
            while more {
                let page = service.get(&format!("/v1/segments/{key}/{ask}{after}")).await.json();
                all.extend(page["items"].as_array().expect("items").clone());
                more = page["next"].as_str().inspect(|next| after = format!("&after={next}")).is_some();
            }
        }
        assert_eq!(all.len(), count, "{key}");
        all
    };
    told(&calm, 2).await;
    let upload = async |mode: &str, users: &[String]| {
        let path = format!("/v1/segments/{list}/members?mode={mode}");
        let request = service.request(reqwest::Method::POST, &path).header("content-type", "text/csv");
        send(request.body(format!("user\n{}", users.join("\n")))).await.json()["changed"].clone()
    };
    assert_eq!(upload("add", &users).await, 1_200);
    assert!(told(&list, 1_200).await.iter().all(|one| one["event"] == "entered" && one["erased"].is_null()));
    assert!(told(&calm, 4).await[2..].iter().all(|one| one["event"] == "left"), "whoever rests on the list is told");
    assert_eq!(upload("add", &users).await, 0);
    assert_eq!(upload("replace", &users[1..]).await, 1);
    let last = told(&list, 1_201).await.pop().expect("the last");
    assert_eq!((&last["event"], &last["user"]), (&json!("left"), &json!(users[0])));
    let back = told(&calm, 5).await.pop().expect("the last");
    assert_eq!((&back["event"], &back["user"]), (&json!("entered"), &json!(users[0])));

    let person = back["person"].clone();
    send(service.request(reqwest::Method::DELETE, &format!("/v1/profiles/{}", users[0]))).await;
    let began = Instant::now();
    // what was told of them before is gone
    while told(&calm, 3).await[2]["erased"] != true {
        assert!(began.elapsed() < Duration::from_secs(20), "the erasure is told");
    }
    let gone = told(&calm, 3).await.pop().expect("the last");
    assert_eq!((&gone["event"], &gone["person"], &gone["user"]), (&json!("left"), &person, &json!(null)));
    told(&list, 1_199).await;
}

/// The script that the README shows, against this service.
pub(crate) async fn the_tour_shows_how_a_person_moves(service: Arc<Service>) {
    let Some(said) = tour(&service, "docs/tour-segments.sh", Path::new("/dev/null")).await else { return };
    let held = |part: &str| -> Vec<String> {
        let lines = part.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut keys: Vec<_> = lines.filter_map(|line| Some(line.get("key")?.as_str()?.to_owned())).collect();
        keys.sort();
        keys
    };
    let parts: Vec<Vec<String>> = said.split("\n# ").skip(1).map(held).collect();
    let none: [&str; 0] = [];
    assert_eq!(parts[..2], [none, none], "{said}");
    assert_eq!(parts[2], ["young-buyers"], "{said}");
    assert_eq!(parts[3], ["young-buyers"], "nothing moves yet: {said}");
    assert_eq!(parts[4], ["basket-left", "young-buyers"], "{said}");
    assert_eq!(parts[5], ["young-buyers"], "{said}");
    assert_eq!(parts[6], none, "{said}");
    assert_eq!(parts[7], ["basket-left"], "{said}");
    assert!(said.contains("3 basket_emptied"), "{said}");
}
