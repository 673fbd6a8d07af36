//! The house keeps its walls: who may import whom, which crates each room may use, no circles and
//! no long files. `ARCHITECTURE.md` has the reasons.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Which rooms a room may import.
const ROOMS: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("ports", &["domain"]),
    ("config", &[]),
    ("telemetry", &[]),
    ("schema", &["domain"]),
    ("simulation", &["domain"]),
    ("engine", &["domain", "ports", "config", "schema", "telemetry"]),
    ("store", &["domain", "ports"]),
    ("outbound", &["domain", "ports"]),
    ("http", &["engine", "domain", "config", "schema", "telemetry"]),
    ("server", &["domain", "ports", "config", "telemetry", "schema", "engine", "store", "outbound", "http"]),
    ("main", &["server", "config", "store", "telemetry", "domain", "http", "simulation"]),
];

/// Which wings of the domain a wing may import, beside the small ones that all share.
const WINGS: [(&str, &[&str]); 9] = [
    ("audience", &[]),
    ("creative", &[]),
    ("products", &["audience", "creative", "webhook"]),
    ("catalog", &["audience", "creative", "products"]),
    ("consent", &[]),
    ("measurement", &[]),
    ("optimizer", &["measurement"]),
    ("openrtb", &["decision", "catalog", "audience", "creative", "measurement", "consent"]),
    ("decision", &["catalog", "audience", "creative", "measurement", "consent", "optimizer", "products"]),
];

/// What every wing may import; these import nothing but each other.
const SHARED: [&str; 4] = ["ids", "values", "violation", "access"];

/// The only crates that the domain and the ports may use.
const PURE: [&str; 18] = [
    "std",
    "core",
    "thiserror",
    "serde",
    "serde_json",
    "utoipa",
    "blake3",
    "hmac",
    "sha2",
    "subtle",
    "base64",
    "rand_chacha",
    "rand_core",
    "html5gum",
    "quick_xml",
    "cssparser",
    "jiff",
    "uuid",
];

/// Crates that belong to some rooms only.
const CRATES: [(&str, &[&str]); 16] = [
    ("sqlx", &["store"]),
    ("axum", &["http"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
    ("hyper", &["http", "outbound"]),
    ("hyper_util", &["http", "outbound"]),
    ("tokio_rustls", &["outbound"]),
    ("webpki_roots", &["outbound"]),
    ("utoipa_axum", &["http"]),
    ("utoipa_swagger_ui", &["http"]),
    ("moka", &["engine"]),
    ("arc_swap", &["engine"]),
    ("image", &["engine"]),
    ("imagesize", &["engine"]),
    ("figment", &["config"]),
    ("clap", &["main"]),
];

/// The most lines of a file, its tests apart.
const LONGEST: usize = 400;

/// A source file without comments, texts and tests, line by line as it was.
struct Source {
    path: PathBuf,
    /// `["domain", "catalog", "index"]`; `["main"]` for the program.
    module: Vec<String>,
    /// Whether it stands for a folder, so that what is below it belongs to it.
    is_folder: bool,
    code: String,
    /// Lines outside of tests.
    lines: usize,
}

/// One name that a file takes from somewhere else.
struct Import {
    from: usize,
    line: usize,
    /// From the crate's root (`crate` left out), or from another crate's.
    path: Vec<String>,
    own: bool,
}

struct House {
    sources: Vec<Source>,
    imports: Vec<Import>,
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        files(&root, &mut paths);
        let mut test_only = BTreeSet::new();
        let mut sources: Vec<Source> = paths.iter().map(|path| source(&root, path, &mut test_only)).collect();
        sources.retain(|source| {
            let lies_in = |known: &Vec<String>| source.module.starts_with(known);
            !test_only.iter().any(lies_in)
        });
        let tops: BTreeSet<String> = sources.iter().flat_map(|source| source.module.first().cloned()).collect();
        let imports = (0..sources.len()).flat_map(|at| imports(at, &sources, &tops)).collect();
        Self { sources, imports }
    }

    /// The file that an import leads to.
    fn target(&self, import: &Import) -> Option<usize> {
        let found = self.sources.iter().enumerate().filter(|(_, source)| import.path.starts_with(&source.module));
        found.max_by_key(|(_, source)| source.module.len()).map(|(at, _)| at).filter(|_| import.own)
    }

    fn place(&self, import: &Import) -> String {
        format!("{}:{}", self.sources[import.from].path.display(), import.line)
    }
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

fn source(root: &Path, path: &Path, test_only: &mut BTreeSet<Vec<String>>) -> Source {
    let text = fs::read_to_string(path).expect("a source file");
    let relative = path.strip_prefix(root).expect("a file below src");
    let mut module: Vec<String> =
        relative.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let is_folder = module.last().is_some_and(|name| name == "mod") || path.with_extension("").is_dir();
    module.retain(|name| name != "mod" && name != "lib");
    let mut code = blank(&text);
    let mut rest = 0;
    while let Some(found) = code[rest..].find("#[cfg(test)]") {
        let start = rest + found;
        rest = start + 1;
        let item = code[start + "#[cfg(test)]".len()..]
            .trim_start()
            .trim_start_matches("pub(super) ")
            .trim_start_matches("pub(crate) ");
        let Some(name) = item.strip_prefix("mod ") else { continue };
        let end: usize = name.find([';', '{']).expect("a module ends its name");
        if name[end..].starts_with(';') {
            let mut child = module.clone();
            child.push(name[..end].trim().to_owned());
            test_only.insert(child);
        } else {
            let open = code.len() - name.len() + end;
            let close = open + closing(&code[open..]);
            let blanked: String = code[start..=close].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            let tests = blanked.matches('\n').count();
            code.replace_range(start..=close, &"\n".repeat(tests));
        }
    }
    let test_lines = text.find("#[cfg(test)]\nmod ").map_or(0, |at| text[at..].lines().count());
    let lines = text.lines().count() - test_lines;
    Source { path: Path::new("src").join(relative), module, is_folder, code, lines }
}

/// The source with comments and texts blanked, and every line where it was.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let copy = |out: &mut String, from: usize, to: usize, keep: bool| {
        for c in text[from..to].chars() {
            out.push(if keep || c == '\n' { c } else { ' ' });
        }
    };
    while at < bytes.len() {
        let rest = &text[at..];
        let raw = rest.starts_with('r') && rest[1..].trim_start_matches('#').starts_with('"');
        let named = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if raw && !named {
            let hashes = rest[1..].bytes().take_while(|b| *b == b'#').count();
            let closing = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 2..].find(&closing).map_or(rest.len(), |end| hashes + 2 + end + closing.len())
        } else if rest.starts_with('"') {
            let mut end = 1;
            while end < rest.len() && rest.as_bytes()[end] != b'"' {
                end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
            end + 1
        } else if let Some(after) = rest.strip_prefix('\'') {
            // a character, not a lifetime
            match after.char_indices().nth(1) {
                Some((next, '\'')) if !after.starts_with('\\') => 1 + next + 1,
                _ if after.starts_with('\\') => 2 + after[2..].find('\'').unwrap_or(0) + 2,
                _ => 0,
            }
        } else {
            0
        };
        if end > 0 {
            copy(&mut out, at, at + end, false);
            at += end;
        } else {
            let c = rest.chars().next().expect("a character");
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

/// Where the bracket that `code` starts with is closed.
fn closing(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    panic!("a bracket stays open")
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Every path in a file that leads out of it: `use` trees and paths within the code.
fn imports(from: usize, sources: &[Source], tops: &BTreeSet<String>) -> Vec<Import> {
    let source = &sources[from];
    let code = &source.code;
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = code[at..].find("::") {
        let joint = at + next;
        let head_at = code[..joint].rfind(|c| !is_name(c)).map_or(0, |before| before + 1);
        let head = &code[head_at..joint];
        let before = code[..head_at].trim_end();
        at = joint + 2;
        // within a path, a type or a tree that was read from its head
        if head.is_empty() || before.ends_with("::") || head.starts_with(char::is_uppercase) {
            continue;
        }
        let is_use = before.ends_with("use");
        let mut paths = Vec::new();
        let end = joint + 2 + tree(&code[joint + 2..], &[], is_use, &mut paths);
        if is_use {
            at = end;
        }
        let line = |offset: usize| 1 + code[..offset].matches('\n').count();
        for (offset, path) in paths {
            let (base, own) = match head {
                "crate" => (Vec::new(), true),
                "tessera" if source.module == ["main"] => (Vec::new(), true),
                "self" => (source.module.clone(), true),
                "super" => {
                    let ups = 1 + path.iter().take_while(|name| *name == "super").count();
                    (source.module[..source.module.len().saturating_sub(ups)].to_vec(), true)
                }
                other => {
                    let mut child = source.module.clone();
                    child.push(other.to_owned());
                    let is_child = sources.iter().any(|source| source.module == child);
                    if is_child { (child, true) } else { (vec![other.to_owned()], false) }
                }
            };
            let path: Vec<String> =
                base.into_iter().chain(path.into_iter().filter(|name| name != "super" && name != "self")).collect();
            let leads_out = !own || path.first().is_some_and(|top| tops.contains(top));
            if leads_out {
                found.push(Import { from, line: line(joint + 2 + offset), path, own });
            }
        }
    }
    found
}

/// Reads what follows `::`: a name and more, or several in brackets. Gives where it ends.
fn tree(code: &str, before: &[String], is_use: bool, into: &mut Vec<(usize, Vec<String>)>) -> usize {
    let start = code.len() - code.trim_start().len();
    let rest = &code[start..];
    if rest.starts_with('{') {
        if !is_use {
            return start;
        }
        let close = closing(rest);
        let mut at = 1;
        while at < close {
            let part = &rest[at..close];
            let mut inner = Vec::new();
            let read = tree(part, before, is_use, &mut inner);
            into.extend(inner.into_iter().map(|(offset, path)| (start + at + offset, path)));
            at += read.max(1);
            at += rest[at..close].find([',']).map_or(close - at, |comma| comma + 1);
        }
        return start + close + 1;
    }
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let mut path = before.to_vec();
    if end > 0 {
        path.push(rest[..end].to_owned());
    }
    let after = &rest[end..];
    if let Some(more) = after.strip_prefix("::") {
        let mut inner = Vec::new();
        let read = tree(more, &path, is_use, &mut inner);
        if inner.is_empty() {
            into.push((start, path));
        } else {
            into.extend(inner.into_iter().map(|(offset, path)| (start + end + 2 + offset, path)));
        }
        return start + end + 2 + read;
    }
    into.push((start, path));
    start + end
}

fn refuse(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let house = House::read();
    let mut broken = Vec::new();
    for import in house.imports.iter().filter(|import| import.own) {
        let Some(room) = house.sources[import.from].module.first() else { continue };
        let top = &import.path[0];
        let allowed = ROOMS.iter().find(|(name, _)| name == room).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            broken.push(format!("{}: the room {room} is not in the table", house.place(import)));
            continue;
        };
        if top != room && !allowed.contains(&top.as_str()) {
            broken.push(format!("{}: {room} must not import {top} (may: {})", house.place(import), allowed.join(", ")));
        }
    }
    refuse(broken);
}

#[test]
fn wings_of_the_domain_import_only_what_the_table_allows() {
    let house = House::read();
    let mut broken = Vec::new();
    for import in house.imports.iter().filter(|import| import.own && import.path[0] == "domain") {
        let module = &house.sources[import.from].module;
        let ([room, wing, ..], Some(other)) = (&module[..], import.path.get(1)) else { continue };
        if room != "domain" || wing == other || SHARED.contains(&other.as_str()) {
            continue;
        }
        let allowed = WINGS.iter().find(|(name, _)| name == wing).map_or(&[][..], |(_, allowed)| allowed);
        if !allowed.contains(&other.as_str()) {
            broken.push(format!("{}: the wing {wing} must not import {other}", house.place(import)));
        }
    }
    refuse(broken);
}

#[test]
fn crates_stay_in_their_rooms() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("a manifest");
    let dependencies =
        manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("a list");
    let names = dependencies.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.replace('-', "_"));
    let names: BTreeSet<String> = names.collect();
    for (name, _) in CRATES {
        assert!(names.contains(name), "{name} is no dependency any more");
    }
    let house = House::read();
    let mut broken = Vec::new();
    for import in house.imports.iter().filter(|import| !import.own && names.contains(&import.path[0])) {
        let (Some(room), name) = (house.sources[import.from].module.first(), &import.path[0]) else { continue };
        let pure = matches!(room.as_str(), "domain" | "ports") && !PURE.contains(&name.as_str());
        let theirs = CRATES.iter().find(|(known, _)| known == name);
        if pure || theirs.is_some_and(|(_, rooms)| !rooms.contains(&room.as_str())) {
            broken.push(format!("{}: {room} must not use the crate {name}", house.place(import)));
        }
    }
    refuse(broken);
}

/// What the standard library has that reads or changes anything but its arguments.
const MACHINE: &[&[&str]] = &[
    &["std", "env"],
    &["std", "fs"],
    &["std", "io", "stdin"],
    &["std", "io", "stdout"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "net", "UdpSocket"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
];

#[test]
fn the_domain_asks_nothing_of_the_machine() {
    let house = House::read();
    let domain = house
        .imports
        .iter()
        .filter(|import| house.sources[import.from].module.first().is_some_and(|room| room == "domain"));
    let theirs = domain.filter(|import| {
        MACHINE.iter().any(|of| import.path.len() >= of.len() && of.iter().zip(&import.path).all(|(a, b)| a == b))
    });
    let broken =
        theirs.map(|import| format!("{}: the domain must not use {}", house.place(import), import.path.join("::")));
    refuse(broken.collect());
    assert!(
        house.imports.iter().any(|import| import.path.starts_with(&["std".into(), "time".into()])),
        "they are seen"
    );
}

#[test]
fn files_import_each_other_without_circles() {
    let house = House::read();
    let mut arrows: BTreeMap<usize, BTreeMap<usize, String>> = BTreeMap::new();
    for import in &house.imports {
        let Some(to) = house.target(import).filter(|to| *to != import.from) else { continue };
        let (from, target) = (&house.sources[import.from], &house.sources[to]);
        // a folder's own file and what is in the folder are one: it gathers what they export
        let within = |folder: &Source, file: &Source| folder.is_folder && file.module.starts_with(&folder.module);
        if !within(target, from) && !within(from, target) {
            arrows.entry(import.from).or_default().entry(to).or_insert_with(|| house.place(import));
        }
    }
    let mut broken = Vec::new();
    for start in 0..house.sources.len() {
        let mut way = vec![start];
        let mut seen = BTreeSet::new();
        if walk(&arrows, start, &mut way, &mut seen) && way.iter().min() == Some(&start) {
            let steps = way.windows(2).map(|pair| arrows[&pair[0]][&pair[1]].clone());
            broken.push(format!("a circle of imports: {}", steps.collect::<Vec<_>>().join(" -> ")));
        }
    }
    refuse(broken);
}

/// Whether `start` leads back to itself; then `way` is how.
fn walk(
    arrows: &BTreeMap<usize, BTreeMap<usize, String>>,
    start: usize,
    way: &mut Vec<usize>,
    seen: &mut BTreeSet<usize>,
) -> bool {
    let at = *way.last().expect("a way has a start");
    for next in arrows.get(&at).into_iter().flat_map(BTreeMap::keys) {
        if *next == start {
            way.push(start);
            return true;
        }
        if seen.insert(*next) {
            way.push(*next);
            if walk(arrows, start, way, seen) {
                return true;
            }
            way.pop();
        }
    }
    false
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    let long = House::read().sources.into_iter().filter(|source| source.lines > LONGEST);
    refuse(long.map(|source| format!("{}: {} lines without its tests", source.path.display(), source.lines)).collect());
}

#[test]
fn the_reader_of_imports_reads_imports() {
    let code = "use crate::{a::{b::C, self}, d}; use super::super::e::F; fn f() { crate::g::h(); x::<u8>::y() }";
    let source = |module: &[&str], code: &str| Source {
        path: PathBuf::new(),
        module: module.iter().map(|name| (*name).to_owned()).collect(),
        is_folder: false,
        code: blank(code),
        lines: 1,
    };
    let tops = ["a", "d", "r", "g"].map(str::to_owned).into();
    let sources = [source(&["r", "s", "t"], code), source(&["r", "e"], "")];
    let found: Vec<String> = imports(0, &sources, &tops).iter().filter(|i| i.own).map(|i| i.path.join("::")).collect();
    assert_eq!(found, ["a::b::C", "a", "d", "r::e::F", "g::h"]);
    assert_eq!(blank("a // b\n\"c::d\" 'x' '\\n' r#\"e\"# f<'a>"), "a     \n                       f<'a>");
}

/// Statements of the store that rightly name no account: chores that go over all of them, by age or by partition.
const OF_EVERY_ACCOUNT: [&str; 8] = [
    "select * from unattributed where look_at <= now_ms()",
    "delete from unattributed where day < $1",
    "delete from event_key where ctid = any",
    "delete from repeat_answer where at < now_ms() - $1",
    "delete from campaign_lease where at < now_ms() - $1",
    "insert into change_log (kind) values ('keys')",
    // events by partition and block, each with its account
    "select p.* from (",
    "select inhrelid::regclass::text from pg_inherits where inhparent = 'event'::regclass",
];

/// Tables whose rows belong to an account, as the migrations leave them.
fn tables_of_accounts() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut tables = BTreeSet::new();
    for path in paths {
        let text = fs::read_to_string(path).expect("a migration");
        let lines: Vec<_> = text.lines().filter_map(|line| line.split("--").next()).collect();
        for statement in lines.join(" ").split(';') {
            let words: Vec<_> = statement.split(|c: char| !is_name(c)).filter(|word| !word.is_empty()).collect();
            match words[..] {
                ["create", "table", name, ref columns @ ..] if columns.contains(&"account") => {
                    tables.insert(name.to_owned());
                }
                ["drop", "table", name, ..] => {
                    tables.remove(name);
                }
                _ => {}
            }
        }
    }
    tables
}

#[test]
fn every_statement_on_what_belongs_to_an_account_names_the_account() {
    let tables = tables_of_accounts();
    assert!(tables.len() > 20 && tables.contains("profile"), "{tables:?}");
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store"), &mut paths);
    let (mut seen, mut broken, mut unused) = (0, Vec::new(), BTreeSet::from(OF_EVERY_ACCOUNT));
    for path in paths {
        let text = fs::read_to_string(&path).expect("a source file");
        for statement in text.split('"') {
            let sql = statement.replace('\\', " ");
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let words: BTreeSet<_> = sql.split(|c: char| !is_name(c)).collect();
            let verbs = ["select ", "insert ", "update ", "delete ", "with ", "copy ", "merge "];
            if !verbs.iter().any(|verb| sql.starts_with(verb)) || !tables.iter().any(|table| words.contains(&**table)) {
                continue;
            }
            seen += 1;
            match OF_EVERY_ACCOUNT.iter().find(|known| sql.starts_with(**known)) {
                Some(known) => {
                    unused.remove(known);
                }
                None if words.contains("account") => {}
                None => broken.push(format!("{}: {sql}", path.display())),
            }
        }
    }
    assert!(seen > 100, "only {seen} statements were found");
    assert!(unused.is_empty(), "no longer there: {unused:?}");
    refuse(broken);
}
