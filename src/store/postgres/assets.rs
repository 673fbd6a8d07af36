//! Uploaded images.

use std::collections::BTreeSet;

use sqlx::{Connection, Error, PgConnection, Row, postgres::PgRow, query, query_scalar};

use crate::{
    domain::{catalog::key::Kind, creative::named_assets},
    ports::{AssetFacts, AssetGone, AssetRow, DocumentWrite},
    store::rows,
};

/// Keeps an image; one that is there already is left as it is.
pub(super) async fn put(connection: &mut PgConnection, asset: AssetRow) -> Result<(), Error> {
    let (width, height) = asset.sides.map(|(width, height)| (width.cast_signed(), height.cast_signed())).unzip();
    let put = query(
        "insert into asset (account, name, media_type, width, height, bytes) values ($1, $2, $3, $4, $5, $6)
         on conflict do nothing",
    );
    let put = put.bind(asset.account.cast_signed()).bind(asset.name).bind(asset.media_type);
    put.bind(width).bind(height).bind(asset.bytes).execute(connection).await.map(drop)
}

/// An image, whoever uploaded it.
pub(super) async fn get(connection: &mut PgConnection, name: String) -> Result<Option<AssetRow>, Error> {
    let get = query("select account, name, media_type, width, height, bytes from asset where name = $1 limit 1");
    let row = get.bind(name).fetch_optional(connection).await?;
    let asset = |row: &PgRow| {
        Ok(AssetRow {
            account: rows::account(row, "account")?,
            name: row.try_get("name")?,
            media_type: row.try_get("media_type")?,
            sides: sides(row)?,
            bytes: row.try_get("bytes")?,
        })
    };
    row.as_ref().map(asset).transpose()
}

/// What is known of some images of an account.
pub(super) async fn facts(
    connection: &mut PgConnection,
    account: i32,
    names: Vec<String>,
) -> Result<Vec<AssetFacts>, Error> {
    let facts = query(
        "select name, width, height, octet_length(bytes) as size from asset where account = $1 and name = any($2)",
    );
    let rows = facts.bind(account).bind(names).fetch_all(connection).await?;
    rows.iter().map(fact).collect()
}

/// The first image that writes name and that is not there. Nobody deletes one while the caller holds the
/// account's row.
pub(super) async fn missing(
    connection: &mut PgConnection,
    account: i32,
    writes: &[DocumentWrite],
) -> Result<Option<String>, Error> {
    let showing =
        writes.iter().filter(|write| matches!(write.key.kind, Kind::Template | Kind::Component | Kind::Revision));
    let names: BTreeSet<String> = showing.filter_map(|write| write.body.as_ref()).flat_map(named_assets).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let missing = query_scalar(
        "select w.name from unnest($2::text[]) w (name)
         where not exists (select from asset a where a.account = $1 and a.name = w.name) order by 1 limit 1",
    );
    let names: Vec<_> = names.into_iter().collect();
    missing.bind(account).bind(names).fetch_optional(connection).await
}

/// Images of an account in the order of their names.
pub(super) async fn list(
    connection: &mut PgConnection,
    account: i32,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<AssetFacts>, Error> {
    let list = query(
        "select name, width, height, octet_length(bytes) as size from asset
         where account = $1 and ($2::text is null or name > $2) order by name limit $3",
    );
    let rows = list.bind(account).bind(after).bind(i64::from(limit)).fetch_all(connection).await?;
    rows.iter().map(fact).collect()
}

/// Deletes an image that no document names, nor a revision that was deleted within four days: what was bid of it may
/// still be shown. Nobody writes documents of the account meanwhile.
pub(super) async fn delete(
    connection: &mut PgConnection,
    account: i32,
    name: String,
    dry_run: bool,
) -> Result<AssetGone, Error> {
    let mut tx = connection.begin().await?;
    query("select from account where number = $1 for update").bind(account).execute(&mut *tx).await?;
    let deleted = query(
        "delete from asset where account = $1 and name = $2
         returning name, width, height, octet_length(bytes) as size",
    );
    let Some(row) = deleted.bind(account).bind(&name).fetch_optional(&mut *tx).await? else {
        return Ok(AssetGone::Missing);
    };
    let named = query(
        "select kind, id from document
         where account = $1 and kind in ('template', 'component', 'revision')
           and (version_to is null or kind = 'revision' and ended_at > now_ms() - 4 * 86400000)
           and strpos(body::text, $2) > 0
         order by kind, id limit 10",
    );
    let named = named.bind(account).bind(&name).fetch_all(&mut *tx).await?;
    if !named.is_empty() {
        let by = named.iter().map(|row| rows::key(row, "kind", "id")).collect::<Result<_, _>>()?;
        return Ok(AssetGone::InUse(by));
    }
    let gone = fact(&row)?;
    if !dry_run {
        tx.commit().await?;
    }
    Ok(AssetGone::Done(gone))
}

fn fact(row: &PgRow) -> Result<AssetFacts, Error> {
    let bytes = row.try_get::<i32, _>("size")?.cast_unsigned();
    Ok(AssetFacts { name: row.try_get("name")?, sides: sides(row)?, bytes })
}

fn sides(row: &PgRow) -> Result<Option<(u32, u32)>, Error> {
    let side = |name: &str| row.try_get::<Option<i32>, _>(name).map(|side| side.map(i32::cast_unsigned));
    Ok(side("width")?.zip(side("height")?))
}
