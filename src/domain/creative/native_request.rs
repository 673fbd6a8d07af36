//! What an exchange asks of a native answer: Native 1.2 section 4.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::documents::NativeKind;

/// The assets and trackers that a native impression asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeRequest {
    /// Whether it came under `native`, as its answer then must.
    pub wrapped: bool,
    /// What it asks for, 1 or more.
    pub assets: Vec<Wanted>,
    /// Whether it says which event trackers it takes; if not, it takes the older `imptrackers`.
    pub event_trackers: bool,
    /// Whether it takes a pixel for impressions.
    pub impression_pixel: bool,
    /// Whether it takes a pixel for viewable impressions.
    pub view_pixel: bool,
    /// Whether it takes a script for impressions.
    #[serde(default)]
    pub impression_script: bool,
    /// Whether it takes a script for viewable impressions.
    #[serde(default)]
    pub view_script: bool,
}

/// One asset asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// What the exchange calls it.
    pub id: i64,
    /// Whether the answer is useless without it.
    pub required: bool,
    /// What it is.
    pub kind: WantedKind,
}

/// What an asset asked for is, and how large it may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedKind {
    /// A title.
    Title {
        /// The most characters.
        len: u32,
    },
    /// An image.
    Image {
        /// 1 icon, 3 main; none for any.
        kind: Option<i64>,
        /// Its exact width.
        w: Option<u32>,
        /// Its exact height.
        h: Option<u32>,
        /// Its least width.
        wmin: Option<u32>,
        /// Its least height.
        hmin: Option<u32>,
        /// The MIME types that are taken, in lower case; none said: all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mimes: Vec<String>,
    },
    /// A text of a kind.
    Data {
        /// Which.
        kind: i64,
        /// The most characters.
        len: Option<u32>,
    },
    /// A video, of which we have none.
    Video,
}

/// What an asset written beforehand holds, as far as it is measured.
#[derive(Deserialize)]
struct Measured<'a> {
    title: Option<Length>,
    #[serde(borrow)]
    img: Option<Picture<'a>>,
    data: Option<Length>,
}

#[derive(Deserialize)]
struct Length {
    len: u32,
}

#[derive(Deserialize)]
struct Picture<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    w: Option<u32>,
    h: Option<u32>,
}

/// The MIME type of an image, by the ending of its address.
fn image_type(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match &*ending.to_ascii_lowercase() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

impl WantedKind {
    pub(super) fn is(&self, kind: NativeKind) -> bool {
        let image = matches!(kind, NativeKind::Icon | NativeKind::MainImage);
        match self {
            Self::Title { .. } => kind == NativeKind::Title,
            Self::Image { kind: wanted, .. } => image && wanted.is_none_or(|wanted| wanted == i64::from(kind.number())),
            Self::Data { kind: wanted, .. } => {
                !image && kind != NativeKind::Title && *wanted == i64::from(kind.number())
            }
            Self::Video => false,
        }
    }

    /// Whether an asset is within its bounds. An image whose size or type is not known fits no bound of it.
    pub(super) fn fits(&self, json: &str) -> bool {
        let Ok(measured) = serde_json::from_str::<Measured<'_>>(json) else { return false };
        match self {
            Self::Title { len } => measured.title.is_some_and(|title| title.len <= *len),
            Self::Data { len, .. } => measured.data.is_some_and(|data| len.is_none_or(|len| data.len <= len)),
            Self::Image { w, h, wmin, hmin, mimes, .. } => measured.img.is_some_and(|image| {
                let side = |exact: Option<u32>, least: Option<u32>, has: Option<u32>| match (exact, least) {
                    // beside a least size the exact one is what is liked best
                    (_, Some(least)) => has.is_some_and(|has| has >= least),
                    (Some(exact), None) => has == Some(exact),
                    (None, None) => true,
                };
                let taken = |mime| mimes.iter().any(|of| of == mime || of == "image/*" || of == "*/*");
                side(*w, *wmin, image.w)
                    && side(*h, *hmin, image.h)
                    && (mimes.is_empty() || image_type(&image.url).is_some_and(taken))
            }),
            Self::Video => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_of_the_type_that_is_taken() {
        let fits = |url: &str, mimes: &[&str]| {
            let mimes = mimes.iter().map(ToString::to_string).collect();
            let wanted = WantedKind::Image { kind: None, w: None, h: None, wmin: None, hmin: None, mimes };
            wanted.fits(&serde_json::json!({"img": {"type": 3, "url": url}}).to_string())
        };
        assert!(fits("https://a.example/shoe", &[]) && fits("https://a.example/shoe.png", &[]));
        for url in ["https://a.example/shoe.jpg", "/v1/assets/0f.JPEG", "https://a.example/x.y/b.jpg?w=1.png#c.gif"] {
            assert!(fits(url, &["image/png", "image/jpeg"]) && !fits(url, &["image/png"]), "{url}");
        }
        for unknown in ["https://a.example/shoe", "https://a.example/x.jpg/shoe", "https://a.example/?a=b.jpg", ""] {
            assert!(!fits(unknown, &["image/jpeg"]), "{unknown}");
        }
    }
}
