//! Models learned anew.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiJson, ApiPath},
    problem::Problem,
};
use crate::{
    domain::{access::Scope, audience::training::Settings, ids::ModelKey},
    engine::training::Trained,
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(train))
}

problems!(
    TrainProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        NotFound,
        RequestTimeout,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Model {
    /// The model.
    pub(super) id: ModelKey,
}

/// Train a model
///
/// Learns the model anew from a sample of people in memory and answers with the document that it
/// would become: how many people fall where, what each cluster is called after its strongest
/// features, how well the clusters are apart, and how many people would move from the live one's
/// clusters or fifths. Nothing changes: rules follow the new version when you PUT the answer's
/// `document`, which is the time to look at it first (a preview of a segment that names the model
/// tells who is in it now). While the history of events is being read it is learned without some of them,
/// which `unread_events` names. Clusters that continue live ones keep their numbers;
/// the number of one that is no more is left out, with an empty list among `centroids`, until a later
/// training needs one. A document without a cluster that a rule names is refused. The same
/// sample, time and seed give the same answer. Nothing is learned from traits; events and properties that may
/// tell a protected attribute (age, gender, religion, ethnicity, nationality, health, politics,
/// sexual orientation, unions, genes and bodies, family, crimes) are refused unless
/// `allow_protected` names them. Fifths take 50 people who bought within the window; clusters take
/// 50 people with such events, and 10 for each cluster of `least_clusters`. Needs a key with the
/// scope `author`.
#[utoipa::path(
    post, path = "/v1/models/{id}/train", tag = "models", operation_id = "train_model",
    params(Model), request_body = Settings, security(("key" = [])),
    responses((status = 200, description = "What the model would become.", body = Trained), TrainProblems)
)]
async fn train(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Model { id }): ApiPath<Model>,
    ApiJson(settings): ApiJson<Settings>,
) -> Result<Json<Trained>, Problem> {
    caller.must(Scope::Author)?;
    Ok(Json(app.engine.trainer.train(&caller.account, &id, settings).await?))
}
