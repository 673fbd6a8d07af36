//! Bodies that are no documents, and documents that break rules.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tessera::http::{accept::Limits, admission::AdmissionLimits, extract::BODY_LIMIT};

use crate::harness::{Answer, Service, start};

async fn service() -> Service {
    start(Limits::default(), AdmissionLimits::default()).await
}

async fn post(service: &Service, path: &str, body: &[u8]) -> Answer {
    service.call("POST", path, "content-type: application/json\r\n", body).await
}

#[tokio::test]
async fn malformed_json_is_a_400_that_says_where() {
    let service = service().await;
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(5_000), close.repeat(5_000)).into_bytes();
    let mut cases: Vec<Vec<u8>> = [
        &b" "[..],
        b"\n",
        b"\0",
        b"{",
        b"}",
        b"[",
        b"{]",
        b"{\"name\"}",
        b"{\"name\":}",
        b"{\"name\":\"a\",}",
        b"{,\"name\":\"a\"}",
        b"{\"name\":\"a\" \"count\":1}",
        b"{\"name\" \"a\"}",
        b"{\"name\":\"a\"",
        b"{\"name\":\"a",
        b"{\"name\":\"a\"}}",
        b"{\"name\":\"a\"} garbage",
        b"{\"name\":\"a\"}\0",
        b"{\"name\":\"a\"}{\"name\":\"a\"}",
        b"{name:\"a\"}",
        b"{'name':'a'}",
        b"{\"name\":a}",
        b"{\"name\":\"a\n\"}",
        b"{\"name\":\"a\t\"}",
        b"{\"name\":\"\\x\"}",
        b"{\"name\":\"\\u12\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"\\udc00\"}",
        b"{\"name\":\"\\ud800\\u0041\"}",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"name\":\"\xc0\xaf\"}",
        b"{\"name\":\"\xed\xa0\x80\"}",
        b"{\"\xff\":1}",
        b"\xef\xbb\xbf{\"name\":\"a\"}",
        b"\xff\xfe{\0}\0",
        b"{\"name\":\"a\",\"count\":NaN}",
        b"{\"name\":\"a\",\"count\":Infinity}",
        b"{\"name\":\"a\",\"count\":-Infinity}",
        b"{\"name\":\"a\",\"count\":1e999}",
        b"{\"name\":\"a\",\"count\":-1e999}",
        b"{\"name\":\"a\",\"count\":01}",
        b"{\"name\":\"a\",\"count\":+1}",
        b"{\"name\":\"a\",\"count\":1.}",
        b"{\"name\":\"a\",\"count\":.1}",
        b"{\"name\":\"a\",\"count\":1e}",
        b"{\"name\":\"a\",\"count\":0x1}",
        b"{\"name\":\"a\",\"count\":--1}",
        b"{\"name\":\"a\",\"name\":\"b\"}",
        b"{\"name\":\"a\"/* c */}",
        b"// c\n{\"name\":\"a\"}",
        b"True",
        b"nul",
        b"undefined",
        b"<order/>",
        b"name=a&count=1",
    ]
    .map(<[u8]>::to_vec)
    .into();
    cases.push(nested("[", "]"));
    cases.push(nested("{\"a\":", ""));
    cases.push([b"{\"name\":\"a\",\"sizes\":".as_slice(), &nested("[", "]"), b"}"].concat());
    for case in &cases {
        for path in ["/orders", "/strict"] {
            let problem = post(&service, path, case).await.problem(400);
            assert_eq!(problem["type"], "/problems/malformed-json", "{}", String::from_utf8_lossy(case));
            assert!(problem["detail"].as_str().unwrap().starts_with("line "), "{problem}");
        }
    }
    assert!(cases.len() >= 50);
    post(&service, "/orders", b"").await.problem(400);
}

#[tokio::test]
async fn documents_that_break_rules_are_422_with_every_pointer() {
    let service = service().await;
    let cases: &[(Value, &[(&str, &str)])] = &[
        (json!([]), &[("", "type")]),
        (json!(null), &[("", "type")]),
        (json!({}), &[("/name", "required")]),
        (json!({"name": 1}), &[("/name", "type")]),
        (json!({"name": null}), &[("/name", "type")]),
        (json!({"name": "a", "count": "1"}), &[("/count", "type")]),
        (json!({"name": "a", "count": -1}), &[("/count", "minimum")]),
        (json!({"name": "a", "count": 1.5}), &[("/count", "type")]),
        (json!({"name": "a", "count": 1e300}), &[("/count", "maximum")]),
        (json!({"name": "a", "what": 1, "~/": 2}), &[("/what", "unknown_field"), ("/~0~1", "unknown_field")]),
        (json!({"name": "a", "sizes": {}}), &[("/sizes", "type")]),
        (
            json!({"name": "a", "sizes": [1, {"w": 1}, {"w": "x", "h": 1, "z": 0}]}),
            &[
                ("/sizes/0", "type"),
                ("/sizes/1/h", "required"),
                ("/sizes/2/w", "type"),
                ("/sizes/2/z", "unknown_field"),
            ],
        ),
    ];
    for (document, faults) in cases {
        for path in ["/orders", "/strict"] {
            let problem = post(&service, path, document.to_string().as_bytes()).await.problem(422);
            let found: Vec<_> =
                problem["errors"].as_array().unwrap().iter().map(|e| (&e["pointer"], &e["code"])).collect();
            for (pointer, code) in *faults {
                assert!(found.contains(&(&json!(pointer), &json!(code))), "{document}: {problem}");
            }
            assert_eq!(found.len(), faults.len(), "{document}: {problem}");
        }
    }
    // What only the schema knows holds where people write the documents.
    let shouting = br#"{"name":"ANNA","count":10}"#;
    assert_eq!(post(&service, "/orders", shouting).await.status, 200);
    assert_eq!(post(&service, "/strict", shouting).await.problem(422)["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn types_codings_and_sizes_are_checked() {
    let service = service().await;
    let good = br#"{"name":"anna"}"#;
    let typed = async |headers: &str, body: &[u8]| service.call("POST", "/orders", headers, body).await;
    assert_eq!(typed("", good).await.status, 200);
    assert_eq!(typed("content-type: application/vnd.order+json; charset=UTF-8\r\n", good).await.status, 200);
    typed("content-type: text/plain\r\n", good).await.problem(415);
    typed("content-type: application/json; charset=latin1\r\n", good).await.problem(415);
    typed("content-encoding: br\r\n", good).await.problem(415);
    typed("content-encoding: gzip\r\n", good).await.problem(400);
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(good).unwrap();
    assert_eq!(typed("content-encoding: gzip\r\n", &zipped.finish().unwrap()).await.json()["name"], "anna");
    // The whole body is read before the connection closes, so that the client sees the answer.
    for size in [BODY_LIMIT + 1, 3 << 20] {
        let problem = typed("", &vec![b' '; size]).await.problem(413);
        assert!(problem["detail"].as_str().unwrap().contains(&BODY_LIMIT.to_string()), "{problem}");
    }
    let padded = [vec![b' '; BODY_LIMIT - good.len()], good.to_vec()].concat();
    assert_eq!(typed("", &padded).await.status, 200);
}
