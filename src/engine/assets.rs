//! Uploaded images: addressed by the hash of their content, so that they never change.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::images::{Fit, ImageError, Picture};
use crate::ports::{AssetFacts, AssetGone, AssetRow, CatalogStore, StoreError};

/// Why an image was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// It is no image that can be served.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Too many others are being read, or reading it came to nothing.
    #[error("other images are being read")]
    Busy,
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
    /// One image is unpacked at a time, which bounds the memory for that.
    reading: Arc<Semaphore>,
}

impl Assets {
    /// The longest wait for other images to be read.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// Memory for images that are asked for, in bytes.
    const CACHE: u64 = 64 << 20;

    /// Images of a store.
    #[must_use]
    pub fn new(store: Arc<dyn CatalogStore>) -> Self {
        let served = Cache::builder()
            .weigher(|_: &String, asset: &Asset| u32::try_from(asset.bytes.len()).unwrap_or(u32::MAX))
            .max_capacity(Self::CACHE)
            // another replica may have deleted it
            .time_to_live(Duration::from_secs(3_600))
            .build();
        Self { store, served, reading: Arc::new(Semaphore::new(1)) }
    }

    /// Reads an uploaded image and makes of it what can be served, cut and scaled to `fit` if asked.
    ///
    /// # Errors
    /// It is no image that can be served; others are being read.
    pub async fn read(&self, bytes: Bytes, fit: Option<Fit>) -> Result<Picture, AssetError> {
        self.renditions(bytes, vec![fit]).await?.pop().ok_or(AssetError::Busy)
    }

    /// As [`Self::read`], once for each of `fits`.
    ///
    /// # Errors
    /// It is no image that can be served; others are being read.
    pub async fn renditions(&self, bytes: Bytes, fits: Vec<Option<Fit>>) -> Result<Vec<Picture>, AssetError> {
        let turn = tokio::time::timeout(Self::PATIENCE, Arc::clone(&self.reading).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(AssetError::Busy)?;
        let read = tokio::task::spawn_blocking(move || {
            let made = Picture::renditions(&bytes, &fits);
            drop(turn);
            made
        });
        Ok(read.await.map_err(|_| AssetError::Busy)??)
    }

    /// Keeps an image and answers the path it is served under.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, account: u32, picture: Picture) -> Result<String, StoreError> {
        let sides = Some((picture.width, picture.height));
        let Picture { name, media_type, bytes, .. } = picture;
        let asset = Asset { media_type, bytes: bytes.into() };
        let media = media_type.to_owned();
        let row = AssetRow { account, name: name.clone(), media_type: media, sides, bytes: asset.bytes.to_vec() };
        self.store.put_asset(row).await?;
        let url = Self::url(&name);
        self.served.insert(name, asset);
        Ok(url)
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
        let Some(media_type) = Picture::media_type(&row.name).filter(|known| *known == row.media_type) else {
            return Ok(None);
        };
        let asset = Asset { media_type, bytes: row.bytes.into() };
        self.served.insert(name.to_owned(), asset.clone());
        Ok(Some(asset))
    }

    /// Images of an account in the order of their names, after one, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, account: u32, after: Option<String>, limit: u32) -> Result<Vec<AssetFacts>, StoreError> {
        self.store.list_assets(account, after, limit).await
    }

    /// Deletes an image of an account unless documents name it; or tells what would become of it.
    /// Whoever has it already may go on showing it.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, account: u32, name: &str, dry_run: bool) -> Result<AssetGone, StoreError> {
        let gone = self.store.delete_asset(account, name.to_owned(), dry_run).await?;
        if !dry_run && matches!(gone, AssetGone::Done(_)) {
            self.served.invalidate(name);
        }
        Ok(gone)
    }
}
