//! provisional
use super::app::App;
use utoipa_axum::router::OpenApiRouter;
/// doc
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(super::decisions::routes())
        .merge(super::beacons::routes())
        .merge(super::catalog::routes())
}
/// doc
pub fn document() -> utoipa::openapi::OpenApi {
    api().split_for_parts().1
}
/// doc
pub fn schemas() -> Result<crate::schema::Schemas, crate::schema::SchemaError> {
    let doc = serde_json::to_value(document()).unwrap_or_default();
    crate::schema::Schemas::new(&doc, &["RuleDoc", "TargetingDoc", "Condition", "TargetingCondition"])
}
