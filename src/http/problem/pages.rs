//! The documentation of the problem types, served where their type URIs point.

use std::fmt::Write;

use axum::{
    Router,
    extract::Path,
    response::{Html, IntoResponse, Response},
    routing::get,
};

use super::{Problem, ProblemKind};

/// `GET /problems` and `GET /problems/{slug}`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/problems", get(list)).route("/problems/{slug}", get(page))
}

async fn list() -> Html<String> {
    let mut items = String::new();
    for kind in ProblemKind::ALL {
        let (slug, status, title) = (kind.slug(), kind.status().as_u16(), kind.title());
        // Writing to a string cannot fail.
        let _ = write!(items, "<li><a href=\"/problems/{slug}\"><code>{slug}</code></a> {status}: {title}</li>");
    }
    document("Problems", &format!("<ul>{items}</ul>"))
}

async fn page(Path(slug): Path<String>) -> Response {
    let Some(kind) = ProblemKind::ALL.iter().find(|kind| kind.slug() == slug) else {
        return Problem::new(ProblemKind::NotFound, "GET /problems lists every problem type.").into_response();
    };
    let retry = kind.retry_after().map_or("", |_| "<p>The answer carries <code>Retry-After</code>.</p>");
    let words = kind.documentation();
    document(kind.title(), &format!("<p>Status {}</p><p>{words}</p>{retry}", kind.status())).into_response()
}

/// A small page of our own words only, so nothing in it needs escaping.
fn document(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui;max-width:42rem;margin:3rem auto;padding:0 1rem}}</style>\
         <h1>{title}</h1>{body}<p><a href=\"/problems\">All problems</a></p></html>"
    ))
}
