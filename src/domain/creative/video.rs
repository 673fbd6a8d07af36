//! Videos as values of slots, and what a player asks of them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{url::WebUrl, vast_version::VastVersion};

/// A video: one length, one or several renditions of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// Its renditions, 1 to 16.
    pub files: Box<[MediaFile]>,
    /// How long it plays, in ms.
    pub duration_ms: u32,
}

/// A rendition of a video.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaFile {
    /// Where it lies, on https.
    pub src: WebUrl,
    /// Its MIME type, in lower case.
    pub mime: Box<str>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Kilobits per second.
    pub bitrate_kbps: Option<u32>,
}

/// What a player asks of a video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VideoRequest {
    /// The version of VAST that it reads.
    pub version: VastVersion,
    /// The MIME types that it plays, in lower case; none said: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mimes: Vec<String>,
    /// The shortest, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_duration_ms: Option<u32>,
    /// The longest, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_ms: Option<u32>,
    /// The lengths that it takes, in whole seconds; none said: all between the two above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub durations_s: Vec<u32>,
    /// The least kilobits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_kbps: Option<u32>,
    /// The most kilobits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_kbps: Option<u32>,
    /// Whether it lets people skip.
    pub skippable: bool,
    /// Whether it shows companions of HTML.
    pub companions: bool,
    /// Whether the document names VAST 4's namespace, which some exchanges take for an insecure
    /// address.
    pub namespace: bool,
}

impl Default for VideoRequest {
    fn default() -> Self {
        Self {
            version: VastVersion::default(),
            mimes: Vec::new(),
            min_duration_ms: None,
            max_duration_ms: None,
            durations_s: Vec::new(),
            min_kbps: None,
            max_kbps: None,
            skippable: true,
            companions: true,
            namespace: true,
        }
    }
}

impl VideoRequest {
    /// Whether a player takes a video: its length, and one of its renditions.
    #[must_use]
    pub fn takes(&self, video: &Video) -> bool {
        let ms = video.duration_ms;
        self.min_duration_ms.is_none_or(|least| ms >= least)
            && self.max_duration_ms.is_none_or(|most| ms <= most)
            && (self.durations_s.is_empty() || self.durations_s.contains(&video.seconds()))
            && video.files.iter().any(|file| self.plays(file))
    }

    /// Whether a player takes a rendition. Where a bitrate is not known it is not held against it.
    #[must_use]
    pub fn plays(&self, file: &MediaFile) -> bool {
        (self.mimes.is_empty() || self.mimes.iter().any(|mime| **mime == *file.mime))
            && file.bitrate_kbps.is_none_or(|rate| {
                self.min_kbps.is_none_or(|least| rate >= least) && self.max_kbps.is_none_or(|most| rate <= most)
            })
    }
}

impl Video {
    /// Its length in seconds; one that has begun counts whole.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.duration_ms.div_ceil(1_000)
    }

    /// Its largest rendition among those that a player takes.
    #[must_use]
    pub fn largest(&self, wanted: &VideoRequest) -> Option<&MediaFile> {
        self.files.iter().filter(|file| wanted.plays(file)).max_by_key(|file| file.width * file.height)
    }

    pub(super) fn content(&self) -> Value {
        let files = self.files.iter().map(|file| {
            let mut json =
                json!({"src": file.src.as_str(), "type": &*file.mime, "width": file.width, "height": file.height});
            if let Some(rate) = file.bitrate_kbps {
                json["bitrate_kbps"] = rate.into();
            }
            json
        });
        json!({"files": files.collect::<Value>(), "duration_ms": self.duration_ms})
    }
}

impl MediaFile {
    /// Whether it is a list of segments and not a file (HLS, DASH).
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.mime.starts_with("application/")
    }
}
