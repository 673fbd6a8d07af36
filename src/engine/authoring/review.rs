//! Combinations that exchanges review one by one: chosen when a revision begins to serve, and shown as they were for
//! as long as it is kept.

use std::sync::Arc;

use serde_json::json;

use super::{Authoring, AuthoringError, Workspace};
use crate::{
    domain::{
        audience::compile::RuleSet,
        catalog::{
            combinations::select,
            compile::Source,
            creative::Creative,
            document::{AdvertiserDoc, RevisionDoc},
            key::{DocumentKey, Kind},
            reviewed::{Combination, CombinationDoc},
            snapshot::Snapshot,
            templates::Templates,
        },
        creative::ComponentStatus,
        decision::{
            assemble::{Issuer, assemble_unasked},
            goods::{Picked, pages},
            proof,
        },
        ids::CreativeId,
        measurement::beacon::TokenKeys,
        products::Stocks,
        values::{Format, Millis},
    },
    engine::products::Products,
    ports::DocumentWrite,
};

/// How combinations are chosen.
pub(super) struct Review {
    most: usize,
    products: Products,
}

/// A combination of a revision, read alone.
pub struct KeptAd {
    creative: Arc<Creative>,
    combination: Combination,
    published_at: Millis,
}

impl Authoring {
    /// Authoring that chooses at most so many combinations of each template for exchanges to review, where any does.
    #[must_use]
    pub fn reviewing(self, most: Option<u32>, products: Products) -> Self {
        Self { review: most.map(|most| Arc::new(Review { most: most as usize, products })), ..self }
    }

    /// The combinations of a creative that exchanges are to review, with the products that feeds hold now.
    pub(super) async fn choose(
        &self,
        account: u32,
        creative: Arc<Creative>,
    ) -> Result<Vec<CombinationDoc>, AuthoringError> {
        let Some(review) = self.review.clone() else { return Ok(Vec::new()) };
        let world = self.catalogue.world();
        let live = world.account(account).map(|account| Arc::clone(&account.snapshot));
        let (live, mut stocks) = (live.unwrap_or_else(|| Arc::new(Snapshot::empty())), Stocks::new());
        for picking in creative.pickings() {
            if !stocks.contains_key(&picking.feed) {
                let held = live.stocks.get(&picking.feed);
                let stock = review.products.now(account, &picking.feed, held).await?;
                stocks.extend(stock.map(|stock| (picking.feed.clone(), stock)));
            }
        }
        let now = self.clock.now();
        let work = move || select(&creative, now, review.most, |variant| pages(&creative, variant, &live, &stocks));
        let chosen = tokio::task::spawn_blocking(work).await;
        Ok(chosen.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic())))
    }

    /// Chooses combinations of every revision that is to be written.
    pub(super) async fn choose_all(
        &self,
        account: u32,
        work: &Workspace,
        writes: &mut [DocumentWrite],
    ) -> Result<(), AuthoringError> {
        let revisions = writes.iter_mut().filter(|write| write.key.kind == Kind::Revision && self.review.is_some());
        for write in revisions {
            let doc = write.body.clone().and_then(|body| serde_json::from_value::<RevisionDoc>(body).ok());
            let Some((mut doc, (id, _))) = doc.zip(write.key.id.rsplit_once('/')) else { continue };
            let compiled = work.compiled(id, &doc, self.catalogue.public_url()).map_err(AuthoringError::Invalid)?;
            doc.combinations = self.choose(account, Arc::new(compiled)).await?;
            write.body = Some(json!(doc));
        }
        Ok(())
    }

    /// The combination of this name that was chosen of any revision of a creative; none where there never was one.
    ///
    /// # Errors
    /// The store's.
    pub async fn kept_ad(&self, account: u32, id: &CreativeId, crid: &str) -> Result<Option<KeptAd>, AuthoringError> {
        let Some(row) = self.store.revision_with(account, id.clone(), crid.to_owned()).await? else { return Ok(None) };
        let Ok(doc) = serde_json::from_value::<RevisionDoc>(row.body) else { return Ok(None) };
        let key = DocumentKey::new(Kind::Advertiser, doc.creative.advertiser.as_str());
        let advertiser = self.store.get(account, vec![key]).await?.rows.pop();
        let advertiser = advertiser.and_then(|row| serde_json::from_value::<AdvertiserDoc>(row.body).ok());
        let (id, url, crid) = (id.clone(), self.catalogue.public_url().to_owned(), crid.to_owned());
        let work = move || KeptAd::read(id, doc, &crid, advertiser.as_ref(), &url);
        let read = tokio::task::spawn_blocking(work).await;
        Ok(read.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic())))
    }
}

impl KeptAd {
    /// Reads a combination with nothing but what it shows: whom it was for, when and beside what may mean nothing
    /// any more.
    fn read(
        id: CreativeId,
        doc: RevisionDoc,
        crid: &str,
        advertiser: Option<&AdvertiserDoc>,
        public_url: &str,
    ) -> Option<Self> {
        let combination = doc.combinations.iter().find(|of| of.crid == crid)?.clone();
        let (published_at, mut doc) = (doc.published_at, doc);
        doc.components.retain(|id, _| combination.components.values().any(|own| own == id));
        for component in doc.components.values_mut() {
            (component.targeting, component.flight, component.status) = (None, None, ComponentStatus::Active);
        }
        doc.creative.pairing.clear();
        doc.combinations.clear();
        let compile = |doc: &RevisionDoc| {
            let (id, rules, known) = (id.clone(), &RuleSet::build(&[]).0, &mut Templates::default());
            Creative::compile(Source { id, doc, advertiser, rules, public_url, known }).ok()
        };
        let creative = compile(&doc).or_else(|| {
            // where its links led is not the advertiser's any more
            doc.creative.landing_slot = None;
            compile(&doc)
        })?;
        let combination = Combination::read(&creative, &combination)?;
        Some(Self { creative: Arc::new(creative), combination, published_at })
    }

    /// The ad, aimed at nobody: the same whenever it is asked for. Its beacons are marked as a preview's.
    #[must_use]
    pub fn render(&self, account: u32, keys: &TokenKeys, public_url: &str) -> (Format, String) {
        let variant = self.combination.variant;
        let (format, size) = self.creative.variants[variant].shape;
        let mut item = proof::item(&self.creative, variant, size, &self.combination.options, self.published_at);
        if let Some(showing) = &mut item.shown {
            showing.picked = self.combination.frozen.iter().map(Picked::frozen).collect();
        }
        let issuer = Issuer { account, keys, public_url };
        let made = item.shown.as_ref().map(|shown| assemble_unasked(&item, shown, issuer));
        (format, made.map(|made| made.markup).unwrap_or_default())
    }
}
