//! The parts of values that placeholders name, and what they may be used for.

use std::borrow::Cow;

use super::{
    context::Context,
    documents::SlotType,
    escape::{self, Escaper},
    value::{Product, SlotValue},
};

/// A part of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Whole,
    Src,
    Alt,
    Amount,
    Currency,
}

/// A part of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemField {
    Id,
    Title,
    Link,
    Image(Field),
    Price(Field),
    SalePrice(Field),
    Brand,
    Description,
}

/// A part that not every product has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Price,
    SalePrice,
    Brand,
    Description,
}

impl Part {
    pub(super) const ALL: [Self; 4] = [Self::Price, Self::SalePrice, Self::Brand, Self::Description];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::SalePrice => "sale_price",
            Self::Brand => "brand",
            Self::Description => "description",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// The part that must be there for a field to have a value.
    pub(super) fn of_field(field: ItemField) -> Option<Self> {
        match field {
            ItemField::Price(_) => Some(Self::Price),
            ItemField::SalePrice(_) => Some(Self::SalePrice),
            ItemField::Brand => Some(Self::Brand),
            ItemField::Description => Some(Self::Description),
            ItemField::Id | ItemField::Title | ItemField::Link | ItemField::Image(_) => None,
        }
    }

    /// Whether a product has it.
    pub(super) fn of(self, product: &Product) -> bool {
        match self {
            Self::Price => product.price.is_some(),
            Self::SalePrice => product.sale_price.is_some(),
            Self::Brand => product.brand.is_some(),
            Self::Description => product.description.is_some(),
        }
    }
}

/// What a part is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Words,
    Address,
    Picture,
    Color,
    Number,
    /// Only JSON can hold it.
    Compound,
}

/// What a decision fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    ClickUrl,
    ImpressionUrl,
    ViewUrl,
    LandingUrl,
    DecisionId,
    Cachebuster,
}

impl Builtin {
    pub(super) const NAMES: [(&'static str, Self); 6] = [
        ("click_url", Self::ClickUrl),
        ("impression_url", Self::ImpressionUrl),
        ("view_url", Self::ViewUrl),
        ("landing_url", Self::LandingUrl),
        ("decision_id", Self::DecisionId),
        ("cachebuster", Self::Cachebuster),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, builtin)| builtin)
    }

    /// How it is written in a context where it may stand.
    pub(super) fn escaper(self, context: Context) -> Option<Escaper> {
        match (self, context) {
            (_, Context::Json) => Some(Escaper::Json),
            (Self::ClickUrl | Self::LandingUrl, Context::Link) | (Self::ImpressionUrl, Context::Image) => {
                Some(Escaper::Link)
            }
            (Self::ClickUrl | Self::LandingUrl | Self::ViewUrl, Context::Attribute) => Some(Escaper::Html),
            (Self::DecisionId | Self::Cachebuster, Context::Text | Context::Attribute) => Some(Escaper::Html),
            (Self::DecisionId | Self::Cachebuster, Context::UrlQuery) => Some(Escaper::UrlPart),
            (Self::DecisionId | Self::Cachebuster, Context::UrlPath) => Some(Escaper::PathPart),
            _ => None,
        }
    }
}

impl Nature {
    /// How a part of this nature is written in a context where it may stand.
    pub(super) fn escaper(self, context: Context) -> Option<Escaper> {
        match (context, self) {
            (Context::Json, _) => Some(Escaper::Json),
            (_, Self::Compound) => None,
            (Context::Text | Context::Attribute, _) => Some(Escaper::Html),
            (Context::UrlQuery, _) => Some(Escaper::UrlPart),
            (Context::UrlPath, _) => Some(Escaper::PathPart),
            (Context::Link | Context::Media | Context::Image, Self::Address) | (Context::Image, Self::Picture) => {
                Some(Escaper::Link)
            }
            (Context::Srcset, Self::Address | Self::Picture) => Some(Escaper::Srcset),
            (Context::CssUrl, Self::Picture) => Some(Escaper::CssUrl),
            (Context::Css | Context::Color, Self::Color) | (Context::Css | Context::CssNumber, Self::Number) => {
                Some(Escaper::Css)
            }
            _ => None,
        }
    }
}

impl Field {
    /// The part of a slot of type `kind` that a name's rest (behind the first dot) asks for.
    pub(super) fn of(kind: SlotType, rest: Option<&str>) -> Option<(Self, Nature)> {
        Some(match (kind, rest) {
            (SlotType::Text | SlotType::Legal, None) => (Self::Whole, Nature::Words),
            (SlotType::Url, None) => (Self::Whole, Nature::Address),
            (SlotType::Color, None) => (Self::Whole, Nature::Color),
            (SlotType::Number, None) => (Self::Whole, Nature::Number),
            (SlotType::Price, None) => (Self::Whole, Nature::Words),
            (SlotType::Price, Some("amount")) => (Self::Amount, Nature::Words),
            (SlotType::Price, Some("currency")) => (Self::Currency, Nature::Words),
            (SlotType::Image, Some("src")) => (Self::Src, Nature::Picture),
            (SlotType::Image, Some("alt")) => (Self::Alt, Nature::Words),
            (SlotType::Image | SlotType::Product | SlotType::Video, None) => (Self::Whole, Nature::Compound),
            _ => return None,
        })
    }

    /// The names that may follow a slot of type `kind`.
    pub(super) fn hint(kind: SlotType) -> &'static str {
        match kind {
            SlotType::Image => "use .src or .alt",
            SlotType::Price => "use it alone, .amount or .currency",
            SlotType::Product => "repeat it with #each",
            SlotType::Video => "a vast template names it as its video",
            _ => "use it alone",
        }
    }
}

impl ItemField {
    /// The part of a product that a name asks for.
    pub(super) fn named(name: &str) -> Option<(Self, Nature)> {
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let (make, kind): (fn(Field) -> Self, _) = match (first, rest) {
            ("id", None) => return Some((Self::Id, Nature::Words)),
            ("title", None) => return Some((Self::Title, Nature::Words)),
            ("link", None) => return Some((Self::Link, Nature::Address)),
            ("brand", None) => return Some((Self::Brand, Nature::Words)),
            ("description", None) => return Some((Self::Description, Nature::Words)),
            ("image", Some(_)) => (Self::Image, SlotType::Image),
            ("price", _) => (Self::Price, SlotType::Price),
            ("sale_price", _) => (Self::SalePrice, SlotType::Price),
            _ => return None,
        };
        Field::of(kind, rest).map(|(field, nature)| (make(field), nature))
    }
}

/// Writes a part of a value as its place asks; nothing when the value has no such part.
pub(super) fn write(value: &SlotValue, field: Field, escaper: Escaper, out: &mut String) {
    match text(value, field) {
        // JSON keeps numbers and objects
        _ if escaper == Escaper::Json && field == Field::Whole => escape::json(&value.content(), out),
        Some(text) => escape::push(escaper, &text, out),
        None => {}
    }
}

/// As [`write()`], for a part of a product.
pub(super) fn write_item(product: &Product, field: ItemField, escaper: Escaper, out: &mut String) {
    let price = |money: Option<_>| money.map_or(SlotValue::Absent, SlotValue::Price);
    match field {
        ItemField::Id => escape::push(escaper, &product.id, out),
        ItemField::Title => escape::push(escaper, &product.title, out),
        ItemField::Link => escape::push(escaper, product.link.as_str(), out),
        ItemField::Image(field) => write(&SlotValue::Image(product.image.clone()), field, escaper, out),
        ItemField::Brand => escape::push(escaper, product.brand.as_deref().unwrap_or_default(), out),
        ItemField::Description => escape::push(escaper, product.description.as_deref().unwrap_or_default(), out),
        ItemField::Price(field) => write(&price(product.price), field, escaper, out),
        ItemField::SalePrice(field) => write(&price(product.sale_price), field, escaper, out),
    }
}

/// A part of a value as text.
pub(super) fn text(value: &SlotValue, field: Field) -> Option<Cow<'_, str>> {
    Some(match (value, field) {
        (SlotValue::Text(text) | SlotValue::Color(text), Field::Whole) => Cow::Borrowed(text),
        (SlotValue::Url(url), Field::Whole) => Cow::Borrowed(url.as_str()),
        (SlotValue::Number(number), Field::Whole) => Cow::Owned(number.to_string()),
        (SlotValue::Image(image), Field::Src) => Cow::Borrowed(&image.src),
        (SlotValue::Image(image), Field::Alt) => Cow::Borrowed(&image.alt),
        (SlotValue::Price(money), Field::Whole) => Cow::Owned(money.to_string()),
        (SlotValue::Price(money), Field::Amount) => Cow::Owned(money.amount_text()),
        (SlotValue::Price(money), Field::Currency) => Cow::Owned(money.currency.to_string()),
        _ => return None,
    })
}
