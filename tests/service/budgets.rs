//! Campaigns that bid by themselves, and what they spend.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cluster,
    harness::{Patient as _, Service, read, until},
    lint::lint,
    service, turn,
};

fn campaign(more: &Value) -> Value {
    let mut campaign = json!({
        "name": "Bids", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/bids", "cpm": {"amount": "2.00", "currency": "USD"},
        "budget": {"daily": "0.020", "total": "0.022", "currency": "USD"}
    });
    campaign.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    campaign
}

fn request(imp: &Value) -> Value {
    let mut request = json!({
        "id": "r-1", "site": {"page": "https://news.example/"}, "tmax": 5_000,
        "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}]}, "bidfloor": 0.5}]
    });
    request["imp"][0].as_object_mut().expect("an object").extend(imp.as_object().expect("an object").clone());
    request
}

/// The bid on an impression at a time, or why there is none.
async fn bid(service: &Service, imp: &Value, time: &str) -> Result<Value, u64> {
    let sent = service.request(Method::POST, "/openrtb2/bid?nbr=1").header("tessera-time", time).json(&request(imp));
    let mut answer = read(sent.sent().await, 200).await;
    if answer["seatbid"].is_array() {
        lint(request(imp).to_string().as_bytes(), answer.to_string().as_bytes());
    }
    match answer["nbr"].as_u64() {
        Some(reason) => Err(reason),
        None => Ok(answer["seatbid"][0]["bid"][0].take()),
    }
}

async fn bill(service: &Service, bid: &Value, price: &str, time: &str) -> String {
    let url = bid["burl"].as_str().expect("an address");
    let url = url.replace("${AUCTION_PRICE}", price).replace("${AUCTION_CURRENCY}", "USD");
    let answer = service.http.get(url).header("tessera-time", time).sent().await;
    answer.headers()["tessera-outcome"].to_str().expect("ASCII").to_owned()
}

async fn budget(service: &Service) -> Value {
    read(service.request(Method::GET, "/v1/campaigns/bids/budget").sent().await, 200).await
}

async fn simulated(database: &str) -> Service {
    Service::start(database, |config| config.http.simulation = true).await
}

/// Tells a service what time it is, and waits until it has bid money for that day or seen that there
/// is none.
async fn tell(service: &Service, time: &str) {
    until("it knows the campaign", async || {
        let told = service.request(Method::GET, "/v1/campaigns/bids/budget").header("tessera-time", time);
        told.sent().await.status() == 200
    })
    .await;
    // the first time may have begun before
    for _ in 0..2 {
        asked_again(service).await;
    }
}

/// Waits until a service has asked for money, of which there is news then.
async fn asked_again(service: &Service) {
    let from = Instant::now();
    until("it has asked", async || {
        let least = from.elapsed().as_millis();
        budget(service).await["state_age_ms"].as_u64().is_some_and(|age| u128::from(age) < least)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_never_spend_more_than_is_due() {
    let _turn = turn(2).await;
    let database = cluster().await.database().await;
    let replicas = [simulated(&database).await, simulated(&database).await];
    // before there is a budget, so that neither takes a lease on another day
    for replica in &replicas {
        let told = replica.request(Method::GET, "/v1/campaigns").header("tessera-time", "2026-03-01T12:00:00Z");
        read(told.sent().await, 200).await;
    }
    replicas[0].put("/v1/campaigns/bids", &campaign(&json!({}))).await;
    let spent = |answer: &Value| answer["spent_today"].as_str().expect("an amount").parse::<f64>().expect("a number");
    // an impression costs 0.002; the day's 0.020 come evenly, the total of 0.022 ends it
    let mut won = 0;
    for (time, due, at_most) in [
        ("2026-03-01T12:00:00Z", 5, 5),
        ("2026-03-01T18:00:00Z", 7, 7),
        ("2026-03-01T23:59:50Z", 9, 9),
        ("2026-03-02T12:00:00Z", 11, 11),
    ] {
        for replica in &replicas {
            tell(replica, time).await;
        }
        for _ in 0..4 {
            // more auctions than there is money for, all of them won
            for replica in &replicas {
                for _ in 0..6 {
                    if let Ok(bid) = bid(replica, &json!({}), time).await {
                        assert_eq!((&bid["price"], &bid["cid"]), (&json!(2), &json!("bids")));
                        assert_eq!(bill(replica, &bid, "2.00", time).await, "recorded");
                        won += 1;
                    }
                }
            }
            assert!(won <= at_most, "{won} of {at_most} at {time}");
            for replica in &replicas {
                asked_again(replica).await;
            }
        }
        assert!(won >= due - 1, "{won} of {due} at {time}: the money is spent");
        for replica in &replicas {
            assert_eq!(bid(replica, &json!({}), time).await, Err(510), "nothing is left at {time}");
        }
    }
    let answer = budget(&replicas[1]).await;
    assert_eq!(answer["day"], "2026-03-02", "{answer}");
    assert!(spent(&answer) <= 0.0221 && answer["spent_total"].as_str() <= Some("0.022"), "{answer}");
    assert_eq!(answer["bidding"], false, "{answer}");
    assert!(answer["state_age_ms"].as_u64().expect("an age") < 10_000, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_billed_is_counted_once_and_never_above_the_bid() {
    let _turn = turn(1).await;
    let service = simulated(&cluster().await.database().await).await;
    let noon = "2026-03-01T12:00:00Z";
    let rich = json!({"budget": {"daily": "1000", "currency": "USD"}, "deals": ["d-1"]});
    service.put("/v1/campaigns/bids", &campaign(&rich)).await;
    let answer = read(service.request(Method::GET, "/v1/campaigns/bids/budget").sent().await, 200).await;
    assert_eq!(
        (&answer["daily"], &answer["total"], &answer["spent_today"]),
        (&json!("1000"), &Value::Null, &json!("0"))
    );
    read(service.request(Method::GET, "/v1/campaigns/spring/budget").sent().await, 404).await;
    tell(&service, noon).await;
    // a bidder that names the line pays for it
    let named = json!({"ext": {"tessera": {"campaign": "bids", "price": "1.50"}}});
    let named = bid(&service, &named, noon).await.expect("a bid");
    assert_eq!(bill(&service, &named, "1.50", noon).await, "recorded");
    let mut expected = 0_u64;
    for (price, micros) in [
        ("1.23", 1_230_u64),
        ("1.2345678", 1_234),
        ("99", 2_000),
        ("", 2_000),
        ("AUDIT", 2_000),
        ("$%7BAUCTION_PRICE%7D", 2_000),
        ("-1", 2_000),
        ("0", 2_000),
    ] {
        let bid = bid(&service, &json!({}), noon).await.expect("a bid");
        assert_eq!(bill(&service, &bid, price, noon).await, "recorded", "{price}");
        for _ in 0..10 {
            assert_eq!(bill(&service, &bid, price, noon).await, "duplicate", "{price}");
        }
        expected += micros;
    }
    let total = format!("0.{:06}", expected).trim_end_matches('0').to_owned();
    until("all is counted", || async { budget(&service).await["spent_today"] == total }).await;
    assert_eq!(budget(&service).await["impressions_today"], 8);
    // what is only tried out takes nothing
    let tried = request(&json!({}));
    let tried = json!({"id": "t", "site": {}, "test": 1, "imp": tried["imp"]});
    let sent = service.request(Method::POST, "/openrtb2/bid").header("tessera-time", noon).json(&tried).sent().await;
    let tried = read(sent, 200).await["seatbid"][0]["bid"][0].take();
    assert_eq!(bill(&service, &tried, "2", noon).await, "unknown");
    // floors, currencies, private auctions, and lines that are named
    for (imp, told) in [
        (json!({"bidfloor": 2.0}), Ok("2")),
        (json!({"bidfloor": 2.01}), Err(504)),
        (json!({"bidfloorcur": "EUR"}), Err(503)),
        (json!({"pmp": {"private_auction": 1, "deals": [{"id": "d-2"}]}}), Err(505)),
        (json!({"pmp": {"private_auction": 1, "deals": [{"id": "d-2"}, {"id": "d-1"}]}}), Ok("d-1")),
        (json!({"ext": {"tessera": {"campaign": "spring"}}}), Err(503)),
        (json!({"ext": {"tessera": {"campaign": "spring", "price": "9"}}}), Ok("9")),
        (json!({"banner": {"w": 160, "h": 600}}), Err(507)),
        (json!({"ext": {"other": 7}}), Ok("2")),
        (json!({"ext": {"bidder": 7, "tessera": null}}), Ok("2")),
        // what names a line and cannot be read is nobody's bid
        (json!({"ext": {"tessera": {"campaign": "spring", "price": {"amount": "9"}}}}), Err(502)),
        (json!({"ext": {"tessera": {"campaign": 7}}}), Err(502)),
        (json!({"ext": {"tessera": "spring"}}), Err(502)),
        (json!({"ext": {"bidder": {"campaign": "spring", "price": []}}}), Err(502)),
        (json!({"ext": {"prebid": {"bidder": {"tessera": {"creative": {}}}}}}), Err(502)),
    ] {
        let got = bid(&service, &imp, noon).await;
        let got = got.map(|bid| bid["dealid"].as_str().map_or(bid["price"].to_string(), str::to_owned));
        assert_eq!(got.as_deref().map_err(|why| *why), told, "{imp}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_named_without_a_price_spends_its_own_money() {
    let _turn = turn(1).await;
    let service = simulated(&cluster().await.database().await).await;
    let noon = "2026-03-01T12:00:00Z";
    // one impression of 0.002 by noon
    service.put("/v1/campaigns/bids", &campaign(&json!({"budget": {"daily": "0.004", "currency": "USD"}}))).await;
    tell(&service, noon).await;
    let named = json!({"ext": {"tessera": {"campaign": "bids"}}});
    let held = bid(&service, &named, noon).await.expect("a bid");
    assert_eq!((&held["price"], &held["cid"]), (&json!(2), &json!("bids")));
    assert_eq!(bid(&service, &named, noon).await, Err(510), "what was bid may yet be billed");
    assert_eq!(bid(&service, &json!({}), noon).await, Err(510), "it is the same money");
    assert_eq!(bill(&service, &held, "1.50", noon).await, "recorded");
    until("it is counted", || async { budget(&service).await["spent_today"] == "0.0015" }).await;
    tell(&service, noon).await;
    assert_eq!(bid(&service, &named, noon).await, Err(510), "nothing is left that is due");
    // who names a price pays it
    let priced = json!({"ext": {"tessera": {"campaign": "bids", "price": "2.00"}}});
    let priced = bid(&service, &priced, noon).await.expect("a bid");
    assert_eq!(bill(&service, &priced, "2.00", noon).await, "recorded");
    tell(&service, noon).await;
    assert_eq!(budget(&service).await["spent_today"], "0.0015");
    // nothing of it goes to whom the campaign is not for, though it has a creative for everybody
    let aimed = json!({"budget": {"daily": "1000", "currency": "USD"}, "default_creative": "fallback",
        "targeting": {"context": "geo.country", "eq": "NZ"}});
    service.put("/v1/campaigns/aimed", &campaign(&aimed)).await;
    tell(&service, noon).await;
    assert_eq!(bid(&service, &json!({"ext": {"tessera": {"campaign": "aimed"}}}), noon).await, Err(507));
    let priced = json!({"ext": {"tessera": {"campaign": "aimed", "price": "2.00"}}});
    assert!(bid(&service, &priced, noon).await.is_ok(), "who names a price has chosen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_that_is_paused_remembers_what_it_has_bid() {
    let _turn = turn(1).await;
    let service = simulated(&cluster().await.database().await).await;
    let noon = "2026-03-01T12:00:00Z";
    // one impression in all
    let document = |status: &str| {
        campaign(&json!({"status": status, "budget": {"daily": "1", "total": "0.002", "currency": "USD"}}))
    };
    service.put("/v1/campaigns/bids", &document("active")).await;
    tell(&service, noon).await;
    let held = bid(&service, &json!({}), noon).await.expect("a bid");
    for status in ["paused", "active"] {
        let put = service.request(Method::PUT, "/v1/campaigns/bids").header("if-match", "*").json(&document(status));
        read(put.sent().await, 200).await;
        match status {
            // money is asked for every second; nobody asks for a campaign that does not run
            "paused" => tokio::time::sleep(Duration::from_millis(2_200)).await,
            _ => tell(&service, noon).await,
        }
    }
    assert_eq!(bid(&service, &json!({}), noon).await, Err(510), "the bid of before may yet be billed");
    assert_eq!(bill(&service, &held, "2", noon).await, "recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_money_left_bids_for_the_next_impression() {
    let _turn = turn(1).await;
    let service = simulated(&cluster().await.database().await).await;
    let noon = "2026-03-01T12:00:00Z";
    // of the day's 0.004 half is due at noon: one impression of 0.002
    let short = json!({"priority": 1, "budget": {"daily": "0.004", "currency": "USD"}});
    service.put("/v1/campaigns/bids", &campaign(&short)).await;
    let rich = json!({"priority": 2, "budget": {"daily": "1000", "currency": "USD"}});
    service.put("/v1/campaigns/rich", &campaign(&rich)).await;
    tell(&service, noon).await;
    let mut asked = request(&json!({}));
    asked["imp"] = json!([asked["imp"][0], asked["imp"][0], asked["imp"][0]]);
    (0..3).for_each(|at| asked["imp"][at]["id"] = json!(at.to_string()));
    let sent = service.request(Method::POST, "/openrtb2/bid?nbr=1").header("tessera-time", noon).json(&asked);
    let answer = read(sent.sent().await, 200).await;
    lint(asked.to_string().as_bytes(), answer.to_string().as_bytes());
    let bids = answer["seatbid"][0]["bid"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let lines: Vec<_> = bids.iter().map(|bid| bid["cid"].as_str().expect("a line")).collect();
    assert_eq!(lines, ["bids", "rich", "rich"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_budget_is_told() {
    let (service, _turn) = service().await;
    let put = async |more: Value| {
        let put = service.request(Method::PUT, "/v1/campaigns/bids").header("if-none-match", "*");
        let answer = read(put.json(&campaign(&more)).sent().await, 422).await;
        let pointers: Vec<_> =
            answer["errors"].as_array().expect("errors").iter().map(|e| e["pointer"].clone()).collect();
        json!(pointers)
    };
    assert_eq!(
        put(json!({"budget": {"daily": "0", "total": "-1", "currency": "EUR"}})).await,
        json!(["/budget/daily", "/budget/total", "/budget/currency"])
    );
    assert_eq!(
        put(json!({"cpm": null, "budget": {"daily": "9000000001", "currency": "USD"}})).await,
        json!(["/budget/daily", "/budget"])
    );
    assert_eq!(
        put(json!({"budget": {"daily": 5, "currency": "usd", "weekly": "1"}})).await.as_array().map(Vec::len),
        Some(3)
    );
    // nobody bids by themselves without a budget: the line is missing
    let sent = service.request(Method::POST, "/openrtb2/bid?nbr=1").json(&request(&json!({}))).sent().await;
    assert_eq!(read(sent, 200).await["nbr"], 502);
}
