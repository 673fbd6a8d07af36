//! Reports, from people and their changes.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    harness::{Patient as _, Service, read, until},
    in_one_day,
};

async fn report(service: &Service, query: &str, status: u16) -> Value {
    read(service.request(Method::GET, &format!("/v1/reports/segments{query}")).sent().await, status).await
}

fn named<'a>(list: &'a Value, field: &str, name: &str) -> &'a Value {
    let found = list.as_array().expect("a list").iter().find(|one| one[field] == name);
    found.unwrap_or_else(|| panic!("{name} in {list:#}"))
}

fn people(count: u64) -> Value {
    json!({"people": count, "at_least": count, "at_most": count})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_put_side_by_side() {
    in_one_day().await;
    let (service, _turn) = crate::service().await;
    for (city, age, count) in [("Berlin", 30, 12), ("Rome", 30, 8), ("=Oslo", 30, 5), ("Rome", 10, 10)] {
        for n in 0..count {
            service.patch(&format!("{city}-{age}-{n}"), &json!({"city": city, "age": age, "vip": n == 0})).await;
        }
    }
    until("all are counted", || async {
        let all = report(&service, "", 200).await;
        all["asked"] == 35 && named(&all["segments"], "key", "adults")["entered"] == 25
    })
    .await;
    let all = report(&service, "", 200).await;
    assert_eq!((&all["population"], &all["exact"], &all["kept_days"]), (&people(35), &json!(true), &json!(30)));
    let keys: Vec<_> = all["segments"].as_array().expect("segments").iter().map(|one| &one["key"]).collect();
    assert_eq!(keys, ["adults", "berliners", "vip"]);
    let adults = named(&all["segments"], "key", "adults");
    assert_eq!((&adults["size"], &adults["share"], &adults["left"]), (&people(25), &json!(0.7143), &json!(0)));
    assert_eq!(adults["days"][0], json!({"day": all["to"], "entered": 25, "left": 0}));
    assert_eq!(
        all["overlap"][0],
        json!({"one": "adults", "other": "berliners", "both": people(12), "of_one": 0.48, "of_other": 1.0})
    );
    assert_eq!(all["overlap"].as_array().map(Vec::len), Some(3));
    assert_eq!(all["overlap"][2]["of_other"], Value::Null, "nobody is in the empty list");
    let city = named(&adults["traits"], "trait", "city");
    assert_eq!((&city["known"], &city["known_everywhere"]), (&json!(1.0), &json!(1.0)));
    let berlin = json!({"value": "Berlin", "people": people(12), "share": 0.48, "everywhere": 0.3429, "index": 140.0});
    assert_eq!(city["values"][0], berlin);
    assert_eq!((&city["values"][1]["value"], &city["values"][1]["index"]), (&json!("Rome"), &json!(62.2)));
    let vip = named(&adults["traits"], "trait", "vip");
    assert_eq!(vip["values"].as_array().map(Vec::len), Some(1), "three people might be named by it: {vip:#}");
    assert_eq!(all["left_out"], json!([{"trait": "age", "attribute": "an age"}]));

    let asked = report(&service, "?segments=berliners&allow_protected=age", 200).await;
    assert_eq!((&asked["left_out"], &asked["overlap"]), (&json!([]), &json!([])));
    let age = named(&asked["segments"][0]["traits"], "trait", "age");
    assert_eq!((&age["values"][0]["value"], &age["values"][0]["index"]), (&json!(30.0), &json!(140.0)));

    service.patch("Berlin-30-0", &json!({"age": 10, "plan": "free"})).await;
    until("who left is counted, and a new trait is known", || async {
        let all = report(&service, "?segments=adults", 200).await;
        let adults = &all["segments"][0];
        adults["left"] == 1 && adults["size"]["people"] == 24
    })
    .await;

    let csv = service.request(Method::GET, "/v1/reports/segments").header(header::ACCEPT, "text/csv").sent().await;
    assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    let table = csv.text().await.expect("a table");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("row,segment,other,day,trait,value,people,at_least,at_most,share"), "{table}");
    assert!(lines.contains(&"size,adults,,,,,24,24,24,0.6857,,,25,1"), "{table}");
    assert!(lines.iter().any(|line| line.starts_with("day,adults,,20") && line.ends_with(",25,1")), "{table}");
    assert!(lines.contains(&"overlap,adults,berliners,,,,11,11,11,0.4583,,,,"), "{table}");
    assert!(lines.contains(&"trait,adults,,,city,'=Oslo,5,5,5,0.2083,0.1429,145.8,,"), "{table}");
    assert!(lines.iter().all(|line| line.split(',').count() == 14), "{table}");
    let forced = service.request(Method::GET, "/v1/reports/segments?format=json").header(header::ACCEPT, "text/csv");
    assert_eq!(read(forced.sent().await, 200).await["asked"], 35);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reported_is_told_at_once() {
    let (service, _turn) = crate::service().await;
    let faults = async |query: &str| {
        let answer = report(&service, query, 422).await;
        let faults = answer["errors"].as_array().expect("faults").clone();
        faults.into_iter().map(|one| format!("{} {}", one["pointer"], one["code"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(
        faults("?segments=adults,nobodys,others&from=2020-01-01&to=2019-01-01").await,
        ["/segments/1 unknown_segment", "/segments/2 unknown_segment", "/from out_of_range", "/to out_of_range"]
    );
    assert_eq!(
        faults("?segments=adults,UP,,x&allow_protected=1").await,
        ["/segments/1 pattern", "/segments/2 pattern", "/allow_protected/0 pattern"]
    );
    let many: Vec<_> = (0..51).map(|_| "adults").collect();
    assert_eq!(faults(&format!("?segments={}", many.join(","))).await, ["/segments out_of_range"]);
    for query in ["?from=yesterday", "?format=xml", "?sgments=a"] {
        assert_eq!(faults(query).await.len(), 1, "{query}");
    }
    let made = service
        .request(Method::PUT, "/v1/keys/writer")
        .header("if-none-match", "*")
        .json(&json!({"scopes": ["author"]}))
        .sent()
        .await;
    let key = read(made, 201).await["secret"].as_str().expect("a secret").to_owned();
    let refused = service.http.get(format!("{}/v1/reports/segments", service.base)).bearer_auth(key);
    read(refused.sent().await, 403).await;
}
