//! What documents were.

use sqlx::{Error, PgConnection, Row, query};

use crate::{
    domain::{catalog::key::DocumentKey, ids::CreativeId},
    ports::{RevisionNumbers, VersionRow},
    store::rows,
};

/// What a document was, the newest first.
pub(super) async fn of(
    connection: &mut PgConnection,
    account: i32,
    key: DocumentKey,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<VersionRow>, Error> {
    let rows = query(
        "select version_from, version_to, changed_at, changed_by, body from document
         where account = $1 and kind = $2 and id = $3 and ($4::bigint is null or version_from < $4)
         order by version_from desc limit $5",
    )
    .bind(account)
    .bind(key.kind.as_str())
    .bind(key.id)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(VersionRow {
                version: row.try_get("version_from")?,
                until: row.try_get("version_to")?,
                changed_at: rows::millis(row, "changed_at")?,
                changed_by: row.try_get("changed_by")?,
                body: rows::json(row, "body")?,
            })
        })
        .collect()
}

/// The numbers that revisions of one creative, or of each, have had.
pub(super) async fn numbers(
    connection: &mut PgConnection,
    account: i32,
    creative: Option<CreativeId>,
) -> Result<Vec<RevisionNumbers>, Error> {
    let rows = query(
        "select creative, max(number) as newest, min(number) filter (where version_to is null) as first
         from (select split_part(id, '/', 1) as creative, split_part(id, '/', 2)::int as number, version_to from document
               where account = $1 and kind = 'revision' and ($2::text is null or id ^@ $2 and id >= $2)) revision
         group by creative",
    )
    .bind(account)
    .bind(creative.map(|creative| format!("{creative}/")))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RevisionNumbers {
                creative: row.try_get("creative")?,
                newest: row.try_get::<i32, _>("newest")?.cast_unsigned(),
                first: row.try_get::<Option<i32>, _>("first")?.map(i32::cast_unsigned),
            })
        })
        .collect()
}
