//! What players tell of videos: how far they were played, and why they were not.

use axum::{extract::State, http::Method, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    beacons::{Detail, OutcomeAnswer, PixelProblems, pixel, verified},
    extract::{ApiPath, ApiQuery},
    problem::Problem,
    sender::Sender,
};
use crate::domain::measurement::outcome::OutcomeKind;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(event)).routes(routes!(nothing))
}

/// What a player tells of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum PlayerEvent {
    /// It began.
    Start,
    /// A quarter of it was played.
    FirstQuartile,
    /// Half of it.
    Midpoint,
    /// Three quarters of it.
    ThirdQuartile,
    /// All of it.
    Complete,
    /// It could not be shown.
    Error,
}

impl PlayerEvent {
    fn kind(self) -> OutcomeKind {
        OutcomeKind::OF_VIDEO[self as usize]
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Told {
    /// From the document that the player got; each event has its own.
    token: String,
    /// What happened. One that is unknown counts nothing and is answered with a pixel like any other.
    #[param(value_type = String, example = "start")]
    event: PlayerEvent,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ErrorQuery {
    /// Why, by VAST's list of error codes.
    #[param(example = "405")]
    code: Option<String>,
}

/// Count how far a video was played
///
/// The `Tracking` and `Error` addresses of VAST documents. Each event counts once per decision; it shows in the
/// campaign's playback report, and neither in rates nor in what is learned. Always answers with a GIF of one pixel.
#[utoipa::path(
    get,
    path = "/v1/p/{token}/{event}",
    tag = "beacons",
    operation_id = "count_playback",
    params(Told, ErrorQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn event(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    told: Result<ApiPath<Told>, Problem>,
    query: Result<ApiQuery<ErrorQuery>, Problem>,
) -> Response {
    let Ok(ApiPath(Told { token, event })) = told else { return pixel(OutcomeAnswer::Invalid) };
    let (known, answer) = verified(&app, Some(&sender), &method, event.kind(), &token, &Detail::default()).await;
    if event == PlayerEvent::Error && known.is_some_and(|known| !known.claim.preview) && method != Method::HEAD {
        app.player_errors.count(query.ok().and_then(|ApiQuery(query)| query.code).as_deref());
    }
    pixel(answer)
}

/// Hear that a player got no video
///
/// The `Error` address of VAST documents without an ad. Counted in the metrics alone.
#[utoipa::path(
    get,
    path = "/v1/p/none",
    tag = "beacons",
    operation_id = "count_no_video",
    params(ErrorQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "Always `unknown`: there is no decision to count it for."),
    )), PixelProblems)
)]
async fn nothing(State(app): State<App>, method: Method, query: Result<ApiQuery<ErrorQuery>, Problem>) -> Response {
    if method != Method::HEAD {
        app.player_errors.count(query.ok().and_then(|ApiQuery(query)| query.code).as_deref());
    }
    pixel(OutcomeAnswer::Unknown)
}
