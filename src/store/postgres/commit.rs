//! The statements of one commit to an account's catalogue, in batches whatever its size.

use std::{collections::BTreeMap, io::ErrorKind};

use sqlx::{Error, PgConnection, postgres::PgRow, query};

use super::leftovers;
use crate::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        ids::NameHash,
    },
    ports::{Commit, DocumentWrite},
    store::rows,
};

/// Most of the documents named in [`Commit::InUse`].
const SHOWN: i64 = 10;

/// What one commit writes and deletes, as columns.
#[derive(Default)]
struct Columns {
    kinds: Vec<&'static str>,
    ids: Vec<String>,
    bodies: Vec<String>,
    refs: Refs,
    deleted_kinds: Vec<&'static str>,
    deleted_ids: Vec<String>,
    deleted_lists: Vec<i64>,
}

#[derive(Default)]
struct Refs {
    kinds: Vec<&'static str>,
    ids: Vec<String>,
    to_kinds: Vec<&'static str>,
    to_ids: Vec<String>,
}

impl Columns {
    /// Of several writes to the same document the last one counts.
    fn of(writes: Vec<DocumentWrite>) -> Self {
        let last: BTreeMap<_, _> = writes.into_iter().map(|write| (write.key, (write.body, write.refs))).collect();
        let mut columns = Self::default();
        for (key, (body, refs)) in last {
            let kind = key.kind.as_str();
            let Some(body) = body else {
                if key.kind == Kind::Segment {
                    columns.deleted_lists.push(NameHash::of(&key.id).0.cast_signed());
                }
                columns.deleted_kinds.push(kind);
                columns.deleted_ids.push(key.id);
                continue;
            };
            for to in refs {
                columns.refs.kinds.push(kind);
                columns.refs.ids.push(key.id.clone());
                columns.refs.to_kinds.push(to.kind.as_str());
                columns.refs.to_ids.push(to.id);
            }
            columns.bodies.push(body.to_string());
            columns.kinds.push(kind);
            columns.ids.push(key.id);
        }
        columns
    }
}

/// Applies writes as catalogue version `version` and announces it; the caller holds the account's
/// row and commits only what is [`Commit::Done`].
pub(super) async fn apply(
    tx: &mut PgConnection,
    account: i32,
    version: i64,
    by: &str,
    writes: Vec<DocumentWrite>,
) -> Result<Commit, Error> {
    let columns = Columns::of(writes);
    wait_for_lists(tx, account, &columns).await?;
    for (kinds, ids) in [(&columns.kinds, &columns.ids), (&columns.deleted_kinds, &columns.deleted_ids)] {
        query(
            "update document d set version_to = $2, ended_at = now_ms() from unnest($3::text[], $4::text[]) w (kind, id)
             where d.account = $1 and d.kind = w.kind and d.id = w.id and d.version_to is null",
        )
        .bind(account)
        .bind(version)
        .bind(kinds)
        .bind(ids)
        .execute(&mut *tx)
        .await?;
        query(
            "delete from document_ref r using unnest($2::text[], $3::text[]) w (kind, id)
             where r.account = $1 and r.kind = w.kind and r.id = w.id",
        )
        .bind(account)
        .bind(kinds)
        .bind(ids)
        .execute(&mut *tx)
        .await?;
    }
    query(
        "insert into document (account, kind, id, version_from, body, changed_by)
         select $1, w.kind, w.id, $2, w.body::json, $3 from unnest($4::text[], $5::text[], $6::text[]) w (kind, id, body)",
    )
    .bind(account)
    .bind(version)
    .bind(by)
    .bind(&columns.kinds)
    .bind(&columns.ids)
    .bind(&columns.bodies)
    .execute(&mut *tx)
    .await?;
    query(
        "insert into document_ref (account, kind, id, to_kind, to_id)
         select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::text[]) on conflict do nothing",
    )
    .bind(account)
    .bind(&columns.refs.kinds)
    .bind(&columns.refs.ids)
    .bind(&columns.refs.to_kinds)
    .bind(&columns.refs.to_ids)
    .execute(&mut *tx)
    .await?;
    if let Some((key, missing)) = missing(tx, account, &columns.refs).await? {
        return Ok(Commit::Missing { key, missing });
    }
    let named = in_use(tx, account, &columns.deleted_kinds, &columns.deleted_ids).await?;
    if let Some((key, _)) = named.first() {
        return Ok(Commit::InUse { key: key.clone(), by: named.iter().map(|(_, by)| by.clone()).collect() });
    }
    drop_lists(tx, account, &columns.deleted_lists).await?;
    query(
        "with moved as (update account set catalog_version = $2 where number = $1)
         insert into change_log (kind, account, version) values ('catalog', $1, $2)",
    )
    .bind(account)
    .bind(version)
    .execute(tx)
    .await?;
    Ok(Commit::Done { version })
}

/// The first reference that leads nowhere.
async fn missing(
    tx: &mut PgConnection,
    account: i32,
    refs: &Refs,
) -> Result<Option<(DocumentKey, DocumentKey)>, Error> {
    let row = query(
        // A sub-select by value and not by existence: it stays a look-up by key, also before the
        // database has statistics of what was just written.
        "select w.* from unnest($2::text[], $3::text[], $4::text[], $5::text[]) w (kind, id, to_kind, to_id)
         where (select d.version_from from document d where d.account = $1 and d.kind = w.to_kind and d.id = w.to_id
                and d.version_to is null) is null
         limit 1",
    )
    .bind(account)
    .bind(&refs.kinds)
    .bind(&refs.ids)
    .bind(&refs.to_kinds)
    .bind(&refs.to_ids)
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(reference).transpose()
}

/// The first deleted document that is still named, with some of those that name it.
async fn in_use(
    tx: &mut PgConnection,
    account: i32,
    kinds: &[&str],
    ids: &[String],
) -> Result<Vec<(DocumentKey, DocumentKey)>, Error> {
    let rows = query(
        "with first as (
             select r.to_kind, r.to_id from document_ref r
             where r.account = $1 and (r.to_kind, r.to_id) in (select * from unnest($2::text[], $3::text[])) limit 1)
         select r.* from document_ref r join first using (to_kind, to_id) where r.account = $1
         order by r.kind, r.id limit $4",
    )
    .bind(account)
    .bind(kinds)
    .bind(ids)
    .bind(SHOWN)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| reference(row).map(|(by, to)| (to, by))).collect()
}

/// The document that names and the one that is named.
fn reference(row: &PgRow) -> Result<(DocumentKey, DocumentKey), Error> {
    Ok((rows::key(row, "kind", "id")?, rows::key(row, "to_kind", "to_id")?))
}

/// Empties the lists of deleted segments; of what is large, the rest afterwards ([`leftovers::clear_lists`]).
async fn drop_lists(tx: &mut PgConnection, account: i32, lists: &[i64]) -> Result<(), Error> {
    let mut leaving = Vec::new();
    for list in lists {
        if !leftovers::clear_some(tx, account, *list).await? {
            leaving.push(*list);
        }
    }
    for (statement, lists) in [
        ("insert into list_leaving (account, list) select $1, * from unnest($2::bigint[])", &leaving[..]),
        ("delete from list where account = $1 and list = any($2)", lists),
    ] {
        if !lists.is_empty() {
            query(statement).bind(account).bind(lists).execute(&mut *tx).await?;
        }
    }
    Ok(())
}

/// A segment does not come back before everybody is off the list of the one that was deleted.
async fn wait_for_lists(tx: &mut PgConnection, account: i32, columns: &Columns) -> Result<(), Error> {
    let written = columns.kinds.iter().zip(&columns.ids).filter(|(kind, _)| **kind == Kind::Segment.as_str());
    let lists: Vec<_> = written.map(|(_, id)| NameHash::of(id).0.cast_signed()).collect();
    if lists.is_empty() {
        return Ok(());
    }
    let leaving = query("select from list_leaving where account = $1 and list = any($2) limit 1");
    match leaving.bind(account).bind(lists).fetch_optional(tx).await? {
        Some(_) => Err(Error::Io(ErrorKind::ResourceBusy.into())),
        None => Ok(()),
    }
}
