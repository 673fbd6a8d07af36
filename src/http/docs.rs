//! The description of the API for programs (`/openapi.json`) and for people (`/docs`), served from
//! the binary.

use axum::{Router, response::Redirect, routing::get};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{layers::compression, openapi};

/// `GET /openapi.json` and `/docs`, to which the bare address leads.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    // else pages on other hosts than localhost ask a service of strangers to judge the document
    let config = Config::from("/openapi.json").try_it_out_enabled(true).validator_url("none");
    let pages = SwaggerUi::new("/docs").config(config);
    let home = get(async || Redirect::to("/docs/"));
    Router::new().route("/", home).route("/openapi.json", get(openapi::describe)).merge(pages).layer(compression())
}
