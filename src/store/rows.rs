//! From rows of the database to rows of the ports.

use std::{error::Error as StdError, str::FromStr};

use serde_json::Value;
use sqlx::{
    Error, Row,
    postgres::PgRow,
    types::{Json, Uuid},
};

use crate::{
    domain::{
        access::Scope,
        audience::{activity::Event, user::Listed},
        catalog::key::DocumentKey,
        ids::{DecisionId, IdError, NameHash, Uid, UserKey},
        measurement::{
            attribution::Terms,
            outcome::{Outcome, OutcomeKind},
        },
        values::{Millis, Span},
    },
    ports::{
        AccountRow, ApiKeyRow, Crossing, CrowdRow, DecisionRecord, DocumentChanges, DocumentRow, Documents, Moved,
        OldSecret, Parts, Person, ProfileRow, SigningKeyRow, StreamRow, Tally, UserRow,
    },
};

/// A text of the database as the type it was written from.
pub(super) fn parsed<T>(row: &PgRow, column: &str) -> Result<T, Error>
where
    T: FromStr,
    T::Err: StdError + Send + Sync + 'static,
{
    row.try_get::<&str, _>(column)?.parse().map_err(|error: T::Err| Error::Decode(error.into()))
}

/// An account's number, which the database keeps as a signed one.
pub(super) fn account(row: &PgRow, column: &str) -> Result<u32, Error> {
    row.try_get::<i32, _>(column).map(i32::cast_unsigned)
}

pub(super) fn uid(row: &PgRow, column: &str) -> Result<Uid, Error> {
    row.try_get::<Uuid, _>(column).map(Uid::from)
}

pub(super) fn maybe_uid(row: &PgRow, column: &str) -> Result<Option<Uid>, Error> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(Uid::from))
}

/// The account's own name of a person, if they have one.
pub(super) fn maybe_key(row: &PgRow) -> Result<Option<UserKey>, Error> {
    Ok(match row.try_get::<Option<&str>, _>("key")? {
        Some(_) => Some(parsed(row, "key")?),
        None => None,
    })
}

pub(super) fn maybe_millis(row: &PgRow, column: &str) -> Result<Option<Millis>, Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Millis))
}

pub(super) fn millis(row: &PgRow, column: &str) -> Result<Millis, Error> {
    row.try_get(column).map(Millis)
}

pub(super) fn json(row: &PgRow, column: &str) -> Result<Value, Error> {
    row.try_get::<Json<Value>, _>(column).map(|json| json.0)
}

fn number<T: TryFrom<i64, Error: StdError + Send + Sync + 'static>>(from: i64) -> Result<T, Error> {
    from.try_into().map_err(|error: T::Error| Error::Decode(error.into()))
}

pub(super) fn account_row(row: &PgRow) -> Result<AccountRow, Error> {
    Ok(AccountRow {
        number: account(row, "number")?,
        id: parsed(row, "id")?,
        secret: row.try_get("secret")?,
        catalog_version: row.try_get("catalog_version")?,
    })
}

pub(super) fn signing_key(row: &PgRow) -> Result<SigningKeyRow, Error> {
    let of: i16 = row.try_get("number")?;
    Ok(SigningKeyRow { number: number(of.into())?, secret: row.try_get("secret")?, active: row.try_get("active")? })
}

pub(super) fn api_key(row: &PgRow) -> Result<ApiKeyRow, Error> {
    let (hash, until) = (row.try_get::<Option<[u8; 32]>, _>("old_hash")?, row.try_get::<Option<i64>, _>("old_until")?);
    Ok(ApiKeyRow {
        id: parsed(row, "id")?,
        account: account(row, "account")?,
        hash: row.try_get("hash")?,
        scopes: row.try_get::<Json<Vec<Scope>>, _>("scopes")?.0,
        created_at: millis(row, "created_at")?,
        version: row.try_get("version")?,
        old: hash.zip(until).map(|(hash, until)| OldSecret { hash, until: Millis(until) }),
    })
}

pub(super) fn key(row: &PgRow, kind: &str, id: &str) -> Result<DocumentKey, Error> {
    Ok(DocumentKey { kind: parsed(row, kind)?, id: row.try_get(id)? })
}

pub(super) fn document(row: &PgRow) -> Result<DocumentRow, Error> {
    Ok(DocumentRow {
        key: key(row, "kind", "id")?,
        version: row.try_get("version_from")?,
        changed_at: millis(row, "changed_at")?,
        body: json(row, "body")?,
    })
}

/// The account's catalogue version, which leads every such answer, even one without documents.
pub(super) fn version(rows: &[PgRow]) -> Result<i64, Error> {
    rows.first().ok_or(Error::RowNotFound)?.try_get("catalog_version")
}

pub(super) fn documents(rows: &[PgRow]) -> Result<Documents, Error> {
    let version = version(rows)?;
    let mut documents = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<Option<&str>, _>("kind")?.is_some() {
            documents.push(document(row)?);
        }
    }
    Ok(Documents { version, rows: documents })
}

pub(super) fn user(row: &PgRow) -> Result<((u32, Uid), UserRow), Error> {
    let lists = row.try_get::<Option<Vec<i64>>, _>("lists")?.unwrap_or_default();
    let expiries = row.try_get::<Option<Vec<Option<i64>>>, _>("expiries")?.unwrap_or_default();
    let since = row.try_get::<Option<Vec<Option<i64>>>, _>("since")?.unwrap_or_default();
    let listed = |((list, until), since): ((i64, Option<i64>), Option<i64>)| Listed {
        list: NameHash(list.cast_unsigned()),
        until: until.map_or(Millis::NEVER, Millis),
        since: since.map(Millis),
    };
    let lists = lists.into_iter().zip(expiries).zip(since).map(listed).collect();
    Ok((
        (account(row, "account")?, uid(row, "uid")?),
        UserRow {
            version: row.try_get("version")?,
            packed: row.try_get("packed")?,
            caps: row.try_get("caps")?,
            lists,
            merged_into: maybe_uid(row, "merged_into")?,
        },
    ))
}

pub(super) fn person(row: &PgRow) -> Result<Person, Error> {
    let (_, user) = user(row)?;
    let parts = Parts { row: user, traits: json(row, "traits")? };
    Ok(Person { uid: uid(row, "uid")?, key: maybe_key(row)?, erased: row.try_get("erased")?, parts })
}

pub(super) fn profile(row: &PgRow) -> Result<ProfileRow, Error> {
    let names = row.try_get::<Option<Vec<String>>, _>("names")?.unwrap_or_default();
    let expiries = row.try_get::<Option<Vec<Option<i64>>>, _>("expiries")?.unwrap_or_default();
    let list = |(name, expires): (String, Option<i64>)| Ok((name.parse()?, expires.map(Millis)));
    let lists = names.into_iter().zip(expiries).map(list).collect::<Result<_, IdError>>();
    Ok(ProfileRow {
        key: maybe_key(row)?,
        version: row.try_get("version")?,
        traits: json(row, "traits")?,
        lists: lists.map_err(|error| Error::Decode(error.into()))?,
        created_at: millis(row, "created_at")?,
        updated_at: millis(row, "updated_at")?,
    })
}

/// What a statement that moves people in and out of a list answers.
pub(super) fn moved(rows: &[PgRow]) -> Result<Moved, Error> {
    let mut moved = Moved { changed: rows.len() as u64, crossed: Vec::new() };
    for row in rows {
        if row.try_get("crossed")? {
            let was = row.try_get::<bool, _>("listed")?;
            let was = was.then(|| maybe_millis(row, "was_until")).transpose()?;
            moved.crossed.push(Crossing { uid: uid(row, "uid")?, was, at: millis(row, "at")? });
        }
    }
    Ok(moved)
}

pub(super) fn crowd(row: &PgRow) -> Result<CrowdRow, Error> {
    let key = maybe_key(row)?;
    let ((_, uid), user) = user(row)?;
    Ok(CrowdRow { uid, key, row: user })
}

pub(super) fn record(row: &PgRow) -> Result<DecisionRecord, Error> {
    Ok(DecisionRecord {
        account: account(row, "account")?,
        decision: DecisionId(row.try_get("decision")?),
        at: millis(row, "at")?,
        person: row.try_get::<Option<Uuid>, _>("person")?.map(Uid::from),
        catalog_version: row.try_get("catalog_version")?,
        body: row.try_get("body")?,
    })
}

fn kind(row: &PgRow) -> Result<OutcomeKind, Error> {
    let number: i16 = row.try_get("kind")?;
    let kind = OutcomeKind::ALL.into_iter().find(|of| i16::from(of.number()) == number);
    kind.ok_or_else(|| Error::Decode("no kind of outcome".into()))
}

pub(super) fn tally(row: &PgRow) -> Result<Tally, Error> {
    Ok(Tally {
        creative: parsed(row, "creative")?,
        kind: kind(row)?,
        count: row.try_get::<i64, _>("count")?.unsigned_abs(),
    })
}

pub(super) fn outcome(row: &PgRow) -> Result<Outcome, Error> {
    let campaign = match row.try_get::<Option<&str>, _>("campaign")? {
        Some(_) => Some(parsed(row, "campaign")?),
        None => None,
    };
    Ok(Outcome {
        account: account(row, "account")?,
        decision: DecisionId(row.try_get("decision")?),
        kind: kind(row)?,
        discriminator: row.try_get::<Uuid, _>("discriminator")?.as_u128(),
        at: millis(row, "at")?,
        campaign,
        creative: parsed(row, "creative")?,
        revision: number(row.try_get("revision")?)?,
        combination: row.try_get::<i64, _>("combination")?.cast_unsigned(),
        person: row.try_get::<Option<Uuid>, _>("person")?.map(Uid::from),
        measured: true,
        cap_window: row.try_get::<Option<i64>, _>("cap_window")?.map(Span::from_millis),
        across_decisions: false,
        value_micros: row.try_get("value_micros")?,
        // kept for learning alone, and only until it is learned from
        goal: None,
        invalid: None,
        by_pixel: false,
        exposure: None,
        terms: Terms::default(),
        charge: None,
    })
}

/// Whose event, and which.
pub(super) fn event(row: &PgRow) -> Result<(Uid, Event), Error> {
    let properties = row.try_get::<Json<serde_json::Map<String, Value>>, _>("properties")?.0;
    Ok((uid(row, "uid")?, Event { name: parsed(row, "type")?, at: millis(row, "at")?, properties }))
}

/// A stream; none where an epoch has none.
pub(super) fn stream(row: &PgRow) -> Result<Option<StreamRow>, Error> {
    let Some(id) = row.try_get::<Option<i64>, _>("id")? else { return Ok(None) };
    Ok(Some(StreamRow {
        id: id.cast_unsigned(),
        definition: json(row, "definition")?,
        epoch: row.try_get("epoch")?,
        live: row.try_get("live")?,
    }))
}

/// A document without a version is one that was deleted.
pub(super) fn document_changes(rows: &[PgRow]) -> Result<DocumentChanges, Error> {
    let mut changes = DocumentChanges { version: version(rows)?, written: Vec::new(), deleted: Vec::new() };
    for row in rows {
        if row.try_get::<Option<i64>, _>("version_from")?.is_some() {
            changes.written.push(document(row)?);
        } else if row.try_get::<Option<&str>, _>("kind")?.is_some() {
            changes.deleted.push(key(row, "kind", "id")?);
        }
    }
    Ok(changes)
}
