//! One product as its row says it.

use crate::domain::{
    creative::{Image, Product, WebUrl, is_bidi},
    values::{Amount, Currency, Money},
    violation::{Violation, Violations},
};

/// A column that is read; all others are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Title,
    Link,
    ImageLink,
    Price,
    SalePrice,
    Availability,
    Brand,
    Description,
}

impl Column {
    const ALL: [Self; 9] = [
        Self::Id,
        Self::Title,
        Self::Link,
        Self::ImageLink,
        Self::Price,
        Self::SalePrice,
        Self::Availability,
        Self::Brand,
        Self::Description,
    ];
    /// Those without which there is no product.
    pub(super) const REQUIRED: [Self; 4] = [Self::Id, Self::Title, Self::Link, Self::ImageLink];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Title => "title",
            Self::Link => "link",
            Self::ImageLink => "image_link",
            Self::Price => "price",
            Self::SalePrice => "sale_price",
            Self::Availability => "availability",
            Self::Brand => "brand",
            Self::Description => "description",
        }
    }

    /// The column of a name, in whatever case, with spaces or with Google's prefix.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase().replace([' ', '-'], "_");
        let name = name.strip_prefix("g:").unwrap_or(&name);
        Self::ALL.into_iter().find(|column| column.name() == name)
    }
}

/// The cells of a row that are read.
#[derive(Default)]
pub(super) struct Row([Option<String>; 9]);

impl Row {
    pub(super) fn set(&mut self, column: Column, text: String) {
        self.0[column as usize] = Some(text);
    }

    /// What stands in a column, if that is there.
    fn cell(&self, column: Column) -> Option<&str> {
        self.0[column as usize].as_deref().map(str::trim)
    }

    /// What stands in a column, if anything does.
    fn get(&self, column: Column) -> Option<&str> {
        self.cell(column).filter(|text| !text.is_empty())
    }
}

/// What reading rows depends on beside them.
pub struct Settings<'a> {
    /// The currency of prices that name none.
    pub currency: Option<Currency>,
    /// Whether products may link to an address; if not, why, in words.
    pub link: &'a (dyn Fn(&str) -> Result<(), String> + Sync),
}

/// A product, and whether it can be bought.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The product.
    pub product: Product,
    /// Whether it can be bought.
    pub available: bool,
}

impl Item {
    /// The longest title, in characters.
    const TITLE: usize = 500;
    /// Characters of a brand and of a description that are kept.
    const KEPT: usize = 160;

    /// Reads a row.
    ///
    /// # Errors
    /// Every fault, by column.
    pub(super) fn parse(row: &Row, settings: &Settings<'_>) -> Result<Self, Vec<Violation>> {
        let mut reader = Reader { row, settings, faults: Violations::new() };
        let id = reader.text(Column::Id, 256);
        let title = reader.text(Column::Title, Self::TITLE);
        let link = reader.url(Column::Link).filter(|link| {
            let allowed = (settings.link)(link.as_str());
            allowed.map_err(|detail| reader.fault(Column::Link, "landing_host_not_allowed", detail)).is_ok()
        });
        let src = reader.url(Column::ImageLink);
        let price = reader.price(Column::Price);
        let sale_price = reader.price(Column::SalePrice);
        let available = reader.available();
        let Reader { faults, .. } = reader;
        faults.into_result()?;
        let (Some(id), Some(title), Some(link), Some(src)) = (id, title, link, src) else { return Err(Vec::new()) };
        let kept = |column| {
            let text: String = clean(row.get(column)?).chars().take(Self::KEPT).collect();
            Some(text.trim_end().into()).filter(|text: &Box<str>| !text.is_empty())
        };
        let image = Image { src: src.as_str().into(), alt: title.as_str().into(), width: None, height: None };
        Ok(Self {
            product: Product {
                id: id.into(),
                title: title.into(),
                link,
                image,
                price,
                sale_price,
                brand: kept(Column::Brand),
                description: kept(Column::Description),
            },
            available,
        })
    }
}

struct Reader<'a> {
    row: &'a Row,
    settings: &'a Settings<'a>,
    faults: Violations,
}

impl Reader<'_> {
    fn fault(&mut self, column: Column, code: &'static str, detail: impl Into<String>) {
        self.faults.push(format!("/{}", column.name()), code, detail);
    }

    fn required(&mut self, column: Column) -> Option<&str> {
        if self.row.get(column).is_none() {
            self.fault(column, "required", "must not be empty");
        }
        self.row.get(column)
    }

    fn text(&mut self, column: Column, longest: usize) -> Option<String> {
        let text = clean(self.required(column)?);
        let length = text.chars().count();
        if length == 0 {
            self.fault(column, "required", "must not be empty");
        } else if length > longest {
            self.fault(column, "too_long", format!("must be at most {longest} characters long, not {length}"));
        }
        (1..=longest).contains(&length).then_some(text)
    }

    fn url(&mut self, column: Column) -> Option<WebUrl> {
        match self.required(column)?.parse() {
            Ok(url) => Some(url),
            Err(error) => {
                let error: crate::domain::creative::UrlError = error;
                self.fault(column, "not_a_url", error.to_string());
                None
            }
        }
    }

    fn price(&mut self, column: Column) -> Option<Money> {
        let text = self.row.get(column)?;
        match money(text, self.settings.currency) {
            Ok(money) => Some(money),
            Err(detail) => {
                self.fault(column, "not_a_price", detail);
                None
            }
        }
    }

    /// A file without the column says nothing of availability: its products can be bought. A row
    /// with an empty cell says something that cannot be read.
    fn available(&mut self) -> bool {
        let Some(text) = self.row.cell(Column::Availability) else { return true };
        match text.to_ascii_lowercase().replace([' ', '-'], "_").as_str() {
            "in_stock" | "limited_availability" | "preorder" | "pre_order" | "backorder" => true,
            "out_of_stock" | "sold_out" | "discontinued" => false,
            _ => {
                let detail = "must be in_stock, preorder, backorder, limited_availability or out_of_stock";
                self.fault(Column::Availability, "unknown_availability", detail);
                false
            }
        }
    }
}

/// A text on one line, without what nobody sees.
fn clean(text: &str) -> String {
    let seen = |c: &char| !(c.is_control() && !c.is_whitespace() || is_bidi(*c) || *c == '\u{feff}');
    let text: String = text.chars().filter(seen).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `12.90 EUR`, `EUR 12.90`, or the amount alone where the feed says the currency.
fn money(text: &str, usual: Option<Currency>) -> Result<Money, &'static str> {
    const FORM: &str = "must be an amount and a currency such as 12.90 EUR";
    let mut words = text.split_whitespace();
    let (first, second, more) = (words.next().unwrap_or_default(), words.next(), words.next());
    let (amount, currency) = match (second, more) {
        (None, None) => (first, usual.ok_or("must name a currency, such as 12.90 EUR: the feed has no usual one")?),
        (Some(second), None) if first.starts_with(|c: char| c.is_ascii_digit()) => {
            (first, second.parse().map_err(|_| FORM)?)
        }
        (Some(second), None) => (second, first.parse().map_err(|_| FORM)?),
        _ => return Err(FORM),
    };
    let amount: Amount = amount.parse().map_err(|_| FORM)?;
    if amount.micros() < 0 { Err("must not be negative") } else { Ok(Money { amount, currency }) }
}
