//! The edge: connections become requests, requests become typed values, answers become bytes.
//!
//! [`accept`] owns sockets and their time limits; [`layers`] is what happens around every request;
//! [`admission`] refuses early what cannot be served in time; [`extract`] turns bodies, paths and
//! queries into values; [`problem`] is the only place that knows how an error looks on the wire.

pub mod accept;
pub mod admission;
pub mod app;
pub mod assets;
pub mod auth;
pub mod beacons;
pub mod bidding;
pub mod body;
pub mod browser;
pub mod budgets;
pub mod catalog;
pub mod client;
pub mod conversions;
mod cors;
pub mod coverage;
pub mod crm;
pub mod decisions;
pub mod docs;
pub mod etag;
pub mod events;
pub mod extract;
pub mod feeds;
pub mod health;
pub mod keys;
pub mod late;
pub mod layers;
pub mod members;
pub mod models;
pub mod notices;
pub mod openapi;
pub mod openrtb;
pub mod page;
mod paid;
pub mod pipe;
pub mod playback;
pub mod player_errors;
pub mod players;
pub mod previews;
pub mod problem;
pub mod profiles;
mod queries;
pub mod rate;
pub mod records;
mod repeats;
pub mod reports;
pub mod request;
pub mod results;
pub mod rows;
mod said;
mod sender;
pub mod shadow;
pub mod simulation;
pub mod tags;
pub mod transitions;
pub mod versions;
pub mod webhooks;
mod what_if;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use self::{admission::Class, app::App, health::Readiness, layers::Edge};
use crate::telemetry::Exposition;

/// Every route that needs the application, by priority class: the one list that the router and the
/// OpenAPI document are made of.
fn groups() -> Vec<(Class, OpenApiRouter<App>)> {
    vec![
        (Class::Decide, decisions::routes().merge(openrtb::routes()).merge(tags::routes()).merge(late::routes())),
        (
            Class::Beacons,
            beacons::routes()
                .merge(conversions::pixels())
                .merge(notices::routes())
                .merge(players::routes())
                .merge(tags::pixels())
                .merge(browser::routes())
                .merge(assets::public()),
        ),
        (
            Class::Events,
            events::routes()
                .merge(conversions::routes())
                .merge(browser::authoring())
                .merge(profiles::routes())
                .merge(members::routes())
                .merge(crm::import::routes()),
        ),
        (
            Class::Authoring,
            catalog::routes()
                .merge(feeds::routes())
                .merge(assets::authoring())
                .merge(keys::routes())
                .merge(webhooks::routes()),
        ),
        (
            Class::Reports,
            records::routes()
                .merge(previews::routes())
                .merge(models::routes())
                .merge(coverage::routes())
                .merge(versions::routes())
                .merge(crm::export::routes())
                .merge(transitions::routes())
                .merge(reports::routes())
                .merge(shadow::routes())
                .merge(results::routes())
                .merge(playback::routes())
                .merge(budgets::routes())
                .merge(what_if::routes())
                .merge(simulation::routes()),
        ),
    ]
}

/// Whether a POST of a class may carry an `Idempotency-Key`: decisions and beacons make nothing that lasts.
fn may_repeat(class: Class) -> bool {
    matches!(class, Class::Events | Class::Authoring | Class::Reports)
}

/// The service: every route with what every request gets around it.
pub fn router(app: App, edge: &Edge, readiness: Readiness, exposition: Exposition) -> Router {
    let free = health::routes(readiness, exposition).merge(problem::routes()).merge(docs::routes());
    let once = axum::middleware::from_fn_with_state(app.clone(), repeats::once);
    let groups = groups().into_iter().map(|(class, routes)| match class {
        class if may_repeat(class) => edge.described(class, routes.layer(once.clone())),
        _ => edge.described(class, routes),
    });
    edge.close(groups.fold(edge.group(Class::Free, free), Router::merge)).with_state(app)
}
