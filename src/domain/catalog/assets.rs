//! Where the images of this server are, for those who stand elsewhere.

use serde_json::Value;

use crate::domain::creative::ASSETS;

/// Puts `public_url` before the paths of assets.
pub(super) fn absolute(value: &mut Value, public_url: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(src) if name == "src" && src.starts_with(ASSETS) => src.insert_str(0, public_url),
                    inner => absolute(inner, public_url),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| absolute(item, public_url)),
        _ => {}
    }
}
