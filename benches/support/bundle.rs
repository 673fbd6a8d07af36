//! A bundle of one campaign whose headline differs for the people of one segment.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Writes the bundle, with segments by the names and conditions given; the component is for those
/// in the segment `shown_to`.
pub(crate) fn write(folder: &Path, segments: &[(String, Value)], shown_to: &str) -> PathBuf {
    let bundle = folder.join("bundle");
    let write = |path: &str, document: Value| {
        let path = bundle.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, document.to_string()).expect("a file");
    };
    write("bundle.json", json!({"name": "bench"}));
    write("advertisers/brand.json", json!({"name": "Brand", "domain": "brand.example"}));
    for (name, condition) in segments {
        let rule = json!({"v": 1, "kind": "dynamic", "match": condition});
        write(&format!("segments/{name}.json"), json!({"name": name, "rule": rule}));
    }
    write(
        "templates/banner.json",
        json!({"name": "Banner", "format": "html", "size": "300x250",
            "slots": {"headline": {"type": "text", "default": "Hello"}},
            "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a></body>"}),
    );
    write("creatives/hero/creative.json", json!({"name": "Hero", "advertiser": "brand", "templates": ["banner"]}));
    let component = json!({"slot": "headline", "value": "For you", "targeting": {"segment": shown_to}});
    write(&format!("creatives/hero/components/{shown_to}.json"), component);
    write("placements/top.json", json!({"name": "Top", "sizes": ["300x250"], "formats": ["html"]}));
    write(
        "campaigns/one.json",
        json!({"name": "One", "advertiser": "brand", "status": "active", "creatives": ["hero"], "landing_url": "https://brand.example/"}),
    );
    bundle
}
