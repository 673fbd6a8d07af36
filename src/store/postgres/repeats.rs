//! Answers kept for requests that may be sent again.

use sqlx::{Error, PgConnection, Row, query};

use crate::ports::{KeptAnswer, Repeat};

/// How long an answer is kept, and how long a request may be under way, in ms.
const KEPT: i64 = 24 * 3_600_000;
const UNDER_WAY: i64 = 120_000;

/// Notes that a request begins, or finds what became of it before.
pub(super) async fn begin(
    connection: &mut PgConnection,
    account: i32,
    key: &str,
    request: &[u8],
) -> Result<Repeat, Error> {
    query("delete from repeat_answer where at < now_ms() - $1").bind(KEPT).execute(&mut *connection).await?;
    let begun = query(
        "insert into repeat_answer as r (account, key, request) values ($1, $2, $3)
         on conflict (account, key) do update set at = now_ms()
         where r.status is null and r.request = excluded.request and r.at < now_ms() - $4",
    )
    .bind(account)
    .bind(key)
    .bind(request)
    .bind(UNDER_WAY)
    .execute(&mut *connection)
    .await?;
    if begun.rows_affected() > 0 {
        return Ok(Repeat::First);
    }
    let row = query(
        "select request, status, headers::text as headers, body from repeat_answer where account = $1 and key = $2",
    )
    .bind(account)
    .bind(key)
    .fetch_optional(connection)
    .await?;
    // gone in this moment: its request failed, and whoever sends it again will be first
    let Some(row) = row else { return Ok(Repeat::UnderWay) };
    if row.try_get::<Vec<u8>, _>("request")? != request {
        return Ok(Repeat::Other);
    }
    let Some(status) = row.try_get::<Option<i32>, _>("status")? else { return Ok(Repeat::UnderWay) };
    let headers: Option<String> = row.try_get("headers")?;
    let headers = headers.and_then(|headers| serde_json::from_str(&headers).ok()).unwrap_or_default();
    let body: Option<Vec<u8>> = row.try_get("body")?;
    // statuses were written from 16 bits
    Ok(Repeat::Answered(KeptAnswer { status: status as u16, headers, body: body.unwrap_or_default() }))
}

/// Keeps the answer of a request, or forgets that it was sent.
pub(super) async fn end(
    connection: &mut PgConnection,
    account: i32,
    key: &str,
    answer: Option<KeptAnswer>,
) -> Result<(), Error> {
    let Some(answer) = answer else {
        let forget = query("delete from repeat_answer where account = $1 and key = $2 and status is null");
        return forget.bind(account).bind(key).execute(connection).await.map(drop);
    };
    query("update repeat_answer set status = $3, headers = $4::json, body = $5 where account = $1 and key = $2")
        .bind(account)
        .bind(key)
        .bind(i32::from(answer.status))
        .bind(serde_json::to_string(&answer.headers).unwrap_or_default())
        .bind(answer.body)
        .execute(connection)
        .await
        .map(drop)
}
