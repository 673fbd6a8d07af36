//! Which conversions are a campaign's own, and how they are told of.

use reqwest::Method;
use serde_json::{Value, json};
use tessera::domain::values::Millis;

use crate::{
    harness::{Patient as _, Service, ask, read},
    in_one_day, turn,
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A service whose clock its requests set, with a campaign for purchases.
struct Shop {
    service: Service,
    start: Millis,
}

impl Shop {
    async fn open(attribution: Value) -> Self {
        Self::for_goal(json!({"conversion": "purchase"}), attribution).await
    }

    async fn for_goal(goal: Value, attribution: Value) -> Self {
        let database = crate::cluster().await.database().await;
        let service = Service::start(&database, |config| config.http.simulation = true).await;
        let campaign = json!({
            "name": "Shop", "advertiser": "northwind", "status": "active", "creatives": ["fallback"], "priority": 1,
            "landing_url": "https://northwind.example/", "goal": goal, "attribution": attribution, "rotation": "optimized"
        });
        service.put("/v1/campaigns/shop", &campaign).await;
        let start = service.server.engine().clock.now();
        let shop = Self { service, start };
        shop.refresh(0).await;
        shop
    }

    fn at(&self, ms: i64) -> String {
        self.start.plus(ms).to_string()
    }

    async fn refresh(&self, ms: i64) {
        let refresh = self.service.request(Method::POST, "/v1/simulation/refresh").header("tessera-time", self.at(ms));
        read(refresh.sent().await, 200).await;
    }

    async fn decide(&self, user: &str, ms: i64) -> Value {
        let mut body = ask(user, "home");
        body["placements"][0]["candidates"] = json!({"campaign": "shop"});
        let request =
            self.service.request(Method::POST, "/v1/decisions").header("tessera-time", self.at(ms)).json(&body);
        read(request.sent().await, 200).await["placements"]["top"][0].take()
    }

    async fn beacon(&self, url: &Value, ms: i64) {
        let url = url.as_str().expect("a beacon");
        let answer = self.service.http.get(url).header("tessera-time", self.at(ms)).sent().await;
        assert_eq!(answer.headers()["tessera-outcome"], "recorded");
    }

    async fn converts(&self, body: Value, ms: i64, status: u16) -> Value {
        let request = self.service.request(Method::POST, "/v1/conversions").header("tessera-time", self.at(ms));
        read(request.json(&body).sent().await, status).await
    }

    async fn report(&self, ms: i64) -> Value {
        self.refresh(ms).await;
        read(self.service.request(Method::GET, "/v1/campaigns/shop/report?by=day").sent().await, 200).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversion_counts_within_its_window() {
    let _turn = turn(1).await;
    let shop = Shop::open(json!({"click_days": 2, "view_days": 1})).await;
    let told = async |item: &Value, goal: &str, ms: i64| {
        let answer = shop.converts(json!({"token": item["conversion_token"], "goal": goal}), ms, 200).await;
        (answer["outcome"].as_str().expect("an outcome").to_owned(), answer["credit"].as_str().unwrap_or("").to_owned())
    };
    let is = |outcome: &str, credit: &str| (outcome.to_owned(), credit.to_owned());
    let mut items = Vec::new();
    for n in 0..6 {
        items.push(shop.decide(&format!("u-{n}"), 0).await);
    }
    for item in &items[..5] {
        shop.beacon(&item["impression_url"], HOUR).await;
    }
    for item in &items[..2] {
        shop.beacon(&item["click_url"], 2 * HOUR).await;
    }
    assert_eq!(told(&items[0], "purchase", 2 * HOUR + 2 * DAY).await, is("recorded", "click"));
    assert_eq!(told(&items[0], "purchase", 2 * HOUR + 2 * DAY).await, is("duplicate", ""));
    assert_eq!(told(&items[1], "purchase", 2 * HOUR + 2 * DAY + 1).await, is("expired", "late"));
    assert_eq!(told(&items[1], "purchase", 2 * HOUR + 2 * DAY + 1).await, is("expired", "late"), "once more");
    assert_eq!(told(&items[2], "purchase", HOUR + DAY).await, is("recorded", "view"));
    assert_eq!(told(&items[3], "purchase", HOUR + DAY + 1).await, is("recorded", "untouched"));
    assert_eq!(told(&items[4], "signup", 2 * HOUR).await, is("recorded", "other_goal"));
    // up to five minutes before the impression counts, more does not
    shop.beacon(&items[5]["impression_url"], 3 * HOUR).await;
    let early = json!({"token": items[5]["conversion_token"], "goal": "purchase", "conversion_id": "early",
                       "at": shop.at(3 * HOUR - 300_001)});
    assert_eq!(shop.converts(early, 3 * HOUR, 200).await["credit"], "untouched");
    assert_eq!(told(&items[5], "purchase", 3 * HOUR - 300_000).await, is("recorded", "view"));

    let report = shop.report(3 * DAY).await;
    let totals = &report["totals"];
    assert_eq!((&totals["conversions"], &totals["view_conversions"]), (&json!(3), &json!(2)), "{report:#}");
    assert_eq!(report["unattributed"], json!({"untouched": 2, "other_goal": 1, "late": 1}));
    assert_eq!(report["goal"], "conversion");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversion_waits_for_its_click() {
    let _turn = turn(1).await;
    let shop = Shop::open(json!({})).await;
    let item = shop.decide("u-1", 0).await;
    let body =
        json!({"token": item["conversion_token"], "goal": "purchase", "value": {"amount": "12.50", "currency": "EUR"}});
    assert_eq!(shop.converts(body.clone(), HOUR, 200).await["credit"], "untouched");
    shop.beacon(&item["impression_url"], HOUR).await;
    assert_eq!(shop.report(HOUR).await["totals"]["conversions"], 0);
    // told of late, as a replica's local log does after an outage
    shop.beacon(&item["click_url"], HOUR - 1).await;
    crate::harness::until("it is the campaign's", || async { shop.report(HOUR).await["totals"]["conversions"] == 1 })
        .await;
    let report = shop.report(HOUR).await;
    assert_eq!(report["totals"]["value_micros"], 12_500_000);
    assert_eq!(report["unattributed"], json!({"untouched": 0, "other_goal": 0, "late": 0}));
    assert_eq!(shop.converts(body, HOUR, 200).await["outcome"], "duplicate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_whose_click_led_to_it() {
    let _turn = turn(1).await;
    let shop = Shop::open(json!({})).await;
    let (seen, clicked) = (shop.decide("anna", 0).await, shop.decide("anna", 0).await);
    for item in [&seen, &clicked] {
        shop.beacon(&item["impression_url"], 0).await;
    }
    shop.beacon(&clicked["click_url"], 0).await;
    let order = |item: &Value, order: &str| json!({"token": item["conversion_token"], "goal": "purchase", "conversion_id": order});
    // told of first where nobody clicked
    assert_eq!(shop.converts(order(&seen, "o-1"), HOUR, 200).await["credit"], "untouched");
    let answer = shop.converts(order(&clicked, "o-1"), HOUR, 200).await;
    assert_eq!((&answer["outcome"], &answer["credit"]), (&json!("recorded"), &json!("click")), "{answer}");
    for item in [&seen, &clicked] {
        assert_eq!(shop.converts(order(item, "o-1"), HOUR, 200).await["outcome"], "duplicate");
    }
    // at once, in whatever order
    for (number, items) in [("o-2", [&seen, &clicked]), ("o-3", [&clicked, &seen])] {
        let lines = items.map(|item| order(item, number).to_string()).join("\n");
        let request = shop.service.request(Method::POST, "/v1/conversions").header("tessera-time", shop.at(HOUR));
        let sent = request.header("content-type", "application/x-ndjson").body(lines).sent().await;
        read(sent, 200).await;
    }
    // who clicks later has nothing of them
    shop.beacon(&seen["click_url"], HOUR).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let report = shop.report(HOUR).await;
    assert_eq!(report["totals"]["conversions"], 3, "{report:#}");
    assert_eq!(report["unattributed"], json!({"untouched": 0, "other_goal": 0, "late": 0}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_converts_on_what_they_last_clicked() {
    let _turn = turn(1).await;
    let shop = Shop::open(json!({"view_days": 7})).await;
    let (first, second, seen) =
        (shop.decide("anna", 0).await, shop.decide("anna", HOUR).await, shop.decide("ben", 0).await);
    for (item, ms) in [(&first, 0), (&second, HOUR), (&seen, 0)] {
        shop.beacon(&item["impression_url"], ms).await;
    }
    shop.beacon(&first["click_url"], 2 * HOUR).await;
    shop.beacon(&second["click_url"], 3 * HOUR).await;
    let by =
        |user: &str, order: &str| json!({"user": user, "campaign": "shop", "goal": "purchase", "conversion_id": order});
    for (user, order, outcome, credit) in [
        ("anna", "o-1", "recorded", json!("click")),
        ("anna", "o-1", "duplicate", Value::Null),
        ("ben", "o-2", "recorded", json!("view")),
        ("ben", "o-1", "duplicate", Value::Null),
        ("carl", "o-3", "unknown", json!("untouched")),
    ] {
        let answer = shop.converts(by(user, order), 4 * HOUR, 200).await;
        assert_eq!((&answer["outcome"], &answer["credit"]), (&json!(outcome), &credit), "{user} {order}");
    }
    // a browser clicked, then somebody logged in
    let item = shop.decide("web.1", 0).await;
    shop.beacon(&item["impression_url"], 0).await;
    shop.beacon(&item["click_url"], HOUR).await;
    let merge = shop.service.request(Method::POST, "/v1/profiles/web.1/merge/dora");
    for user in ["web.1", "dora"] {
        shop.service.patch(user, &json!({"age": 30})).await;
    }
    read(merge.sent().await, 200).await;
    assert_eq!(shop.converts(by("dora", "o-4"), 4 * HOUR, 200).await["credit"], "click");
    assert_eq!(shop.converts(by("web.1", "o-5"), 4 * HOUR, 200).await["credit"], "click");
    // of the two that anna clicked it is the last one's
    let without_order = json!({"token": second["conversion_token"], "goal": "purchase"});
    assert_eq!(shop.converts(without_order.clone(), 4 * HOUR, 200).await["outcome"], "recorded");
    let same = json!({"user": "anna", "campaign": "shop", "goal": "purchase"});
    assert_eq!(shop.converts(same, 4 * HOUR, 200).await["outcome"], "duplicate");
    // without a goal it is what the campaign is for
    for unsaid in [
        json!({"token": second["conversion_token"]}),
        json!({"token": second["conversion_token"], "conversion_id": "o-1"}),
        json!({"user": "ben", "campaign": "shop", "conversion_id": "o-2"}),
    ] {
        assert_eq!(shop.converts(unsaid.clone(), 4 * HOUR, 200).await["outcome"], "duplicate", "{unsaid}");
    }
    let report = shop.report(4 * HOUR).await;
    assert_eq!((&report["totals"]["conversions"], &report["totals"]["view_conversions"]), (&json!(5), &json!(1)));

    // what is wrong is told at once, and what names people needs a key
    let wrong = json!({"user": "anna", "campaign": "nothing", "conversion_id": "", "value": {"amount": "-1", "currency": "EUR"},
                       "at": shop.at(-121 * DAY)});
    let pointers = |answer: &Value| {
        let errors = answer["errors"].as_array().expect("errors").iter();
        errors.map(|error| error["pointer"].as_str().expect("a pointer").to_owned()).collect::<Vec<_>>()
    };
    let answer = shop.converts(wrong, 4 * HOUR, 422).await;
    assert_eq!(pointers(&answer), ["/conversion_id", "/value/amount", "/at", "/campaign"]);
    for (body, pointer) in [
        (json!({"user": "anna"}), "/campaign"),
        (json!({"campaign": "shop"}), "/user"),
        (json!({"goal": "purchase"}), "/token"),
        (json!({"token": "x", "user": "anna"}), "/token"),
        (json!({"token": "x"}), "/token"),
        (json!({"token": "x", "value": {"amount": "NaN", "currency": "EUR"}}), "/value/amount"),
    ] {
        assert_eq!(pointers(&shop.converts(body, 0, 422).await), [pointer]);
    }
    let open = |body: Value| shop.service.http.post(format!("{}/v1/conversions", shop.service.base)).json(&body).sent();
    read(open(by("anna", "o-9")).await, 401).await;
    read(open(json!({"token": second["conversion_token"], "at": shop.at(0)})).await, 401).await;
    read(open(without_order).await, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_conversions_come_as_a_table_or_as_lines() {
    let _turn = turn(1).await;
    let shop = Shop::open(json!({})).await;
    for user in ["anna", "ben"] {
        let item = shop.decide(user, 0).await;
        shop.beacon(&item["impression_url"], 0).await;
        shop.beacon(&item["click_url"], HOUR).await;
    }
    let item = shop.decide("dora", 0).await;
    shop.beacon(&item["impression_url"], 0).await;
    shop.beacon(&item["click_url"], HOUR).await;
    let (token, at) = (item["conversion_token"].as_str().expect("a token"), shop.at(2 * HOUR));
    let table = format!(
        "token,user,campaign,goal,conversion_id,value,currency,at\n\
         ,anna,shop,purchase,o-1,59.90,EUR,{at}\n\
         ,ben,shop,purchase,o-1,59.90,EUR,{at}\n\
         ,carl,shop,purchase,o-3,,,{at}\n\
         ,ben,shop,purchase,o-4,-5,EUR,{at}\n\
         {token},,,purchase,o-5,10,EUR,{at}\n\
         forged,,,purchase,o-6,,,\n\
         ,ben,shop\n\
         ,ben,shop,signup,o-7,,,{at}\n"
    );
    let send = async |path: &str, kind: &str, body: String, key: &str, status: u16| {
        let request =
            shop.service.request(Method::POST, path).header("tessera-time", shop.at(DAY)).header("content-type", kind);
        read(request.header("idempotency-key", key).body(body).sent().await, status).await
    };
    let dry = send("/v1/conversions?dry_run=true", "text/csv", table.clone(), "dry", 200).await;
    assert_eq!(shop.report(DAY).await["totals"]["conversions"], 0, "{dry:#}");
    let done = send("/v1/conversions", "text/csv", table.clone(), "one", 200).await;
    assert_eq!(dry, done, "a dry run says what would be");
    assert_eq!(
        done,
        json!({
            "rows": 8, "recorded": 3, "accepted": 0, "duplicates": 1, "expired": 0, "unknown": 1, "rejected": 3,
            "not_counted": [{"line": 4, "outcome": "unknown", "credit": "untouched"},
                            {"line": 9, "outcome": "recorded", "credit": "other_goal"}],
            "errors": [
                {"line": 5, "pointer": "/value/amount", "code": "range", "detail": "must be 0 to 1000000000"},
                {"line": 7, "pointer": "/token", "code": "invalid_token", "detail": "must be a conversion_token of this service"},
                {"line": 8, "code": "columns", "detail": "must have 8 fields as the first row, not 3"}
            ]
        })
    );
    assert_eq!(send("/v1/conversions", "text/csv", table.clone(), "one", 200).await, done, "the same request again");
    let again = send("/v1/conversions", "text/csv", table, "two", 200).await;
    assert_eq!((&again["recorded"], &again["duplicates"]), (&json!(0), &json!(4)));
    let lines = format!(
        "{{\"user\":\"ben\",\"campaign\":\"shop\",\"goal\":\"purchase\",\"conversion_id\":\"o-8\",\"at\":\"{at}\"}}\n{{\"user\":1}}\nno\n"
    );
    let lines = send("/v1/conversions", "application/x-ndjson", lines, "three", 200).await;
    assert_eq!(
        (&lines["rows"], &lines["recorded"], &lines["rejected"]),
        (&json!(3), &json!(1), &json!(2)),
        "{lines:#}"
    );
    let report = shop.report(DAY).await;
    assert_eq!((&report["totals"]["conversions"], &report["totals"]["value_micros"]), (&json!(3), &json!(69_900_000)));
    assert_eq!(report["unattributed"]["other_goal"], 1);
    for (key, body) in [("four", "user,age\n"), ("five", "")] {
        let answer = send("/v1/conversions", "text/csv", body.into(), key, 422).await;
        assert_eq!(answer["errors"][0]["pointer"], "/1");
    }
    let open =
        shop.service.http.post(format!("{}/v1/conversions", shop.service.base)).header("content-type", "text/csv");
    read(open.body("user,campaign\n").sent().await, 401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_for_value_counts_what_conversions_are_worth() {
    let _turn = turn(1).await;
    let usual = json!({"amount": "50.00", "currency": "EUR"});
    let shop = Shop::for_goal(json!({"value": {"conversion": "purchase", "usual": usual}}), json!({})).await;
    let bought = async |user: &str, value: Value, status: u16| {
        let item = shop.decide(user, 0).await;
        shop.beacon(&item["impression_url"], 0).await;
        shop.beacon(&item["click_url"], 0).await;
        let mut body = json!({"token": item["conversion_token"], "goal": "purchase"});
        if !value.is_null() {
            body["value"] = value;
        }
        shop.converts(body, HOUR, status).await
    };
    assert_eq!(bought("u-1", json!({"amount": "200.00", "currency": "EUR"}), 200).await["credit"], "click");
    assert_eq!(bought("u-2", json!({"amount": "0", "currency": "EUR"}), 200).await["credit"], "click");
    assert_eq!(bought("u-3", Value::Null, 200).await["credit"], "click");
    for (value, pointer) in [
        (json!({"amount": "5.00", "currency": "USD"}), "/value/currency"),
        (json!({"amount": "-5.00", "currency": "EUR"}), "/value/amount"),
        (json!({"amount": "1000000000.01", "currency": "EUR"}), "/value/amount"),
        (json!({"amount": "NaN", "currency": "EUR"}), "/value/amount"),
        (json!({"amount": "Infinity", "currency": "EUR"}), "/value/amount"),
        (json!({"amount": 5, "currency": "EUR"}), "/value/amount"),
    ] {
        let answer = bought("u-4", value, 422).await;
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{answer:#}");
    }
    // a pixel says as much, in the same currency
    let pixel = async |query: &str| {
        let item = shop.decide("u-5", 0).await;
        let token = item["conversion_token"].as_str().expect("a token");
        let counted = shop.service.http.get(format!("{}/v1/x/{token}?goal=purchase&{query}", shop.service.base));
        shop.beacon(&item["click_url"], 0).await;
        let answer = counted.header("tessera-time", shop.at(HOUR)).sent().await;
        answer.headers()["tessera-outcome"].to_str().expect("ASCII").to_owned()
    };
    for query in
        ["value=5.00&currency=USD", "value=5.00", "currency=EUR", "value=-1&currency=EUR", "value=1e3&currency=EUR"]
    {
        assert_eq!(pixel(query).await, "invalid", "{query}");
    }
    assert_eq!(pixel("value=20.00&currency=EUR").await, "recorded");
    let report = shop.report(HOUR).await;
    assert_eq!((&report["goal"], &report["totals"]["value_micros"]), (&json!("value"), &json!(270_000_000)));
    let rate = &report["rate"];
    let (impressions, end) =
        (report["totals"]["impressions"].as_f64().expect("a count"), |name: &str| rate["interval"][name].as_f64());
    let value = rate["value"].as_f64().expect("a rate");
    assert!((value - 270.0 / impressions).abs() < 1e-9, "{report:#}");
    assert!(end("low") < Some(value) && end("high") > Some(value), "{report:#}");
    let evaluate = shop.service.request(Method::POST, "/v1/campaigns/shop/evaluate").json(&json!({"rotation": "even"}));
    assert_eq!(read(evaluate.sent().await, 200).await["reward"], "value");
    let wrong = shop.service.request(Method::PUT, "/v1/campaigns/wrong").header("if-none-match", "*").json(&json!({
        "name": "Wrong", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "attribution": {"click_days": 0, "view_days": 31},
        "goal": {"value": {"conversion": "purchase", "usual": {"amount": "0", "currency": "EUR"}}}
    }));
    let answer = read(wrong.sent().await, 422).await;
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(3), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_and_those_who_are_not_counted_are_told_apart() {
    in_one_day().await;
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |config| config.http.simulation = true).await;
    let campaign = json!({
        "name": "Shop", "advertiser": "northwind", "status": "active", "creatives": ["fallback"], "priority": 1,
        "landing_url": "https://northwind.example/", "holdout": 0.5
    });
    service.put("/v1/campaigns/shop", &campaign).await;
    let shop = Shop { start: service.server.engine().clock.now(), service };
    shop.refresh(0).await;
    let asks = [
        json!({"user": {"key": "u-1"}}),
        json!({}),
        json!({"user": {"key": "u-2"}, "consent": {"us_privacy": "1YYN"}}),
        json!({"user": {"key": "u-3"}, "consent": {"us_privacy": "1YYN"}}),
    ];
    for more in asks {
        let mut body = json!({"placements": [{"id": "top", "placement": "home", "candidates": {"campaign": "shop"}}],
                              "context": {"geo": {"country": "US"}}});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let item = shop.service.decide(&body).await["placements"]["top"][0].take();
        let url = item["impression_url"].as_str().expect("a beacon");
        assert_eq!(shop.service.beacon(url).await.1, "recorded");
        for _ in 0..3 {
            assert_eq!(shop.service.beacon(url).await.1, "duplicate");
        }
    }
    let report = shop.report(0).await;
    assert_eq!(report["invalid_traffic"], json!({"known_program": 0, "impossible_rate": 0, "replay": 12}));
    assert_eq!(report["rows"][0]["counts"]["invalid"]["replay"], 12, "of the day");
    let rows = async |query: &str| {
        let path = format!("/v1/campaigns/shop/report{query}");
        read(shop.service.request(Method::GET, &path).sent().await, 200).await["rows"].take()
    };
    assert!(rows("?by=arm").await[0]["counts"]["invalid"].get("replay").is_none(), "not known of which");
    assert!(rows("?by=day&arm=unassigned").await[0]["counts"]["invalid"].get("replay").is_none());
    assert_eq!(report["totals"]["impressions"], 4);
    let excluded = &report["lift"]["excluded"];
    assert_eq!(
        (&excluded["no_key"], &excluded["no_consent"], &excluded["impressions"]),
        (&json!(1), &json!(2), &json!(4)),
        "{report:#}"
    );
    // by pixel a conversion that comes again is a repeat, unless its order number says why
    let item = shop.decide("u-9", 0).await;
    let pixel = format!("{}/v1/x/{}", shop.service.base, item["conversion_token"].as_str().expect("a token"));
    for (query, outcome) in
        [("", "recorded"), ("?conversion_id=o-1", "recorded"), ("", "duplicate"), ("?conversion_id=o-1", "duplicate")]
    {
        assert_eq!(shop.service.beacon(&format!("{pixel}{query}")).await.1, outcome);
    }
    let again = json!({"token": item["conversion_token"]});
    assert_eq!(shop.converts(again, 0, 200).await["outcome"], "duplicate");
    assert_eq!(shop.report(0).await["invalid_traffic"]["replay"], 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversion_waits_two_days_of_the_time_that_is_told() {
    let _turn = turn(1).await;
    let shop = Shop::open(json!({})).await;
    let (one, other) = (shop.decide("u-1", 0).await, shop.decide("u-2", 0).await);
    for (item, at) in [(&one, HOUR), (&other, 3 * DAY)] {
        let body = json!({"token": item["conversion_token"], "goal": "purchase"});
        assert_eq!(shop.converts(body, at, 200).await["credit"], "untouched");
    }
    // the first look comes after a second, whatever time is told, and for one of them it is the last
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    shop.refresh(3 * DAY).await;
    for (item, at) in [(&one, HOUR - 1), (&other, 3 * DAY - 1)] {
        shop.beacon(&item["click_url"], at).await;
    }
    crate::harness::until("the later one is the campaign's", || async {
        shop.report(3 * DAY).await["totals"]["conversions"] == 1
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let report = shop.report(3 * DAY).await;
    assert_eq!((&report["totals"]["conversions"], &report["unattributed"]["untouched"]), (&json!(1), &json!(1)));
}
