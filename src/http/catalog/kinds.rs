//! The same five operations for every kind of document that authors write.

use axum::{extract::State, http::HeaderMap};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, CreateProblems, DeleteProblems, Desk, LARGEST, Place, ReadProblems, Resource, WriteProblems};
use crate::{
    domain::{
        audience::model_document::ModelDoc,
        catalog::{
            audit::AuditDoc,
            document::{AdvertiserDoc, CampaignDoc, PlacementDoc, SegmentDoc, WriteKeyDoc},
            key::Kind,
        },
        creative::{ComponentDoc, CreativeDoc, TemplateDoc},
        ids::{
            AdvertiserId, CampaignId, ComponentId, CreativeId, ExchangeId, FeedId, ModelKey, PlacementId, SegmentKey,
            TemplateId, WriteKeyId,
        },
        products::FeedDoc,
    },
    http::{
        app::App,
        auth::Caller,
        etag::{IfMatch, Precondition, Unless},
        extract::{ApiPath, ApiQuery, JsonBytes},
        page::{DryRun, Page, PageQuery},
    },
};

/// Declares a module of routes for each kind: the kind with its document and its id (and those of
/// what it belongs to), its path, its tag, and what one of it is called; `create` where
/// POST takes one document and nothing else.
macro_rules! kinds {
    ($($module:ident: $kind:ident, $doc:ident, $id:ident $(of $parent:ident: $parent_id:ident)?, $path:literal, $tag:literal, $name:literal, $one:literal $(, $create:ident)?;)+) => {
        /// The routes of every kind.
        pub(super) fn routes() -> OpenApiRouter<App> {
            OpenApiRouter::new()$(.merge($module::routes()))+
        }

        $(mod $module {
            use super::*;

            type Stored = Resource<$doc>;
            type Listed = Page<Stored>;

            #[derive(Deserialize, IntoParams)]
            #[into_params(parameter_in = Path)]
            struct All {
                $(/// What it belongs to.
                $parent: $parent_id,)?
            }

            #[derive(Deserialize, IntoParams)]
            #[into_params(parameter_in = Path)]
            struct One {
                $(/// What it belongs to.
                $parent: $parent_id,)?
                /// Its id.
                id: $id,
            }

            impl All {
                fn place(self) -> Place {
                    Place::new(Kind::$kind, None$(.or(Some(self.$parent)))?)
                }
            }

            impl One {
                fn split(self) -> (Place, $id) {
                    (Place::new(Kind::$kind, None$(.or(Some(self.$parent)))?), self.id)
                }
            }

            pub(super) fn routes() -> OpenApiRouter<App> {
                OpenApiRouter::new().routes(routes!(list $(, $create)?)).routes(routes!(read, write, delete))
            }

            #[utoipa::path(
                get, path = $path, tag = $tag, operation_id = concat!("list_", $name, "s"),
                summary = concat!("List ", $name, "s"),
                description = "Page by page, in the order of their ids. Needs a key with the scope `author` or `report`.",
                params(All, PageQuery), security(("key" = [])),
                responses((status = 200, description = "A page.", body = Listed), ReadProblems)
            )]
            async fn list(
                State(app): State<App>, caller: Caller, ApiPath(all): ApiPath<All>, ApiQuery(page): ApiQuery<PageQuery>,
            ) -> Answer {
                Desk::reading(&app, &caller, all.place())?.list(page).await
            }

            $(#[utoipa::path(
                post, path = $path, tag = $tag, operation_id = concat!("create_", $name),
                summary = concat!("Create ", $one, " under a generated id"),
                description = "The id is made of the document's name. To choose it, or to be able to repeat the \
                               request safely, use PUT. Needs a key with the scope `author`.",
                params(All, DryRun), security(("key" = [])), request_body = $doc,
                responses(
                    (status = 200, description = "A dry run: it would be created.", body = Stored),
                    (status = 201, description = "It is created.", body = Stored, headers(
                        ("Location" = String, description = "Where it is."),
                        ("ETag" = String, description = "Its version in double quotes."),
                    )),
                    CreateProblems
                )
            )]
            async fn $create(
                State(app): State<App>, caller: Caller, ApiPath(all): ApiPath<All>, ApiQuery(dry): ApiQuery<DryRun>,
                JsonBytes(document): JsonBytes<LARGEST>,
            ) -> Answer {
                Desk::writing(&app, &caller, all.place())?.create(dry, &document).await
            })?

            #[utoipa::path(
                get, path = concat!($path, "/{id}"), tag = $tag, operation_id = concat!("get_", $name),
                summary = concat!("Read ", $one),
                description = "Needs a key with the scope `author` or `report`.",
                params(One, Unless), security(("key" = [])),
                responses(
                    (status = 200, description = "The document.", body = Stored, headers(
                        ("ETag" = String, description = "Its version in double quotes."),
                    )),
                    (status = 304, description = "It is still at the version that `If-None-Match` names."),
                    ReadProblems
                )
            )]
            async fn read(
                State(app): State<App>, caller: Caller, ApiPath(one): ApiPath<One>, headers: HeaderMap,
            ) -> Answer {
                let (place, id) = one.split();
                Desk::reading(&app, &caller, place)?.read(id.as_str(), &headers).await
            }

            #[utoipa::path(
                put, path = concat!($path, "/{id}"), tag = $tag, operation_id = concat!("put_", $name),
                summary = concat!("Create or replace ", $one),
                description = "Send `If-None-Match: *` to create, or `If-Match` with the ETag that was read to \
                               replace. Every fault of the document is reported at once. Needs a key with the scope \
                               `author`.",
                params(One, DryRun, Precondition), security(("key" = [])), request_body = $doc,
                responses(
                    (status = 200, description = "It is replaced; or a dry run: it would be written (no ETag).",
                        body = Stored, headers(("ETag" = String, description = "Its version in double quotes."))),
                    (status = 201, description = "It is created.", body = Stored, headers(
                        ("Location" = String, description = "Where it is."),
                        ("ETag" = String, description = "Its version in double quotes."),
                    )),
                    WriteProblems
                )
            )]
            async fn write(
                State(app): State<App>, caller: Caller, ApiPath(one): ApiPath<One>, ApiQuery(dry): ApiQuery<DryRun>,
                expect: Precondition, JsonBytes(document): JsonBytes<LARGEST>,
            ) -> Answer {
                let (place, id) = one.split();
                Desk::writing(&app, &caller, place)?.write(id.as_str(), expect, dry, &document).await
            }

            #[utoipa::path(
                delete, path = concat!($path, "/{id}"), tag = $tag, operation_id = concat!("delete_", $name),
                summary = concat!("Delete ", $one),
                description = "Refused while other documents name it; the answer lists them. Needs a key with the \
                               scope `author`.",
                params(One, DryRun, IfMatch), security(("key" = [])),
                responses(
                    (status = 200, description = "A dry run: this document would be deleted.", body = Stored),
                    (status = 204, description = "It is deleted."),
                    DeleteProblems
                )
            )]
            async fn delete(
                State(app): State<App>, caller: Caller, ApiPath(one): ApiPath<One>, ApiQuery(dry): ApiQuery<DryRun>,
                expect: Precondition,
            ) -> Answer {
                let (place, id) = one.split();
                Desk::writing(&app, &caller, place)?.delete(id.as_str(), expect, dry).await
            }
        })+
    };
}

kinds! {
    advertisers: Advertiser, AdvertiserDoc, AdvertiserId, "/v1/advertisers", "advertisers", "advertiser", "an advertiser", create;
    placements: Placement, PlacementDoc, PlacementId, "/v1/placements", "placements", "placement", "a placement", create;
    templates: Template, TemplateDoc, TemplateId, "/v1/templates", "templates", "template", "a template", create;
    feeds: Feed, FeedDoc, FeedId, "/v1/feeds", "feeds", "feed", "a feed", create;
    segments: Segment, SegmentDoc, SegmentKey, "/v1/segments", "segments", "segment", "a segment", create;
    models: Model, ModelDoc, ModelKey, "/v1/models", "models", "model", "a model", create;
    creatives: Creative, CreativeDoc, CreativeId, "/v1/creatives", "creatives", "creative", "a creative's draft", create;
    components: Component, ComponentDoc, ComponentId of creative: CreativeId,
        "/v1/creatives/{creative}/components", "components", "component", "a component of a creative's draft";
    audits: Audit, AuditDoc, ExchangeId of creative: CreativeId,
        "/v1/creatives/{creative}/audits", "creatives", "audit", "what an exchange says of a creative's ads";
    write_keys: WriteKey, WriteKeyDoc, WriteKeyId, "/v1/write-keys", "keys", "write_key", "a write key", create;
    campaigns: Campaign, CampaignDoc, CampaignId, "/v1/campaigns", "campaigns", "campaign", "a campaign", create;
}
