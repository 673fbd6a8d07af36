//! What a start sets up and says, and what commands beside the service leave alone.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tessera::{config::Config, server::import};

use super::{
    cluster,
    harness::{KEY, Service, folder, read},
    turn,
};

/// What a secret opens.
async fn status(service: &Service, secret: &str) -> StatusCode {
    let request = service.http.get(format!("{}/v1/campaigns", service.base)).bearer_auth(secret);
    request.send().await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_key_that_was_taken_away_does_not_come_back_with_a_start() {
    let _turn = turn(1).await;
    let url = cluster().await.database().await;
    let service = Service::start(&url, |_| {}).await;
    let rotate = service.request(Method::POST, "/v1/keys/admin/rotate?overlap_hours=0");
    let rotated = read(rotate.send().await.expect("an answer"), 200).await;
    let fresh = rotated["secret"].as_str().expect("a secret").to_owned();
    service.server.shutdown().await;

    let service = Service::start(&url, |_| {}).await;
    assert_eq!(
        (status(&service, KEY).await, status(&service, &fresh).await),
        (StatusCode::UNAUTHORIZED, StatusCode::OK)
    );
    assert!(!service.server.welcome().contains("curl"), "what is configured opens nothing");
    // under another name, so that `admin` can be revoked
    let put = service.http.put(format!("{}/v1/keys/ops", service.base)).bearer_auth(&fresh);
    let put = put.header("if-none-match", "*").json(&json!({"scopes": ["admin"]}));
    let ops: Value = read(put.send().await.expect("an answer"), 201).await;
    let ops = ops["secret"].as_str().expect("a secret").to_owned();
    let revoke =
        service.http.delete(format!("{}/v1/keys/admin", service.base)).bearer_auth(&ops).header("if-match", "*");
    assert_eq!(revoke.send().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    service.server.shutdown().await;

    let service = Service::start(&url, |_| {}).await;
    assert_eq!((status(&service, KEY).await, status(&service, &ops).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    service.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_to_try_works_in_any_folder_and_does_not_tell_the_configured_key() {
    let _turn = turn(1).await;
    let url = cluster().await.database().await;
    let demo = |config: &mut Config| config.store.bundle = Some("creatives/demo".into());
    let service = Service::start(&url, demo).await;
    let world = service.server.engine().catalogue.world();
    let account = world.named("default").expect("the account");
    import(service.server.engine(), account, Path::new("creatives/demo"), false).await.expect("imported");
    let welcome = service.server.welcome();
    assert!(!welcome.contains(KEY) && !welcome.contains("Admin key"), "{welcome}");
    let line = welcome.lines().find(|line| line.trim_start().starts_with("curl")).expect(&welcome).to_owned();
    let mut shell = tokio::process::Command::new("sh");
    let shell = shell.args(["-c", &line]).current_dir("/").env("TESSERA_ADMIN_KEY", KEY);
    let ran = shell.output().await.expect("a shell");
    let answer: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert!(answer["placements"].is_object(), "{line}: {answer}");
    service.server.shutdown().await;
}

/// The files of the folders in which a service keeps what it would serve and store without its database.
fn kept(data: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let folders = ["catalogue", "outcomes"].map(|folder| fs::read_dir(data.join(folder)).expect("a folder"));
    let files = folders.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    files
        .map(|path| (path.clone(), (fs::metadata(&path).expect("a file").ino(), fs::read(path).expect("bytes"))))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_leave_the_files_of_a_service_alone() {
    let _turn = turn(1).await;
    let url = cluster().await.database().await;
    let service = Service::start(&url, |_| {}).await;
    service.server.shutdown().await;
    let data = service.data.path();
    // as somebody finds it while the service appends an outcome, and then a version
    let log = data.join("outcomes/outcomes.log");
    fs::OpenOptions::new().append(true).open(log).expect("the log").write_all(b"half a record").expect("written");
    let before = kept(data);
    assert!(before.keys().any(|path| path.ends_with("catalogue/account-1.jsonl")), "{:?}", before.keys());
    let out = folder();
    let out = out.path().join("out").display().to_string();
    let commands = [&["migrate"][..], &["import", "creatives/demo"], &["export", &out], &["keys", "list"], &["doctor"]];
    let make = ["keys", "make", "ops", "--scopes", "report"];
    for arguments in commands.into_iter().chain([&make[..]]) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tessera"));
        let command = command.args(arguments).env("DATABASE_URL", &url).env("TESSERA_DATA", data);
        let ran = command.output().await.expect("it runs");
        assert!(ran.status.success(), "{arguments:?}: {ran:?}");
        assert!(kept(data) == before, "{arguments:?}");
    }
}
