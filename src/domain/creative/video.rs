//! Videos as values of slots, and what a player asks of them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{url::WebUrl, value::Reader, vast_version::VastVersion};

/// The longest video, in ms: an hour.
const LONGEST_MS: u64 = 3_600_000;
/// The most renditions of one video.
const MOST_FILES: usize = 16;

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

impl Reader {
    pub(super) fn video(&mut self, value: &Value) -> Option<Video> {
        let fields = self.object("", value, &["files", "duration_ms"])?;
        let duration_ms = self.whole("/duration_ms", fields.get("duration_ms"), LONGEST_MS);
        let files = match fields.get("files") {
            Some(Value::Array(files)) if (1..=MOST_FILES).contains(&files.len()) => files.as_slice(),
            _ => {
                let detail = format!("must be a list of 1 to {MOST_FILES} media files");
                return self.fault("/files", "media_file_required", detail);
            }
        };
        // read all before giving up, so that the faults of all are noted
        let read: Vec<_> =
            files.iter().enumerate().map(|(at, file)| self.media_file(&format!("/files/{at}"), file)).collect();
        Some(Video { files: read.into_iter().collect::<Option<_>>()?, duration_ms: duration_ms? })
    }

    fn media_file(&mut self, at: &str, value: &Value) -> Option<MediaFile> {
        let fields = self.object(at, value, &["src", "type", "width", "height", "bitrate_kbps"])?;
        let field = |name: &str| fields.get(name).unwrap_or(&Value::Null);
        let at_src = format!("{at}/src");
        let src = self.url(&at_src, field("src"));
        let src = match src {
            Some(src) if !src.as_str().starts_with("https://") => {
                self.fault(&at_src, "not_https", "must be an https address: players on https pages load no other")
            }
            src => src,
        };
        let mime = field("type").as_str().map(str::to_ascii_lowercase).filter(|mime| is_media(mime));
        let mime = mime.or_else(|| {
            let detail = "must be a MIME type of a video, such as video/mp4, video/webm or application/x-mpegurl";
            self.fault(&format!("{at}/type"), "media_type", detail)
        });
        let width = self.whole(&format!("{at}/width"), fields.get("width"), 10_000);
        let height = self.whole(&format!("{at}/height"), fields.get("height"), 10_000);
        let rate = fields.get("bitrate_kbps");
        let bitrate_kbps = rate.and_then(|_| self.whole(&format!("{at}/bitrate_kbps"), rate, 200_000));
        Some(MediaFile { src: src?, mime: mime?.into(), width: width?, height: height?, bitrate_kbps })
    }

    fn whole(&mut self, at: &str, value: Option<&Value>, most: u64) -> Option<u32> {
        let number = value.and_then(Value::as_u64).filter(|number| (1..=most).contains(number));
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.or_else(|| self.fault(at, "out_of_range", format!("must be a whole number, 1 to {most}")))
    }
}

fn is_media(mime: &str) -> bool {
    let name = |name: &str| {
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b))
    };
    mime.strip_prefix("video/").is_some_and(name)
        || ["application/x-mpegurl", "application/vnd.apple.mpegurl", "application/dash+xml"].contains(&mime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::creative::{SlotSpec, SlotValue};

    fn read(value: &Value) -> Result<SlotValue, Vec<(String, &'static str)>> {
        let doc = serde_json::from_value(json!({"type": "video", "default": null})).expect("a slot");
        let faults = SlotValue::parse(&SlotSpec::parse(&doc).expect("limits"), value);
        faults.map_err(|all| all.into_iter().map(|fault| (fault.pointer, fault.code)).collect())
    }

    fn film(ms: u32, files: &[(&str, u32)]) -> Video {
        let files = files.iter().map(|(mime, rate)| {
            json!({"src": "https://cdn.example/a", "type": mime, "width": 640, "height": 360, "bitrate_kbps": rate})
        });
        match read(&json!({"duration_ms": ms, "files": files.collect::<Value>()})) {
            Ok(SlotValue::Video(video)) => *video,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_video_reads_back_from_its_content() {
        let file = json!({"src": "https://cdn.example/a.mp4", "type": "video/mp4", "width": 1280, "height": 720});
        let value = json!({"duration_ms": 15_000, "files": [file]});
        assert_eq!(read(&value).expect("a video").content(), value);
    }

    #[test]
    fn every_fault_of_a_video_is_named() {
        let faults = read(&json!({"duration_ms": 0, "length": 1, "files": [
            {"src": "http://cdn.example/a.mp4", "type": "text/html", "width": 0, "height": 360, "bitrate_kbps": -1},
            {"src": "a.mp4", "type": "video/mp4", "width": 640, "height": 360}
        ]}));
        let faults = faults.expect_err("faults");
        let expected = [
            ("/length", "unknown_field"),
            ("/duration_ms", "out_of_range"),
            ("/files/0/src", "not_https"),
            ("/files/0/type", "media_type"),
            ("/files/0/width", "out_of_range"),
            ("/files/0/bitrate_kbps", "out_of_range"),
            ("/files/1/src", "not_a_url"),
        ];
        assert_eq!(faults, expected.map(|(at, code)| (at.to_owned(), code)));
        for none in [json!({"duration_ms": 1}), json!({"duration_ms": 1, "files": []})] {
            assert_eq!(read(&none).expect_err("faults"), [("/files".into(), "media_file_required")]);
        }
    }

    #[test]
    fn players_take_what_they_asked_for() {
        let video = film(15_040, &[("video/mp4", 2_000), ("video/webm", 800)]);
        let takes = |change: &dyn Fn(&mut VideoRequest)| {
            let mut wanted = VideoRequest::default();
            change(&mut wanted);
            wanted.takes(&video)
        };
        assert!(takes(&|_| ()) && takes(&|w| w.durations_s = vec![15, 16]));
        assert!(takes(&|w| (w.min_duration_ms, w.max_duration_ms) = (Some(15_000), Some(16_000))));
        assert!(!takes(&|w| w.max_duration_ms = Some(15_000)) && !takes(&|w| w.durations_s = vec![15]));
        assert!(!takes(&|w| w.min_duration_ms = Some(20_000)) && !takes(&|w| w.mimes = vec!["video/ogg".into()]));
        assert!(takes(&|w| (w.mimes, w.max_kbps) = (vec!["video/webm".into()], Some(1_000))));
        assert!(!takes(&|w| (w.mimes, w.max_kbps) = (vec!["video/mp4".into()], Some(1_000))));
        assert!(!takes(&|w| w.min_kbps = Some(4_000)));
    }
}
