//! Clients that are slow, hostile, many or still there when the service stops.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tessera::http::{accept::Limits, admission::AdmissionLimits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::harness::{Client, LARGE, PATIENCE, request, short, start};

/// Limits whose grace of one tick survives a busy machine.
fn calm() -> Limits {
    let seconds = Duration::from_secs(4);
    Limits { head: seconds, idle: seconds, write: seconds, ..Limits::default() }
}

/// Sends bytes one at a time until the server closes the connection.
async fn dribble(mut client: Client, bytes: Vec<u8>) {
    let mut buffer = [0; 4_096];
    for byte in bytes.iter().cycle() {
        client.send(&[*byte]).await;
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(50), client.0.read(&mut buffer)).await {
            return;
        }
    }
}

#[tokio::test]
async fn every_kind_of_slow_client_is_dropped_while_others_are_served() {
    let service = start(short(), AdmissionLimits::default()).await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..10 {
        // Says nothing.
        let client = service.connect().await;
        slow.spawn(async move { client.closed().await });
        // Never ends its head.
        let client = service.connect().await;
        slow.spawn(dribble(client, b"GET /id HTTP/1.1\r\nhost: test\r\nx-a: b\r\n".repeat(100)));
        // Never ends its body.
        let mut client = service.connect().await;
        client.send(b"POST /orders HTTP/1.1\r\nhost: test\r\ncontent-length: 200000\r\n\r\n").await;
        slow.spawn(dribble(client, b" ".to_vec()));
        // The same in chunks.
        let mut client = service.connect().await;
        client.send(b"POST /orders HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
        slow.spawn(dribble(client, b"1\r\n \r\n".to_vec()));
        // Asks once and stays.
        let mut client = service.connect().await;
        client.send(&request("GET", "/id", "", b"")).await;
        slow.spawn(async move { client.closed().await });
        // Asks once and then dribbles a second head.
        let mut client = service.connect().await;
        client.send(&request("GET", "/id", "", b"")).await;
        slow.spawn(dribble(client, b"GET /id HTTP/1.1\r\n".to_vec()));
        // Asks again and again and reads nothing.
        let mut client = service.connect().await;
        client.send(&request("GET", "/id", "", b"").repeat(200)).await;
        slow.spawn(async move {
            sleep(Duration::from_secs(2)).await;
            client.closed().await;
        });
    }
    let over = AtomicBool::new(false);
    let good = async {
        let mut served = 0;
        while !over.load(Ordering::Relaxed) {
            assert_eq!(service.get("/id").await.status, 200);
            served += 1;
        }
        served
    };
    let bad = async {
        timeout(PATIENCE, async { while slow.join_next().await.transpose().expect("no client fails").is_some() {} })
            .await
            .expect("every slow client is dropped");
        over.store(true, Ordering::Relaxed);
    };
    let (served, ()) = tokio::join!(good, bad);
    assert!(served > 10, "{served}");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_dropped() {
    let service = start(short(), AdmissionLimits::default()).await;
    let mut client = service.connect().await;
    client.send(&request("GET", "/large", "", b"")).await;
    // One byte now and then is not reading.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let _ = client.0.read_u8().await;
        sleep(Duration::from_millis(50)).await;
    }
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, client.0.read_to_end(&mut rest)).await.expect("the connection ends");
    assert!(rest.len() < LARGE, "the answer is cut short: {}", rest.len());
    let metrics = service.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains(r#"tessera_connections_cut_total{phase="write"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_body_slower_than_its_deadline_is_told_so() {
    let service = start(Limits { idle: PATIENCE, ..short() }, AdmissionLimits::default()).await;
    let mut client = service.connect().await;
    client.send(b"POST /orders HTTP/1.1\r\nhost: test\r\ncontent-length: 20\r\n\r\n{").await;
    let answer = client.answer().await.expect("an answer before the connection closes");
    assert_eq!(answer.problem(408)["type"], "/problems/request-timeout");
    client.closed().await;
}

#[tokio::test]
async fn a_head_may_have_64_kib_and_no_more() {
    let service = start(Limits::default(), AdmissionLimits::default()).await;
    let fits = format!("x-long: {}\r\n", "a".repeat(60 * 1024));
    assert_eq!(service.call("GET", "/id", &fits, b"").await.status, 200);
    let long = format!("x-long: {}\r\n", "a".repeat(70 * 1024));
    assert_eq!(service.call("GET", "/id", &long, b"").await.status, 431);
    let many = "x-a: b\r\n".repeat(200);
    assert_eq!(service.call("GET", "/id", &many, b"").await.status, 431);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let service = start(Limits::default(), AdmissionLimits::default()).await;
    let mut client = service.connect().await;
    let mut all = Vec::new();
    for id in ["one", "two", "three"] {
        all.extend(request("GET", "/id", &format!("x-request-id: {id}\r\n"), b""));
        all.extend(request("POST", "/orders", "", format!(r#"{{"name":"{id}"}}"#).as_bytes()));
    }
    client.send(&all).await;
    for id in ["one", "two", "three"] {
        assert_eq!(client.answer().await.expect("an answer").body, id.as_bytes());
        assert_eq!(client.answer().await.expect("an answer").json()["name"], id);
    }
}

#[tokio::test]
async fn broken_http_is_refused_and_harms_nobody() {
    let service = start(short(), AdmissionLimits::default()).await;
    let cases: &[&[u8]] = &[
        b"\r\n\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /id HTTP/1.1\nhost test\n\n",
        b"GET /id HTTP/1.1\r\nho st: a\r\n\r\n",
        b"GET /id HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        b"GET /id HTTP/1.1\r\nhost: a\0b\r\n\r\n",
        b"G\x01T /id HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 2\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /orders HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n{}",
        b"POST /orders HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff0\r\n",
    ];
    for &case in cases {
        let mut client = service.connect().await;
        client.send(case).await;
        if let Some(answer) = client.answer().await {
            assert!((400..500).contains(&answer.status) || answer.status == 505, "{case:?}: {answer:?}");
        }
        client.closed().await;
    }
    assert_eq!(service.get("/id").await.status, 200);
}

#[tokio::test]
async fn a_body_may_wait_for_100_continue() {
    let service = start(short(), AdmissionLimits::default()).await;
    let mut client = service.connect().await;
    client.send(b"POST /orders HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 12\r\n\r\n").await;
    assert_eq!(client.answer().await.expect("leave to send").status, 100);
    client.send(br#"{"name":"a"}"#).await;
    assert_eq!(client.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn what_is_refused_unread_is_answered_all_the_same() {
    // what is left of it may take its time
    let service = start(Limits { idle: PATIENCE, ..short() }, AdmissionLimits::default()).await;
    // far more than the buffers of both sockets hold
    let body = vec![b' '; 32 << 20];
    for (path, headers, status) in
        [("/nowhere", "", 404), ("/orders", "content-type: text/plain\r\n", 415), ("/orders", "", 413)]
    {
        let mut client = service.connect().await;
        // many clients look for an answer only once they have sent everything
        client.0.write_all(&request("POST", path, headers, &body)).await.expect("the server takes it all");
        let answer = client.answer().await.expect("an answer");
        answer.problem(status);
        assert_eq!(answer.header("connection"), Some("close"), "nothing can follow on this connection");
        client.closed().await;
    }
}

#[tokio::test]
async fn more_connections_than_slots_wait_their_turn() {
    let service = start(Limits { connections: 3, ..short() }, AdmissionLimits::default()).await;
    let silent: Vec<_> = [service.connect().await, service.connect().await, service.connect().await].into();
    // All slots are taken until the silent ones are cut.
    assert_eq!(timeout(PATIENCE, service.get("/id")).await.expect("a turn").status, 200);
    for client in silent {
        client.closed().await;
    }
}

#[tokio::test]
async fn an_old_connection_is_closed_with_an_answer() {
    let service = start(Limits { lifetime: Duration::from_secs(1), ..calm() }, AdmissionLimits::default()).await;
    let mut client = service.connect().await;
    let last = loop {
        client.send(&request("GET", "/id", "", b"")).await;
        let answer = client.answer().await.expect("no request is lost");
        assert_eq!(answer.status, 200);
        if answer.header("connection") == Some("close") {
            break answer;
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(last.status, 200);
    client.closed().await;
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut service = start(calm(), AdmissionLimits::default()).await;
    let mut busy = service.connect().await;
    busy.send(&request("GET", "/wait/700", "", b"")).await;
    let mut idle = service.connect().await;
    idle.send(&request("GET", "/id", "", b"")).await;
    assert_eq!(idle.answer().await.expect("an answer").header("connection"), None);
    service.stop();
    sleep(Duration::from_millis(20)).await;
    // A request that was on its way on an open connection is still answered, and told to be the last.
    idle.send(&request("GET", "/id", "", b"")).await;
    let last = idle.answer().await.expect("an answer");
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    let addr = service.addr;
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    let answer = busy.answer().await.expect("the request in flight is answered");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(service.drained().await.aborted, 0);
}

#[tokio::test]
async fn a_drain_ends_even_if_a_request_does_not() {
    let limits = Limits { drain: Duration::from_millis(300), ..short() };
    let mut service = start(limits, AdmissionLimits::default()).await;
    let mut stuck = service.connect().await;
    stuck.send(&request("GET", "/wait/60000", "", b"")).await;
    sleep(Duration::from_millis(50)).await;
    service.stop();
    assert_eq!(service.drained().await.aborted, 1);
    stuck.closed().await;
}
