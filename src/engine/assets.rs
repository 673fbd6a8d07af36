//! Uploaded images: addressed by the hash of their content, so that they never change.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use moka::sync::Cache;

use crate::ports::{AssetRow, CatalogStore, StoreError};

/// Why an image was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// Its first bytes are of none of the formats that are served.
    #[error("must be a PNG, JPEG, WebP or GIF image")]
    Format,
    /// It is too large.
    #[error("must be at most {} bytes", Assets::LARGEST)]
    Size,
}

/// An image as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its media type.
    pub media_type: &'static str,
    /// The image.
    pub bytes: Bytes,
}

/// Keeps and serves images.
#[derive(Clone)]
pub struct Assets {
    store: Arc<dyn CatalogStore>,
    served: Cache<String, Asset>,
}

/// A format: media type, ending, and the test of its first bytes.
type Format = (&'static str, &'static str, fn(&[u8]) -> bool);

const FORMATS: [Format; 4] = [
    ("image/png", "png", |bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", "jpg", |bytes| bytes.starts_with(b"\xff\xd8\xff")),
    ("image/webp", "webp", |bytes| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")),
    ("image/gif", "gif", |bytes| bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")),
];

impl Assets {
    /// The largest image, in bytes.
    pub const LARGEST: usize = 2 << 20;
    /// Memory for images that are asked for, in bytes.
    const CACHE: u64 = 64 << 20;

    /// Images of a store.
    #[must_use]
    pub fn new(store: Arc<dyn CatalogStore>) -> Self {
        let served = Cache::builder()
            .weigher(|_: &String, asset: &Asset| u32::try_from(asset.bytes.len()).unwrap_or(u32::MAX))
            .max_capacity(Self::CACHE)
            .time_to_idle(Duration::from_secs(3_600))
            .build();
        Self { store, served }
    }

    /// The name under which an image is served: its hash and an ending.
    ///
    /// # Errors
    /// It is no image that is served.
    pub fn name(bytes: &[u8]) -> Result<(String, &'static str), AssetError> {
        if bytes.len() > Self::LARGEST {
            return Err(AssetError::Size);
        }
        let (media_type, ending, _) = FORMATS.iter().find(|(.., is)| is(bytes)).ok_or(AssetError::Format)?;
        let mut name = String::with_capacity(38);
        for byte in &blake3::hash(bytes).as_bytes()[..16] {
            // writing into a String cannot fail
            let _ = write!(name, "{byte:02x}");
        }
        name.push('.');
        name.push_str(ending);
        Ok((name, media_type))
    }

    /// Keeps an image and answers the path it is served under.
    ///
    /// # Errors
    /// The store's; the image was named by [`Assets::name`] before.
    pub async fn keep(
        &self,
        account: u32,
        name: &str,
        media_type: &'static str,
        bytes: Bytes,
    ) -> Result<String, StoreError> {
        let row = AssetRow { account, name: name.to_owned(), media_type: media_type.to_owned(), bytes: bytes.to_vec() };
        self.store.put_asset(row).await?;
        self.served.insert(name.to_owned(), Asset { media_type, bytes });
        Ok(Self::url(name))
    }

    /// The path that an image is served under.
    #[must_use]
    pub fn url(name: &str) -> String {
        format!("/v1/assets/{name}")
    }

    /// An image by its name; `None` when there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, name: &str) -> Result<Option<Asset>, StoreError> {
        if let Some(asset) = self.served.get(name) {
            return Ok(Some(asset));
        }
        let Some(row) = self.store.asset(name.to_owned()).await? else { return Ok(None) };
        let Some((media_type, ..)) = FORMATS.iter().find(|(media_type, ..)| *media_type == row.media_type) else {
            return Ok(None);
        };
        let asset = Asset { media_type, bytes: row.bytes.into() };
        self.served.insert(name.to_owned(), asset.clone());
        Ok(Some(asset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_are_named() {
        let (name, media_type) = Assets::name(b"\x89PNG\r\n\x1a\nrest").expect("a name");
        assert!(name.ends_with(".png") && name.len() == 36);
        assert_eq!(media_type, "image/png");
        assert_eq!(Assets::name(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), Err(AssetError::Format));
        assert_eq!(Assets::name(&vec![0xff; Assets::LARGEST + 1]), Err(AssetError::Size));
    }
}
