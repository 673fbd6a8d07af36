//! What a transaction leaves for later because there may be millions of it: the answers that name
//! erased people, and who was on a deleted list. Each step is short and keeps what it did, and what
//! is due stands in the database until the last one is done, so a crash in between loses nothing.

use sqlx::{Connection, Error, PgConnection, query, query_as, query_scalar, types::Uuid};

use super::{Lane, changes::tell_lists};
use crate::ports::StoreError;

/// Answers looked through in one statement, and most of their bytes but for the first's.
const ANSWERS: i64 = 500;
const BYTES: i64 = 16 << 20;
/// Names looked for in one pass.
const NAMES: i64 = 1_000;
/// People taken off a list in one transaction.
const PEOPLE: i64 = 10_000;

/// Deletes the kept answers that name erased people.
pub(super) async fn clear_answers(lane: &Lane) -> Result<(), StoreError> {
    while let Some((account, names)) = due(lane).await? {
        let mut after = Some(String::new());
        while let Some(from) = after {
            let names = names.clone();
            let page = lane.run(move |connection| Box::pin(clear_page(connection, account, from, names)));
            after = page.await?;
        }
        let done = lane.run(move |connection| {
            let done = query("delete from answer_erasure where account = $1 and key = any($2)");
            Box::pin(done.bind(account).bind(names).execute(connection))
        });
        done.await?;
    }
    Ok(())
}

/// Some erased people of one account, by their names.
async fn due(lane: &Lane) -> Result<Option<(i32, Vec<String>)>, StoreError> {
    let due = lane.run(|connection| {
        let due = query_as(
            "select account, array_agg(key) from (
                 select account, key from answer_erasure order by account, key limit $1) due
             group by account order by account limit 1",
        );
        Box::pin(due.bind(NAMES).fetch_optional(connection))
    });
    due.await
}

/// Looks through the answers behind one; the last of them, if there was any.
async fn clear_page(
    connection: &mut PgConnection,
    account: i32,
    after: String,
    names: Vec<String>,
) -> Result<Option<String>, Error> {
    query_scalar(
        "with ahead as (
             select key, octet_length(body) as size, body from repeat_answer
             where account = $1 and key > $2 order by key limit $4),
         page as materialized (
             select key, body from (
                 select key, body, coalesce(sum(size) over (order by key rows between unbounded preceding and 1 preceding), 0) as before
                 from ahead) sized
             where before < $5),
         names as materialized (
             select convert_to(name, 'UTF8') as plain,
                    convert_to(substring(to_json(name)::text from 2 for length(to_json(name)::text) - 2), 'UTF8') as quoted
             from unnest($3::text[]) name),
         gone as (
             delete from repeat_answer r using page p
             where r.account = $1 and r.key = p.key
               and exists (select from names n where position(n.plain in p.body) > 0 or position(n.quoted in p.body) > 0))
         select max(key) from page",
    )
    .bind(account)
    .bind(after)
    .bind(names)
    .bind(ANSWERS)
    .bind(BYTES)
    .fetch_one(connection)
    .await
}

/// Takes everybody off the lists that were deleted.
pub(super) async fn clear_lists(lane: &Lane) -> Result<(), StoreError> {
    while lane.run(|connection| Box::pin(clear_next(connection))).await? {}
    Ok(())
}

/// One step of a list that nobody else clears; whether there was one.
async fn clear_next(connection: &mut PgConnection) -> Result<bool, Error> {
    let mut tx = connection.begin().await?;
    let next: Option<(i32, i64)> = query_as("select account, list from list_leaving limit 1 for update skip locked")
        .fetch_optional(&mut *tx)
        .await?;
    let Some((account, list)) = next else { return Ok(false) };
    if clear_some(&mut tx, account, list).await? {
        query("delete from list_leaving where account = $1 and list = $2")
            .bind(account)
            .bind(list)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Takes some people off a list; whether nobody is left. The versions of people stay as they are: caches forget
/// what they know of this stretch instead.
pub(super) async fn clear_some(tx: &mut PgConnection, account: i32, list: i64) -> Result<bool, Error> {
    let uids: Vec<Uuid> =
        query_scalar("select uid from list_member where account = $1 and list = $2 order by uid limit $3")
            .bind(account)
            .bind(list)
            .bind(PEOPLE)
            .fetch_all(&mut *tx)
            .await?;
    if let (Some(first), Some(last)) = (uids.first(), uids.last()) {
        query("delete from list_member where account = $1 and list = $2 and uid between $3 and $4")
            .bind(account)
            .bind(list)
            .bind(first)
            .bind(last)
            .execute(&mut *tx)
            .await?;
        tell_lists(tx, account, *first, *last).await?;
    }
    Ok((uids.len() as i64) < PEOPLE)
}
