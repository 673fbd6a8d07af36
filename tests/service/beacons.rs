//! What is counted after a decision, and what is not.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tessera::domain::{
    ids::{DecisionId, Uid},
    measurement::beacon::{Claim, Tokens},
    values::Span,
};
use uuid::Uuid;

use crate::{
    harness::{Cluster, Patient as _, Service, ask, read},
    turn,
};

/// A service with a way to count what is in its store.
struct Counted {
    service: Service,
    database: String,
}

impl Counted {
    async fn start(cluster: &Cluster) -> Self {
        let database = cluster.database().await;
        Self { service: Service::start(&database, |_| {}).await, database }
    }

    /// Outcomes in the store, whatever they are of.
    async fn count(&self) -> i64 {
        let mut connection = PgConnection::connect(&self.database).await.expect("a connection");
        sqlx::query_scalar("select count(*) from outcome").fetch_one(&mut connection).await.expect("a count")
    }

    async fn converts(&self, body: Value, status: u16) -> Value {
        let sent = self.service.http.post(format!("{}/v1/conversions", self.service.base)).json(&body).sent();
        read(sent.await, status).await
    }
}

fn url<'a>(item: &'a Value, of: &str) -> &'a str {
    item[of].as_str().unwrap_or_else(|| panic!("{of} in {item:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_counts_once_however_often_it_is_told() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let item = here.service.item("anna", "home").await;
    let conversion = format!("{}/v1/x/{}", here.service.base, url(&item, "conversion_token"));
    let doors = [url(&item, "impression_url"), url(&item, "view_url"), url(&item, "click_url"), &conversion];
    for (at, door) in doors.into_iter().enumerate() {
        let tells = (0..80).map(|_| {
            let (http, door) = (here.service.http.clone(), door.to_owned());
            tokio::spawn(async move {
                let answer = http.get(door).sent().await;
                answer.headers()["tessera-outcome"].to_str().expect("ASCII").to_owned()
            })
        });
        let mut recorded = 0;
        for tell in tells.collect::<Vec<_>>() {
            match tell.await.expect("no panic").as_str() {
                "recorded" => recorded += 1,
                other => assert_eq!(other, "duplicate"),
            }
        }
        assert_eq!((recorded, here.count().await), (1, at as i64 + 1), "{door}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_a_pixel_or_a_redirect() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let item = here.service.item("anna", "home").await;
    for of in ["impression_url", "view_url"] {
        let answer = here.service.http.get(url(&item, of)).sent().await;
        assert_eq!(answer.status(), 200);
        for (name, value) in [
            ("content-type", "image/gif"),
            ("cache-control", "no-store"),
            ("tessera-outcome", "recorded"),
            ("cross-origin-resource-policy", "cross-origin"),
        ] {
            assert_eq!(answer.headers()[name], value, "{of}");
        }
        assert!(answer.bytes().await.expect("a body").starts_with(b"GIF89a"));
    }
    for outcome in ["recorded", "duplicate"] {
        let answer = here.service.http.get(url(&item, "click_url")).sent().await;
        assert_eq!(answer.status(), 302);
        assert_eq!(answer.headers()["location"], "https://northwind.example/spring");
        assert_eq!(answer.headers()["tessera-outcome"], outcome);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_a_beacon_counts_nothing() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let (service, item) = (&here.service, here.service.item("anna", "home").await);
    let conversion = format!("{}/v1/x/{}", service.base, url(&item, "conversion_token"));
    let doors = [url(&item, "impression_url"), url(&item, "view_url"), url(&item, "click_url"), &conversion];
    for door in doors {
        let head = service.http.head(door).sent().await;
        assert_eq!(head.headers()["tessera-outcome"], "unknown", "{door}");
        assert_eq!(here.count().await, 0, "{door}");
    }
    for door in doors {
        let (head, get) = (service.http.head(door).sent().await, service.http.get(door).sent().await);
        assert_eq!(get.headers()["tessera-outcome"], "recorded", "{door}");
        assert_eq!(head.status(), get.status(), "{door}");
        for name in ["content-type", "content-length", "cache-control", "location", "cross-origin-resource-policy"] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{door} {name}");
        }
    }
    assert_eq!(here.count().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pixel_is_a_pixel_whatever_is_asked() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let (base, item) = (&here.service.base, here.service.item("anna", "home").await);
    let conversion = format!("{base}/v1/x/{}", url(&item, "conversion_token"));
    let long = "x".repeat(129);
    for address in [
        format!("{conversion}?value=3.00"),
        format!("{conversion}?goal=Not%20a%20name"),
        format!("{conversion}?conversion_id={long}"),
        format!("{base}/v1/i/%00%ff"),
        format!("{base}/v1/v/%ff"),
        format!("{base}/v1/x/%ff"),
    ] {
        let answer = here.service.http.get(&address).sent().await;
        let (status, outcome) = (answer.status().as_u16(), answer.headers()["tessera-outcome"].clone());
        assert_eq!((status, outcome.to_str().expect("ASCII")), (200, "invalid"), "{address}");
        assert_eq!(answer.headers()["content-type"], "image/gif");
        assert!(answer.bytes().await.expect("a body").starts_with(b"GIF89a"), "{address}");
    }
    assert_eq!(here.count().await, 0);
    let body = json!({"token": "forged", "goal": "purchase"});
    let answer = here.service.http.post(format!("{base}/v1/conversions")).json(&body).sent().await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["tessera-outcome"]),
        (422, &"invalid".parse().expect("a value"))
    );
}

/// Tokens for a decision of some days ago, as this service would have signed them.
fn aged(service: &Service, days: i64) -> Tokens {
    let world = service.server.engine().catalogue.world();
    let at = u128::from(service.server.engine().clock.now().plus(-days * 86_400_000).0.unsigned_abs());
    let decision = DecisionId(Uuid::from_u128(at << 80 | Uuid::now_v7().as_u128() & ((1 << 80) - 1)));
    let claim = Claim {
        account: world.named("default").expect("the account").number(),
        decision,
        campaign: Some("spring".parse().expect("an id")),
        creative: "spring".parse().expect("an id"),
        revision: 1,
        combination: 7,
        person: Some(Uid(1)),
        measured: true,
        cap_window: Some(Span::from_millis(86_400_000)),
        preview: false,
        exposure: None,
        price: None,
        budgeted: false,
    };
    world.tokens.sign(&claim, "https://northwind.example/spring")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forged_or_expired_counts_nothing() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let service = &here.service;
    let item = service.item("anna", "home").await;
    let (impression, click) = (url(&item, "impression_url"), url(&item, "click_url"));
    let (_, token) = impression.rsplit_once('/').expect("a token");
    // every character changed once, the token cut and grown, and tokens at each other's doors
    let mut forged: Vec<String> = (0..token.len())
        .map(|at| {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &token[..at], &token[at + 1..])
        })
        .collect();
    forged.extend([token[1..].to_owned(), token[..token.len() - 1].to_owned(), format!("{token}A"), "x".repeat(5_000)]);
    forged.push(click.rsplit_once('/').expect("a token").1.to_owned());
    for token in &forged {
        for door in ["i", "v", "x"] {
            let told = service.beacon(&format!("{}/v1/{door}/{token}", service.base)).await;
            // the last bits of base64 carry nothing: such a token is ours, spelled in another way
            assert_eq!(told, (200, "invalid".into()), "{door} {token}");
        }
        if *token != forged[forged.len() - 1] {
            let answer = service.http.get(format!("{}/v1/c/{token}", service.base)).sent().await;
            assert!(answer.headers().get("location").is_none());
            read(answer, 404).await;
        }
    }
    here.converts(json!({"token": token}), 422).await;
    assert_eq!(here.count().await, 0);

    // two days for impressions, thirty for clicks; an old click still arrives
    let (young, old, ancient) = (aged(service, 1), aged(service, 3), aged(service, 31));
    let door = |door: &str, token: &str| format!("{}/v1/{door}/{token}", service.base);
    for (tokens, seen, clicked, counted) in
        [(young, "recorded", "recorded", 4), (old, "expired", "recorded", 6), (ancient, "expired", "expired", 6)]
    {
        assert_eq!(service.beacon(&door("i", &tokens.impression)).await, (200, seen.into()));
        assert_eq!(service.beacon(&door("v", &tokens.viewable)).await, (200, seen.into()));
        assert_eq!(service.beacon(&door("c", &tokens.click)).await, (302, clicked.into()));
        assert_eq!(service.beacon(&door("x", &tokens.conversion)).await, (200, clicked.into()));
        assert_eq!(here.count().await, counted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_leads_nowhere_else() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let item = here.service.item("anna", "home").await;
    let click = url(&item, "click_url");
    for more in ["?url=https://evil.example", "?redirect=//evil.example", "?landing_url=https://evil.example&r=x"] {
        let answer = here.service.http.get(format!("{click}{more}")).sent().await;
        assert_eq!(answer.headers()["location"], "https://northwind.example/spring", "{more}");
    }
    for more in ["/https://evil.example", "%0d%0aLocation:%20https://evil.example", "//evil.example"] {
        let answer = here.service.http.get(format!("{click}{more}")).sent().await;
        assert!(answer.headers().get("location").is_none() && answer.status() == 404, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversions_count_once_by_order_or_by_decision() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let (one, other) = (here.service.item("anna", "home").await, here.service.item("ben", "home").await);
    let (one, other) = (url(&one, "conversion_token"), url(&other, "conversion_token"));
    let order = |token: &str, goal: &str, id: &str| json!({"token": token, "goal": goal, "conversion_id": id});
    for (body, outcome) in [
        (json!({"token": one, "goal": "purchase"}), "recorded"),
        (json!({"token": one, "goal": "purchase"}), "duplicate"),
        (json!({"token": one, "goal": "signup"}), "recorded"),
        (order(one, "purchase", "order-1"), "recorded"),
        (order(one, "purchase", "order-1"), "duplicate"),
        (order(other, "purchase", "order-1"), "duplicate"),
        (order(other, "purchase", "order-2"), "recorded"),
        (order(other, "signup", "order-1"), "recorded"),
    ] {
        let answer = here.converts(body.clone(), 200).await;
        assert_eq!(answer["outcome"], outcome, "{body}");
    }
    assert_eq!(here.count().await, 5);
    let value = json!({"token": other, "goal": "refund", "value": {"amount": "59.90", "currency": "USD"}});
    assert_eq!(here.converts(value, 200).await["outcome"], "recorded");
    for wrong in [
        json!({"token": one, "conversion_id": ""}),
        json!({"token": one, "conversion_id": "x".repeat(129)}),
        json!({"token": one, "value": {"amount": 5, "currency": "USD"}}),
        json!({"token": one, "extra": 1}),
        json!({"goal": "purchase"}),
    ] {
        here.converts(wrong, 422).await;
    }
    assert_eq!(here.count().await, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn previews_are_not_counted() {
    let _turn = turn(1).await;
    let here = Counted::start(crate::cluster().await).await;
    let mut body = ask("anna", "capped");
    body["preview"] = json!({});
    // nor do they use up a cap
    for _ in 0..3 {
        let answer = here.service.decide(&body).await;
        let item = &answer["placements"]["top"][0];
        assert_eq!(item["campaign"], "once");
        for of in ["impression_url", "view_url"] {
            assert_eq!(here.service.beacon(url(item, of)).await, (200, "unknown".into()));
        }
        assert_eq!(here.service.beacon(url(item, "click_url")).await, (302, "unknown".into()));
        let told = here.converts(json!({"token": url(item, "conversion_token")}), 200).await;
        assert_eq!(told["outcome"], "unknown");
    }
    assert_eq!(here.count().await, 0);
    assert_eq!(here.service.item("anna", "capped").await["campaign"], "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_impression_holds_the_cap() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    for user in ["anna", "ben", "carla"] {
        let first = service.item(user, "capped").await;
        assert_eq!(first["campaign"], "once");
        assert_eq!(service.beacon(url(&first, "impression_url")).await, (200, "recorded".into()));
        assert_eq!(service.item(user, "capped").await["campaign"], Value::Null);
    }
    // a start forgets reservations and no impression
    let data = service.data;
    service.server.shutdown().await;
    let service = Service::start_in(data, &database, |_| {}).await;
    for (user, campaign) in [("anna", Value::Null), ("ben", Value::Null), ("dora", json!("once"))] {
        assert_eq!(service.item(user, "capped").await["campaign"], campaign, "{user}");
    }
    let answer = service.request(Method::GET, "/v1/profiles/anna").sent().await;
    read(answer, 404).await;
}
