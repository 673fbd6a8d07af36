//! Images over HTTP: uploaded by authors, fetched by browsers.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    etag::{self, Unless},
    extract::{ApiPath, ApiQuery, RawBytes},
    page::{DryRun, Page, PageQuery},
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::{access::Scope, creative::is_asset_name, values::Size, violation::Violation},
    engine::{
        AssetFacts, AssetGone,
        assets::Assets,
        images::{Fit, Picture},
    },
    problems,
};

/// What browsers ask for, and whoever deletes it: a path belongs to one class.
pub fn public() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(serve, delete))
}

/// What authors ask for.
pub fn authoring() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, upload))
}

problems!(ServeProblems = [BadRequest, NotFound, Overloaded, StoreUnavailable]);
problems!(
    UploadProblems = [
        BadRequest,
        Unauthorized,
        Forbidden,
        RequestTimeout,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);

problems!(ListProblems = [BadRequest, Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);
problems!(
    GoneProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Invalid, Overloaded, StoreUnavailable]
);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Named {
    /// The image's name: a hash of its content and an ending.
    #[param(pattern = "^[0-9a-f]{32}\\.(png|jpg|webp|gif)$", example = "0f343b0931126a20f133d67c2b018a3b.png")]
    name: String,
}

/// An image that is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "0f343b0931126a20f133d67c2b018a3b.png", "url": "/v1/assets/0f343b0931126a20f133d67c2b018a3b.png",
    "media_type": "image/png", "width": 600, "height": 500, "bytes": 48213, "frames": 1
}))]
struct AssetAnswer {
    /// Its name: the same for the same content.
    name: String,
    /// Where it is served; the `src` of image slots.
    url: String,
    /// Its media type.
    media_type: &'static str,
    /// Width in pixels.
    width: u32,
    /// Height in pixels.
    height: u32,
    /// Size of the file, in bytes.
    bytes: usize,
    /// How many frames it has: 1 when it does not move.
    frames: u32,
}

impl AssetAnswer {
    fn of(picture: &Picture) -> Self {
        let Picture { name, media_type, bytes, width, height, frames } = picture;
        let (width, height, frames) = (*width, *height, *frames);
        Self { url: Assets::url(name), name: name.clone(), media_type, width, height, bytes: bytes.len(), frames }
    }
}

/// An image that is kept, in a list of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "0f343b0931126a20f133d67c2b018a3b.png", "url": "/v1/assets/0f343b0931126a20f133d67c2b018a3b.png",
    "media_type": "image/png", "width": 600, "height": 500, "bytes": 48213
}))]
struct Asset {
    /// Its name: the same for the same content.
    name: String,
    /// Where it is served; the `src` of image slots.
    url: String,
    /// Its media type.
    media_type: &'static str,
    /// Width in pixels; left out of images that were kept before it was noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    /// Height in pixels, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    /// Size of the file, in bytes.
    bytes: u32,
}

impl From<AssetFacts> for Asset {
    fn from(AssetFacts { name, sides, bytes }: AssetFacts) -> Self {
        let (width, height) = sides.unzip();
        let media_type = Picture::media_type(&name).unwrap_or_default();
        Self { url: Assets::url(&name), name, media_type, width, height, bytes }
    }
}

type Listed = Page<Asset>;

/// What to make of an image.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// Cut and scale the image to this size: of a slot, or of a whole creative. Left out: as it is.
    #[param(inline, required = false)]
    fit: Option<Size>,
    /// What matters most in it, as shares of its width and height from the top left: it stays in the
    /// middle of what is cut, as far as the edges allow.
    #[param(
        required = false,
        default = "0.5,0.5",
        pattern = "^(0|1|0?\\.[0-9]+),(0|1|0?\\.[0-9]+)$",
        example = "0.5,0.3"
    )]
    focus: Option<String>,
    /// Check everything and keep nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    dry_run: bool,
}

impl UploadQuery {
    fn fit(&self) -> Result<Option<Fit>, Problem> {
        let focus = self.focus.as_deref().map_or(Some((0.5, 0.5)), focus);
        let Some(focus) = focus else {
            let detail = "focus must be two numbers from 0 to 1 with a comma between, such as 0.5,0.3";
            return Err(Problem::invalid(vec![Violation::new("", "query", detail)]));
        };
        let fit = |size: Size| Fit { width: size.width.into(), height: size.height.into(), focus };
        Ok(self.fit.map(fit))
    }
}

/// A point of a picture, as shares of its width and height.
pub(super) fn focus(text: &str) -> Option<(f64, f64)> {
    let share = |text: &str| {
        let share = text.trim().parse::<f64>().ok()?;
        (0.0..=1.0).contains(&share).then_some(share)
    };
    let (x, y) = text.split_once(',')?;
    Some((share(x)?, share(y)?))
}

/// The bytes of an image, in the OpenAPI document.
struct Image;

impl PartialSchema for Image {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).content_media_type("application/octet-stream").build().into()
    }
}

impl ToSchema for Image {}

/// Fetch an image
///
/// Public. An image never changes under its name, so it may be cached for ever.
#[utoipa::path(
    get, path = "/v1/assets/{name}", tag = "assets", operation_id = "get_asset", params(Named, Unless), security(()),
    responses(
        (status = 200, description = "The image.", headers(("ETag" = String, description = "Its name in double quotes.")),
            content((Image = "image/png"), (Image = "image/jpeg"), (Image = "image/webp"), (Image = "image/gif"))),
        (status = 304, description = "The caller has it."),
        ServeProblems
    )
)]
async fn serve(
    State(app): State<App>,
    ApiPath(Named { name }): ApiPath<Named>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    const ALWAYS: [(HeaderName, &str); 3] = [
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    let missing = || Problem::new(ProblemKind::NotFound, "There is no such image.");
    let tag = tag(&name).ok_or_else(missing)?;
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, ALWAYS, [(header::ETAG, tag)]).into_response());
    }
    let asset = app.engine.assets.get(&name).await?.ok_or_else(missing)?;
    Ok((ALWAYS, [(header::ETAG, tag)], [(header::CONTENT_TYPE, asset.media_type)], asset.bytes).into_response())
}

/// The tag of an image: its name, if it can be one.
fn tag(name: &str) -> Option<HeaderValue> {
    is_asset_name(name).then(|| HeaderValue::from_str(&format!("\"{name}\"")).ok()).flatten()
}

/// Upload an image
///
/// PNG, JPEG, WebP or GIF of at most 8 MiB and 10 million pixels, as the raw body; what it is is read
/// from its first bytes. It is decoded and written anew, so that nothing but the picture is kept; a
/// WebP photo may become a JPEG. An animated GIF stays animated up to 200 frames; an animated PNG or
/// WebP and every SVG are refused. Uploading the same image again answers the same name. Needs a key
/// with the scope `author`.
#[utoipa::path(
    post, path = "/v1/assets", tag = "assets", operation_id = "upload_asset", params(UploadQuery), security(("key" = [])),
    request_body(content((Image = "image/png"), (Image = "image/jpeg"), (Image = "image/webp"), (Image = "image/gif"))),
    responses(
        (status = 200, description = "A dry run: the image would be kept.", body = AssetAnswer),
        (status = 201, description = "The image is kept.", body = AssetAnswer,
            headers(("Location" = String, description = "Where it is served."))),
        UploadProblems
    )
)]
async fn upload(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(query): ApiQuery<UploadQuery>,
    RawBytes(bytes): RawBytes<{ Picture::LARGEST }>,
) -> Result<Response, Problem> {
    caller.must(Scope::Author)?;
    let picture = app.engine.assets.read(bytes, query.fit()?).await?;
    let answer = AssetAnswer::of(&picture);
    if query.dry_run {
        return Ok(Json(answer).into_response());
    }
    let url = app.engine.assets.keep(caller.account.number(), picture).await?;
    let location = HeaderValue::from_str(&url).map_err(Problem::internal)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(answer)).into_response())
}

/// List images
///
/// Those of the account, page by page, in the order of their names. Needs a key with the scope `author` or
/// `report`.
#[utoipa::path(
    get, path = "/v1/assets", tag = "assets", operation_id = "list_assets", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = Listed), ListProblems)
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(page): ApiQuery<PageQuery>,
) -> Result<Response, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let after = page.after.map(String::from);
    let found = app.engine.assets.list(caller.account.number(), after, page.limit.and_one()).await?;
    Ok(Json(Page::of(found, page.limit, |row| row.name.clone(), Asset::from)).into_response())
}

/// Delete an image
///
/// Refused while a template, a component or a revision of a creative names it, of one that was deleted for four days
/// more; the answer lists some of them. Whoever has fetched it may go on showing it.
/// Needs a key with the scope `author`.
#[utoipa::path(
    delete, path = "/v1/assets/{name}", tag = "assets", operation_id = "delete_asset", params(Named, DryRun),
    security(("key" = [])),
    responses(
        (status = 200, description = "A dry run: this image would be deleted.", body = Asset),
        (status = 204, description = "It is deleted."),
        GoneProblems
    )
)]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { name }): ApiPath<Named>,
    ApiQuery(dry): ApiQuery<DryRun>,
) -> Result<Response, Problem> {
    caller.must(Scope::Author)?;
    match app.engine.assets.delete(caller.account.number(), &name, dry.dry_run).await? {
        AssetGone::Missing => Err(Problem::new(ProblemKind::NotFound, "There is no such image.")),
        AssetGone::InUse(by) => {
            let named = |by| Violation::new("", "in_use", format!("{by} names it"));
            Err(Problem::new(ProblemKind::Conflict, "The image is in use.")
                .with_errors(by.into_iter().map(named).collect()))
        }
        AssetGone::Done(gone) if dry.dry_run => Ok(Json(Asset::from(gone)).into_response()),
        AssetGone::Done(_) => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
