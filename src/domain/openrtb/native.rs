//! What a native impression asks for: Native 1.2 section 4, in the four shapes that it comes in.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    refusal::Refusal,
    request::{Int, Object, Objects, Text, at_least_zero},
};
use crate::domain::creative::{NativeRequest, Wanted, WantedKind};

/// How many assets a native ad is asked for at most: far more than any has, and few enough for each creative to be held
/// against all of them.
const MOST_ASSETS: usize = 64;

#[derive(Deserialize)]
struct Root<'a> {
    /// The wrapper of version 1.0.
    #[serde(borrow)]
    native: Option<&'a RawValue>,
    #[serde(borrow)]
    assets: Option<Objects<Asset<'a>>>,
    eventtrackers: Option<Objects<Tracker>>,
}

#[derive(Deserialize)]
struct Asset<'a> {
    id: Option<Int>,
    required: Option<Int>,
    title: Option<Object<Title>>,
    #[serde(borrow)]
    img: Option<Object<Image<'a>>>,
    #[serde(borrow)]
    video: Option<&'a RawValue>,
    data: Option<Object<Data>>,
}

#[derive(Deserialize)]
struct Title {
    len: Option<Int>,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(rename = "type")]
    kind: Option<Int>,
    w: Option<Int>,
    h: Option<Int>,
    wmin: Option<Int>,
    hmin: Option<Int>,
    #[serde(borrow)]
    mimes: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "type")]
    kind: Option<Int>,
    len: Option<Int>,
}

#[derive(Deserialize)]
struct Tracker {
    event: Option<Int>,
    methods: Option<Vec<Int>>,
}

/// Reads the request of a native object: a text that holds JSON, or that JSON itself; with the
/// wrapper or without.
///
/// # Errors
/// There is none, or it cannot be answered.
pub(super) fn parse(request: Option<&RawValue>) -> Result<NativeRequest, Refusal> {
    let request = request.ok_or(Refusal::Native)?.get();
    let unquoted: Option<Text<'_>> = serde_json::from_str(request).ok();
    let text = unquoted.as_deref().unwrap_or(request);
    let root = |text| serde_json::from_str::<Object<Root<'_>>>(text).map_err(|_| Refusal::Native);
    let outer = root(text)?;
    match outer.native {
        None => read(&outer, false),
        Some(inner) => {
            let inner = root(inner.get())?;
            read(&inner, true)
        }
    }
}

fn read(root: &Root<'_>, wrapped: bool) -> Result<NativeRequest, Refusal> {
    let assets = root.assets.as_deref().unwrap_or_default();
    if assets.len() > MOST_ASSETS {
        return Err(Refusal::Native);
    }
    let mut wanted: Vec<Wanted> = Vec::with_capacity(assets.len());
    for (at, asset) in assets.iter().enumerate() {
        // those who leave the ids out count
        let id = asset.id.map_or(at as i64, |id| id.0);
        if wanted.iter().any(|other| other.id == id) {
            return Err(Refusal::Native);
        }
        wanted.push(Wanted { id, required: asset.required == Some(Int(1)), kind: kind(asset)? });
    }
    let trackers = root.eventtrackers.as_deref();
    let known = |event: i64| (1..=4).contains(&event) || event >= 500;
    let all = trackers.unwrap_or_default();
    if wanted.is_empty() || !all.iter().all(|tracker| tracker.event.is_some_and(|event| known(event.0))) {
        return Err(Refusal::Native);
    }
    let takes = |event: i64, method: i64| {
        let has = |methods: &Vec<Int>| methods.contains(&Int(method));
        all.iter().any(|tracker| tracker.event == Some(Int(event)) && tracker.methods.as_ref().is_some_and(has))
    };
    Ok(NativeRequest {
        wrapped,
        assets: wanted,
        event_trackers: trackers.is_some(),
        impression_pixel: takes(1, 1),
        view_pixel: takes(2, 1),
        impression_script: takes(1, 2),
        view_script: takes(2, 2),
    })
}

/// A MIME type as everybody else writes it.
fn usual(mime: String) -> String {
    if mime == "image/jpg" { "image/jpeg".to_owned() } else { mime }
}

fn kind(asset: &Asset<'_>) -> Result<WantedKind, Refusal> {
    let above_zero = |number: Option<Int>| number.filter(|n| n.0 > 0).map(|n| u32::try_from(n.0).unwrap_or(u32::MAX));
    match (&asset.title, &asset.img, asset.video, &asset.data) {
        (Some(title), None, None, None) => {
            above_zero(title.len).map(|len| WantedKind::Title { len }).ok_or(Refusal::Native)
        }
        (None, Some(image), None, None) if !at_least_zero(&[image.w, image.h, image.wmin, image.hmin]) => {
            Err(Refusal::Negative)
        }
        (None, Some(image), None, None) => Ok(WantedKind::Image {
            kind: image.kind.map(|kind| kind.0),
            w: above_zero(image.w),
            h: above_zero(image.h),
            wmin: above_zero(image.wmin),
            hmin: above_zero(image.hmin),
            mimes: image
                .mimes
                .iter()
                .flatten()
                .map(|mime| mime.trim().to_ascii_lowercase())
                .filter(|mime| !mime.is_empty())
                .map(usual)
                .collect(),
        }),
        (None, None, Some(_), None) => Ok(WantedKind::Video),
        (None, None, None, Some(data)) => match data.kind {
            _ if !at_least_zero(&[data.len]) => Err(Refusal::Negative),
            Some(Int(kind)) if (1..=12).contains(&kind) || kind >= 500 => {
                Ok(WantedKind::Data { kind, len: above_zero(data.len) })
            }
            _ => Err(Refusal::Native),
        },
        _ => Err(Refusal::Native),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_ad_has_few_assets() {
        let asked = |count: usize| {
            let assets: Vec<_> = (0..count).map(|id| json!({"id": id, "title": {"len": 25}})).collect();
            let request = serde_json::value::to_raw_value(&json!({ "assets": assets })).expect("JSON");
            parse(Some(&request)).map(|native| native.assets.len())
        };
        assert_eq!(asked(MOST_ASSETS), Ok(MOST_ASSETS));
        assert_eq!(asked(MOST_ASSETS + 1), Err(Refusal::Native));
    }
}
