//! The description of the API for programs (`/openapi.json`) and for people (`/docs`), served from
//! the binary.

use axum::{Router, response::Redirect, routing::get};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{layers::compression, openapi};

/// `GET /openapi.json` and `/docs`, to which the bare address leads.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages = SwaggerUi::new("/docs").config(Config::from("/openapi.json").try_it_out_enabled(true));
    let home = get(async || Redirect::to("/docs/"));
    Router::new().route("/", home).route("/openapi.json", get(openapi::describe)).merge(pages).layer(compression())
}
