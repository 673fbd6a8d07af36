//! Paths, methods, ids, panics, overload and probes.

use tessera::http::{
    accept::Limits,
    admission::{AdmissionLimits, Class},
    problem::ProblemKind,
};

use crate::harness::{Service, request, start};

async fn service() -> Service {
    start(Limits::default(), AdmissionLimits::default()).await
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let service = service().await;
    service.get("/nowhere").await.problem(404);
    service.call("POST", "/", "", b"{}").await.problem(404);
    service.get("/problems/unheard-of").await.problem(404);
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let answer = service.call(method, "/orders", "", b"").await;
        answer.problem(405);
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
    let answer = service.call("POST", "/id", "", b"{}").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn head_says_what_get_would_say_without_saying_it() {
    let service = service().await;
    let mut client = service.connect().await;
    client.send(&request("HEAD", "/list", "", b"")).await;
    client.send(&request("HEAD", "/nowhere", "", b"")).await;
    client.send(&request("GET", "/list", "", b"")).await;
    let head = client.answer_to("HEAD").await.expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
    let missing = client.answer_to("HEAD").await.expect("an answer");
    assert_eq!((missing.status, missing.header("content-type")), (404, Some("application/problem+json")));
    assert_eq!(client.answer().await.expect("an answer").body, b"50");
}

#[tokio::test]
async fn parameters_that_do_not_parse_are_problems() {
    let service = service().await;
    assert_eq!(service.get("/items/7").await.body, b"7");
    let problem = service.get("/items/seven").await.problem(422);
    assert_eq!(problem["errors"][0]["code"], "path");
    service.get("/items/%ff").await.problem(400);
    assert_eq!(service.get("/list?limit=9").await.body, b"9");
    for query in ["limit=many", "limit=-1", "limit=300", "limit=", "page=2", "limit=1&limit=2"] {
        let problem = service.get(&format!("/list?{query}")).await.problem(422);
        assert_eq!(problem["errors"][0]["code"], "query", "{query}");
    }
}

#[tokio::test]
async fn every_answer_carries_an_id_and_safe_headers() {
    let service = service().await;
    let answer = service.call("GET", "/id", "x-request-id: my-id.1\r\n", b"").await;
    assert_eq!((answer.header("x-request-id"), answer.body.as_slice()), (Some("my-id.1"), &b"my-id.1"[..]));
    let (one, two) = (service.get("/id").await, service.get("/nowhere").await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    for answer in [&one, &two] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let hostile = service.call("GET", "/id", "x-request-id: a<script>\r\n", b"").await;
    assert!(!String::from_utf8(hostile.body).unwrap().contains("script"));
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_tells_nothing() {
    let service = service().await;
    let mut client = service.connect().await;
    for _ in 0..3 {
        client.send(&request("GET", "/boom", "", b"")).await;
        let answer = client.answer().await.expect("an answer on the same connection");
        let problem = answer.problem(500);
        assert_eq!(problem["type"], "/problems/internal");
        assert!(!problem.to_string().contains("anna"), "{problem}");
    }
    let failed = service.get("/fail").await.problem(500);
    assert!(!failed.to_string().contains("secret"), "{failed}");
    client.send(&request("GET", "/id", "", b"")).await;
    assert_eq!(client.answer().await.expect("an answer").status, 200);
    let metrics = String::from_utf8(service.get("/metrics").await.body).unwrap();
    for line in [
        "tessera_panics_total 3",
        r#"tessera_requests_total{route="/boom",status="5xx"} 3"#,
        r#"tessera_requests_total{route="/id",status="2xx"} 1"#,
        "tessera_connections_accepted_total 3",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is missing from\n{metrics}");
    }
}

#[tokio::test]
async fn a_full_class_is_refused_at_once_and_no_other() {
    let mut admission = AdmissionLimits::default();
    admission.0[Class::Reports as usize].in_flight = 2;
    let service = start(Limits::default(), admission).await;
    let mut busy = [service.connect().await, service.connect().await];
    for client in &mut busy {
        client.send(&request("GET", "/report/15000", "", b"")).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for _ in 0..10 {
        let began = std::time::Instant::now();
        let answer = service.get("/list").await;
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.json()["type"], "/problems/overloaded");
        assert_eq!(service.get("/id").await.status, 200, "decisions go on");
        assert_eq!(service.get("/healthz").await.status, 200);
    }
    for client in &mut busy {
        assert_eq!(client.answer().await.expect("an answer").body, b"waited");
    }
    assert_eq!(service.get("/list").await.status, 200, "and it recovers");
    let metrics = String::from_utf8(service.get("/metrics").await.body).unwrap();
    assert!(metrics.contains(r#"tessera_shed_total{class="reports"} 10"#), "{metrics}");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let mut admission = AdmissionLimits::default();
    admission.0[Class::Reports as usize].in_flight = 1;
    let service = start(Limits::default(), admission).await;
    for _ in 0..5 {
        let mut client = service.connect().await;
        client.send(&request("GET", "/report/60000", "", b"")).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(client);
    }
    let free = async {
        while service.get("/list").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, free).await.expect("the place is free again");
}

#[tokio::test]
async fn probes_tell_the_state() {
    let service = service().await;
    assert_eq!(service.get("/healthz").await.status, 200);
    assert_eq!(service.get("/readyz").await.status, 503);
    service.readiness.set("catalogue", true);
    assert_eq!(service.get("/readyz").await.json()["status"], "ready");
    service.readiness.drain();
    let draining = service.get("/readyz").await;
    assert_eq!((draining.status, draining.json()["status"].as_str()), (503, Some("draining")));
    assert_eq!(service.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn every_problem_type_is_documented() {
    let service = service().await;
    let list = String::from_utf8(service.get("/problems").await.body).unwrap();
    for kind in ProblemKind::ALL {
        let path = format!("/problems/{}", kind.slug());
        assert!(list.contains(&path), "{path}");
        let page = service.get(&path).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(String::from_utf8(page.body).unwrap().contains(kind.documentation()));
    }
}

#[tokio::test]
async fn large_lists_are_compressed_on_demand_only() {
    let service = service().await;
    let plain = service.get("/rows").await;
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 40_000));
    let zipped = service.call("GET", "/rows", "accept-encoding: gzip\r\n", b"").await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < 1_000);
    let small = service.call("GET", "/list", "accept-encoding: gzip\r\n", b"").await;
    assert_eq!(small.header("content-encoding"), None);
}
