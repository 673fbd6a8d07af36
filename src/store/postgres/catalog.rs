//! Accounts, keys and documents.

use sqlx::{
    Connection, Error, PgConnection, Postgres, Row, postgres::PgArguments, query, query::Query, query_scalar,
    types::Json,
};

use super::{Lane, Lanes, assets, commit, detached, history, leftovers, repeats};
use crate::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        ids::{AccountId, CreativeId, KeyId},
    },
    ports::{
        AccountRow, Answer, ApiKeyRow, AssetFacts, AssetGone, AssetRow, CatalogStore, Commit, DocumentChanges,
        DocumentRow, DocumentWrite, Documents, KeptAnswer, KeyChange, Repeat, RevisionNumbers, SigningKeyRow,
        StoreError, VersionRow,
    },
    store::rows,
};

/// See [`CatalogStore`].
#[derive(Clone)]
pub(in crate::store) struct Catalog {
    lane: Lane,
}

impl Catalog {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { lane: lanes.admin.clone() }
    }

    pub(super) async fn ensure_default(&self) -> Result<(), StoreError> {
        let id = "default".parse().map_err(|_| StoreError::Refused("no account id".into()))?;
        self.create_account(id).await.map(drop)
    }
}

/// Changes keys and tells every replica; whether anything changed.
async fn of_keys(connection: &mut PgConnection, change: Query<'_, Postgres, PgArguments>) -> Result<bool, Error> {
    let mut tx = connection.begin().await?;
    let changed = change.execute(&mut *tx).await?.rows_affected() > 0;
    if changed {
        announce_keys(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(changed)
}

/// Random bytes for a secret.
fn secret() -> Result<[u8; 32], Error> {
    let mut secret = [0; 32];
    #[expect(clippy::disallowed_methods, reason = "secrets of accounts are made where they are kept")]
    getrandom::fill(&mut secret).map_err(|error| Error::Encode(error.into()))?;
    Ok(secret)
}

/// Tells every replica to read accounts and keys again.
async fn announce_keys(connection: &mut PgConnection) -> Result<(), Error> {
    query("insert into change_log (kind) values ('keys')").execute(connection).await.map(drop)
}

/// Which documents an answer is made of: the account's row leads, so that the version is the one
/// the documents were read at, and is there when they are not.
macro_rules! documents {
    ($from:literal) => {
        concat!(
            "select a.catalog_version, d.kind, d.id, d.version_from, d.changed_at, d.body from account a left join ",
            $from,
            " where a.number = $1"
        )
    };
}

const SERVING: &str = documents!("lateral serving_at(a.number, coalesce($2, a.catalog_version)) d on true");

const GET: &str = documents!(
    "document d on d.account = a.number and d.version_to is null
     and (d.kind, d.id) in (select * from unnest($2::text[], $3::text[]))"
);

const LIST: &str = documents!(
    "lateral (select * from document d where d.account = a.number and d.kind = $2 and d.version_to is null
              and d.id ^@ $3 and d.id >= $3 and ($4::text is null or d.id > $4)
              order by d.id limit $5) d on true"
);

const REVISION_WITH: &str = documents!(
    "lateral (select * from document d where d.account = a.number and d.kind = 'revision'
              and combination_crids(d.body) @> array[$2::text] and d.id ^@ $3
              order by d.version_to is not null, d.version_from limit 1) d on true"
);

/// Only what was touched since can differ, and revisions that a touched publication names or named.
const SERVING_CHANGES: &str = "
    with touched as (
        select kind, id from document where account = $1 and version_from > $2
        union
        select kind, id from document where account = $1 and version_to > $2
        union
        select 'revision', serves from document
        where account = $1 and serves is not null and (version_from > $2 or version_to > $2)
    )
    select a.catalog_version, d.* from account a left join lateral (
        select coalesce(n.kind, o.kind) as kind, coalesce(n.id, o.id) as id, n.version_from, n.changed_at, n.body
        from (select * from serving_at(a.number, a.catalog_version) s where (s.kind, s.id) in (select * from touched)) n
        full join (select * from serving_at(a.number, $2) s where (s.kind, s.id) in (select * from touched)) o
          on n.kind = o.kind and n.id = o.id
        where n.version_from is distinct from o.version_from
    ) d on true
    where a.number = $1";

impl CatalogStore for Catalog {
    fn accounts(&self) -> Answer<'_, Vec<AccountRow>> {
        self.lane.run(|connection| {
            Box::pin(async move {
                let rows = query("select number, id, secret, catalog_version from account order by number")
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(rows::account_row).collect()
            })
        })
    }

    fn create_account(&self, id: AccountId) -> Answer<'_, AccountRow> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let mut tx = connection.begin().await?;
                let made = query("insert into account (id, secret) values ($1, $2) on conflict do nothing")
                    .bind(id.as_str())
                    .bind(secret()?)
                    .execute(&mut *tx)
                    .await?;
                if made.rows_affected() > 0 {
                    announce_keys(&mut tx).await?;
                }
                let row = query("select number, id, secret, catalog_version from account where id = $1")
                    .bind(id.as_str())
                    .fetch_one(&mut *tx)
                    .await?;
                tx.commit().await?;
                rows::account_row(&row)
            })
        })
    }

    fn signing_keys(&self) -> Answer<'_, Vec<SigningKeyRow>> {
        self.lane.run(|connection| {
            Box::pin(async move {
                // Two replicas that start at once choose the same number, and one of them wins.
                query(
                    "insert into signing_key (number, secret, active)
                     select coalesce(max(number) + 1, 1), $1, true from signing_key having not coalesce(bool_or(active), false)
                     on conflict do nothing",
                )
                .bind(secret()?)
                .execute(&mut *connection)
                .await?;
                let rows = query("select number, secret, active from signing_key order by number").fetch_all(connection).await?;
                rows.iter().map(rows::signing_key).collect()
            })
        })
    }

    fn api_keys(&self) -> Answer<'_, Vec<ApiKeyRow>> {
        self.lane.run(|connection| {
            Box::pin(async move {
                let rows = query("select * from api_key order by account, id").fetch_all(connection).await?;
                rows.iter().map(rows::api_key).collect()
            })
        })
    }

    fn add_api_key(&self, key: ApiKeyRow) -> Answer<'_, bool> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let add = query(
                    "insert into api_key (id, account, hash, scopes, created_at) values ($1, $2, $3, $4, $5)
                     on conflict (account, id) do nothing",
                );
                let add = add.bind(key.id.as_str()).bind(key.account.cast_signed()).bind(key.hash);
                of_keys(connection, add.bind(Json(&key.scopes)).bind(key.created_at.0)).await
            })
        })
    }

    fn change_api_key(&self, account: u32, id: KeyId, at: Option<i64>, change: KeyChange) -> Answer<'_, bool> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let (hash, made, until) = match change.secret {
                    Some((hash, made, until)) => (Some(hash), Some(made.0), Some(until.0)),
                    None => (None, None, None),
                };
                let change_it = query(
                    "update api_key set
                         version = nextval('api_key_version'), scopes = coalesce($4::jsonb::json, scopes),
                         old_hash = case when $5::bytea is null then old_hash else hash end,
                         old_until = coalesce($7, old_until), created_at = coalesce($6, created_at),
                         hash = coalesce($5, hash)
                     where account = $1 and id = $2 and version = coalesce($3, version)",
                );
                let change_it = change_it.bind(account.cast_signed()).bind(id.as_str()).bind(at);
                let change_it = change_it.bind(change.scopes.as_ref().map(Json)).bind(hash).bind(made).bind(until);
                of_keys(connection, change_it).await
            })
        })
    }

    fn revoke_api_key(&self, account: u32, id: KeyId, at: Option<i64>) -> Answer<'_, bool> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let revoke =
                    query("delete from api_key where account = $1 and id = $2 and version = coalesce($3, version)");
                of_keys(connection, revoke.bind(account.cast_signed()).bind(id.as_str()).bind(at)).await
            })
        })
    }

    fn serving(&self, account: u32, at: Option<i64>) -> Answer<'_, Documents> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let rows = query(SERVING).bind(account.cast_signed()).bind(at).fetch_all(connection).await?;
                let newest = rows::documents(&rows)?;
                Ok(Documents { version: at.unwrap_or(newest.version), ..newest })
            })
        })
    }

    fn serving_changes(&self, account: u32, after: i64) -> Answer<'_, DocumentChanges> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let rows = query(SERVING_CHANGES).bind(account.cast_signed()).bind(after).fetch_all(connection).await?;
                rows::document_changes(&rows)
            })
        })
    }

    fn get(&self, account: u32, keys: Vec<DocumentKey>) -> Answer<'_, Documents> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let (kinds, ids): (Vec<_>, Vec<_>) = keys.into_iter().map(|key| (key.kind.as_str(), key.id)).unzip();
                let rows = query(GET).bind(account.cast_signed()).bind(kinds).bind(ids).fetch_all(connection).await?;
                rows::documents(&rows)
            })
        })
    }

    fn history(&self, account: u32, key: DocumentKey, before: Option<i64>, limit: u32) -> Answer<'_, Vec<VersionRow>> {
        let account = account.cast_signed();
        self.lane.run(move |connection| Box::pin(history::of(connection, account, key, before, limit)))
    }

    fn list(
        &self,
        account: u32,
        kind: Kind,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Answer<'_, Documents> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let rows = query(LIST)
                    .bind(account.cast_signed())
                    .bind(kind.as_str())
                    .bind(prefix)
                    .bind(after)
                    .bind(i64::from(limit))
                    .fetch_all(connection)
                    .await?;
                rows::documents(&rows)
            })
        })
    }

    fn revision_numbers(&self, account: u32, creative: Option<CreativeId>) -> Answer<'_, Vec<RevisionNumbers>> {
        self.lane.run(move |connection| Box::pin(history::numbers(connection, account.cast_signed(), creative)))
    }

    fn revision_with(&self, account: u32, creative: CreativeId, crid: String) -> Answer<'_, Option<DocumentRow>> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let found = query(REVISION_WITH).bind(account.cast_signed()).bind(crid).bind(format!("{creative}/"));
                Ok(rows::documents(&found.fetch_all(connection).await?)?.rows.pop())
            })
        })
    }

    fn commit(
        &self,
        account: u32,
        based_on: i64,
        by: String,
        writes: Vec<DocumentWrite>,
        dry_run: bool,
    ) -> Answer<'_, Commit> {
        let empties = !dry_run && writes.iter().any(|write| write.body.is_none() && write.key.kind == Kind::Segment);
        let lane = self.lane.clone();
        let commit = lane.run(move |connection| {
            Box::pin(async move {
                let mut tx = connection.begin().await?;
                let at: i64 = query_scalar("select catalog_version from account where number = $1 for update")
                    .bind(account.cast_signed())
                    .fetch_one(&mut *tx)
                    .await?;
                if at != based_on {
                    return Ok(Commit::Moved { version: at });
                }
                let account = account.cast_signed();
                if !dry_run && let Some(name) = assets::missing(&mut tx, account, &writes).await? {
                    return Ok(Commit::NoAsset { name });
                }
                match commit::apply(&mut tx, account, at + 1, &by, writes).await? {
                    Commit::Done { .. } if dry_run => Ok(Commit::Done { version: at }),
                    done @ Commit::Done { .. } => tx.commit().await.map(|()| done),
                    refused => Ok(refused),
                }
            })
        });
        detached(async move {
            let outcome = commit.await?;
            if empties {
                // nobody waits for it; what fails is done by upkeep
                tokio::spawn(async move { leftovers::clear_lists(&lane).await });
            }
            Ok(outcome)
        })
    }

    fn begin_once(&self, account: u32, key: String, request: [u8; 32]) -> Answer<'_, Repeat> {
        self.lane.run(move |connection| {
            Box::pin(async move { repeats::begin(connection, account.cast_signed(), &key, &request).await })
        })
    }

    fn end_once(&self, account: u32, key: String, answer: Option<KeptAnswer>) -> Answer<'_, ()> {
        self.lane.run(move |connection| {
            Box::pin(async move { repeats::end(connection, account.cast_signed(), &key, answer).await })
        })
    }

    fn put_asset(&self, asset: AssetRow) -> Answer<'_, ()> {
        self.lane.run(move |connection| Box::pin(assets::put(connection, asset)))
    }

    fn asset(&self, name: String) -> Answer<'_, Option<AssetRow>> {
        self.lane.run(move |connection| Box::pin(assets::get(connection, name)))
    }

    fn asset_facts(&self, account: u32, names: Vec<String>) -> Answer<'_, Vec<AssetFacts>> {
        self.lane.run(move |connection| Box::pin(assets::facts(connection, account.cast_signed(), names)))
    }

    fn list_assets(&self, account: u32, after: Option<String>, limit: u32) -> Answer<'_, Vec<AssetFacts>> {
        self.lane.run(move |connection| Box::pin(assets::list(connection, account.cast_signed(), after, limit)))
    }

    fn delete_asset(&self, account: u32, name: String, dry_run: bool) -> Answer<'_, AssetGone> {
        self.lane.run(move |connection| Box::pin(assets::delete(connection, account.cast_signed(), name, dry_run)))
    }

    fn filled_slots(&self, account: u32, creative: CreativeId) -> Answer<'_, Vec<(String, u64)>> {
        self.lane.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select coalesce(body->>'slot', '') as slot, count(*) as filled from document
                     where account = $1 and kind = 'component' and version_to is null
                       and id ^@ $2 and id >= $2 group by 1",
                )
                .bind(account.cast_signed())
                .bind(format!("{creative}/"))
                .fetch_all(connection)
                .await?;
                rows.iter()
                    .map(|row| Ok((row.try_get("slot")?, row.try_get::<i64, _>("filled")?.cast_unsigned())))
                    .collect()
            })
        })
    }
}
