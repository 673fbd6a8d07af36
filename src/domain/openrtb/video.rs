//! What a video impression asks for: OpenRTB 2.6 section 3.2.7.

use super::{
    plan::SKIPPABLE,
    request::{Imp, Int, Player},
};
use crate::domain::creative::{VastVersion, VideoRequest};

/// What a bid needs of a video impression.
#[derive(Debug)]
pub struct WantedVideo {
    /// What the player takes.
    pub request: VideoRequest,
    /// The player's size in pixels, where it says both sides.
    pub size: Option<(u32, u32)>,
}

/// Reads what a player takes; none where that is no video in the stream, or no version of VAST that we
/// write.
pub(super) fn wanted(imp: &Imp<'_>, player: &Player<'_>) -> Option<WantedVideo> {
    const LINEAR: i64 = 1;
    const HTML: Int = Int(2);
    let number = |of: Option<Int>| of.and_then(|of| u32::try_from(of.0).ok()).filter(|of| *of > 0);
    let ms = |seconds: u32| seconds.saturating_mul(1_000);
    let one = player.protocol.as_slice();
    let protocols = player.protocols.as_deref().filter(|all| !all.is_empty()).unwrap_or(one);
    let version = if protocols.is_empty() {
        // what nearly every player reads
        VastVersion::V3
    } else {
        VastVersion::newest(|protocol| protocols.iter().any(|of| of.0 == protocol))?
    };
    if player.linearity.is_some_and(|linearity| linearity.0 != LINEAR) {
        return None;
    }
    let mimes = player.mimes.as_deref().unwrap_or_default().iter().map(|mime| mime.trim().to_ascii_lowercase());
    // the longest may be passed by so many seconds, or without bounds
    let extended = player.maxextended.map_or(0, |of| of.0);
    let longest = number(player.maxduration).filter(|_| extended != -1);
    let may_skip = !player.battr.as_ref().is_some_and(|all| all.contains(&Int(SKIPPABLE.into())));
    let companions = player.companiontype.as_deref().unwrap_or_default();
    let request = VideoRequest {
        version,
        mimes: mimes.collect(),
        min_duration_ms: number(player.minduration).map(ms),
        max_duration_ms: longest.map(|most| ms(most.saturating_add(u32::try_from(extended).unwrap_or(0)))),
        durations_s: player.rqddurs.iter().flatten().filter_map(|of| u32::try_from(of.0).ok()).collect(),
        min_kbps: number(player.minbitrate),
        max_kbps: number(player.maxbitrate),
        skippable: may_skip && player.skip != Some(Int(0)),
        companions: companions.is_empty() || companions.contains(&HTML),
        namespace: imp.secure != Some(Int(1)),
    };
    Some(WantedVideo { request, size: number(player.w).zip(number(player.h)) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(video: Value) -> Option<WantedVideo> {
        let text = json!({"id": "1", "secure": 1, "video": video}).to_string();
        let imp: Imp<'_> = serde_json::from_str(&text).expect("an impression");
        wanted(&imp, imp.video.as_deref().expect("a player"))
    }

    #[test]
    fn players_are_taken_at_their_word() {
        let player = read(json!({
            "mimes": ["Video/MP4 "], "protocols": [2, 3, 5, 6, 7], "minduration": 5, "maxduration": 30, "maxextended": 5,
            "minbitrate": 300, "maxbitrate": 1500, "skip": 0, "companiontype": [1, 3], "w": 640, "h": 360, "linearity": 1
        }));
        let player = player.expect("a video");
        let expected = VideoRequest {
            version: VastVersion::V4,
            mimes: vec!["video/mp4".into()],
            min_duration_ms: Some(5_000),
            max_duration_ms: Some(35_000),
            durations_s: Vec::new(),
            min_kbps: Some(300),
            max_kbps: Some(1_500),
            skippable: false,
            companions: false,
            namespace: false,
        };
        assert_eq!((player.request, player.size), (expected, Some((640, 360))));
        let open =
            read(json!({"mimes": ["video/mp4"], "maxduration": 15, "maxextended": -1, "w": 640})).expect("a video");
        assert_eq!((open.request.max_duration_ms, open.size), (None, None));
        assert_eq!(open.request.version, VastVersion::V3);
    }

    #[test]
    fn what_we_do_not_write_is_not_wanted() {
        assert!(read(json!({"mimes": ["video/mp4"], "linearity": 2})).is_none());
        assert!(read(json!({"mimes": ["video/mp4"], "protocols": [1, 5, 6]})).is_none());
        assert!(read(json!({"mimes": ["video/mp4"], "protocol": 1})).is_none());
        assert!(read(json!({"mimes": ["video/mp4"], "protocol": 2})).is_some());
    }
}
