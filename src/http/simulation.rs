//! Replaying scenarios over HTTP: `Tessera-Time` says when a request happens, and learning can be
//! waited for. Only of a service that was started with `--simulation`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::{access::Scope, values::Millis},
    engine::simulated::SimulatedClock,
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(refresh))
}

/// The header that says when a request happens.
const TIME: &str = "tessera-time";

/// Has every request happen when it says it does.
pub fn timed(router: Router, clock: Arc<SimulatedClock>) -> Router {
    router.layer(middleware::from_fn_with_state(clock, at_its_time))
}

async fn at_its_time(State(clock): State<Arc<SimulatedClock>>, request: Request, next: Next) -> Response {
    let Some(header) = request.headers().get(TIME) else { return next.run(request).await };
    let time = header.to_str().ok().and_then(|text| text.parse::<Millis>().ok());
    match time {
        Some(time) => clock.at(time, next.run(request)).await,
        None => {
            let detail = "Tessera-Time must be a time as RFC 3339 writes it.";
            Problem::new(ProblemKind::BadRequest, detail).into_response()
        }
    }
}

problems!(RefreshProblems = [Unauthorized, Forbidden, NotFound, Overloaded, StoreUnavailable]);

/// What a refresh came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"refreshed_at": "2026-11-22T08:30:00.000Z"}))]
struct Refreshed {
    /// Everything committed until then is learned from and published.
    refreshed_at: Millis,
}

/// Wait for learning
///
/// Answers once every outcome that is committed by now has been learned from and decisions of this
/// replica choose by it. Only of a service that was started with `--simulation`, else 404.
/// Needs a key with the scope `report`.
#[utoipa::path(
    post, path = "/v1/simulation/refresh", tag = "operations", operation_id = "refresh_learning", security(("key" = [])),
    responses((status = 200, description = "It is so.", body = Refreshed), RefreshProblems)
)]
async fn refresh(State(app): State<App>, caller: Caller) -> Result<Json<Refreshed>, Problem> {
    caller.must(Scope::Report)?;
    if !app.simulation {
        return Err(Problem::new(ProblemKind::NotFound, "This service was not started with --simulation."));
    }
    app.engine.outcomes.flush().await;
    app.engine.learning.refresh().await?;
    Ok(Json(Refreshed { refreshed_at: app.engine.clock.now() }))
}
