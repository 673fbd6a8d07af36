//! What a feed is: where its rows come from, and which events speak of its products.

use serde::{Deserialize, Serialize};

use crate::domain::{
    audience::activity::{Keep, Stream},
    ids::{AdvertiserId, EventName},
    values::Currency,
    violation::{Violation, Violations},
    webhook::{Reach, Target},
};

/// How the rows of a feed are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedFormat {
    /// Comma-separated values (RFC 4180); the first row names the columns.
    Csv,
    /// The same with tabs in the place of commas.
    Tsv,
    /// An array of objects, or an object on each line.
    Json,
    /// Google Merchant's XML: RSS 2.0 or Atom with elements of the namespace `g`.
    GoogleXml,
}

/// A catalogue of products. Its rows come by upload or from an address; creatives show them where a
/// component of a `product` slot names the feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Web shop", "advertiser": "northwind", "format": "google_xml", "currency": "EUR",
    "url": "https://shop.northwind.example/feed.xml", "every_minutes": 60,
    "same": "product_id", "viewed": "product_view", "basket": "add_to_cart", "bought": "purchase"
}))]
pub struct FeedDoc {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Whose products they are: the links of all rows lead to its landing hosts.
    pub advertiser: AdvertiserId,
    /// How the rows are written.
    pub format: FeedFormat,
    /// Where they are fetched. Without an address they come by upload alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Target>,
    /// How often they are fetched, in minutes.
    #[serde(default = "FeedDoc::every_minutes")]
    #[schema(minimum = 5, maximum = 10_080)]
    pub every_minutes: u32,
    /// The currency of prices that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// The property of events that names a product by its id.
    #[serde(default = "FeedDoc::same")]
    #[schema(min_length = 1, max_length = 64)]
    pub same: String,
    /// Events of those who look at a product.
    #[serde(default = "FeedDoc::viewed")]
    pub viewed: EventName,
    /// Events of those who put a product into their basket.
    #[serde(default = "FeedDoc::basket")]
    pub basket: EventName,
    /// Events of those who buy a product; one that names none is of all that is in the basket.
    #[serde(default = "FeedDoc::bought")]
    pub bought: EventName,
}

/// What must be remembered of people to know which products they looked at, left or bought.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedStreams {
    /// Products looked at.
    pub viewed: Stream,
    /// Products put into a basket.
    pub basket: Stream,
    /// Products bought.
    pub bought: Stream,
    /// Every event of a purchase, also those that name no product.
    pub orders: Stream,
}

impl FeedDoc {
    fn every_minutes() -> u32 {
        60
    }

    fn same() -> String {
        "product_id".to_owned()
    }

    fn viewed() -> EventName {
        name("product_view")
    }

    fn basket() -> EventName {
        name("add_to_cart")
    }

    fn bought() -> EventName {
        name("purchase")
    }

    /// Everything about it that its own structure does not say, where addresses may lead so far.
    ///
    /// # Errors
    /// Every fault, with its pointer.
    pub fn check(&self, reach: Reach) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        if !(5..=10_080).contains(&self.every_minutes) {
            faults.push("/every_minutes", "out_of_range", "must be 5 to 10080");
        }
        if self.same.is_empty() || self.same.chars().count() > 64 {
            faults.push("/same", "out_of_range", "must be 1 to 64 characters long");
        }
        if let Some(Err(detail)) = self.url.as_ref().map(|url| url.check(reach)) {
            faults.push("/url", "out_of_reach", detail);
        }
        faults.into_result()
    }

    /// What must be remembered of people where creatives show its products.
    #[must_use]
    pub fn streams(&self) -> FeedStreams {
        let of = |event: &EventName, key: Option<&str>| {
            Stream::new(event.clone(), vec![], key.map(Box::from), None, Keep::Few)
        };
        let same = Some(self.same.as_str());
        FeedStreams {
            viewed: of(&self.viewed, same),
            basket: of(&self.basket, same),
            bought: of(&self.bought, same),
            orders: of(&self.bought, None),
        }
    }

    /// Stands for what decides how rows are read, where they may link to `hosts`: they are fetched anew
    /// when it changes.
    #[must_use]
    pub fn reading(&self, hosts: &[&str]) -> String {
        let parts = (&self.advertiser, self.format, &self.url, &self.currency, hosts);
        serde_json::to_string(&parts).unwrap_or_default()
    }
}

impl FeedStreams {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&Stream; 4] {
        [&self.viewed, &self.basket, &self.bought, &self.orders]
    }
}

fn name(text: &str) -> EventName {
    text.parse().expect("a name of events")
}
