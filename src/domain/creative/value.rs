//! What a slot accepts and the values that fill it.

use serde_json::{Map, Number, Value, json};

use super::{
    color::is_color,
    documents::{SlotDoc, SlotType},
    picking::Picking,
    url::{WebUrl, is_bidi},
    video::Video,
};
use crate::domain::{
    ids::SlotName,
    values::Money,
    violation::{Violation, Violations, token},
};

/// The limits of a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotSpec {
    /// The type of its values.
    pub kind: SlotType,
    /// Whether "nothing" is a value.
    pub optional: bool,
    /// `text` and `legal`: the longest value, in characters.
    pub max_length: u32,
    /// `image`: the width it must have, in pixels.
    pub width: Option<u32>,
    /// `image`: the height it must have, in pixels.
    pub height: Option<u32>,
    /// `image`: the largest file, in bytes; held by whoever knows the file.
    pub max_bytes: Option<u32>,
    /// `product`: the most products in one value.
    pub max_items: u32,
}

impl SlotSpec {
    /// What a slot of products takes that says nothing of its own.
    #[must_use]
    pub fn products() -> Self {
        let kind = SlotType::Product;
        Self { kind, optional: false, max_length: 500, width: None, height: None, max_bytes: None, max_items: 10 }
    }

    /// Reads the limits of `doc`; its default is read with [`SlotValue::parse`].
    ///
    /// # Errors
    /// Limits that are out of range or belong to another type of slot.
    pub fn parse(doc: &SlotDoc) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        let text = matches!(doc.kind, SlotType::Text | SlotType::Legal);
        let image = doc.kind == SlotType::Image;
        for (name, limit, fits, most) in [
            ("max_length", doc.max_length, text, 10_000),
            ("width", doc.width, image, 10_000),
            ("height", doc.height, image, 10_000),
            ("max_bytes", doc.max_bytes, image, 10_000_000),
            ("max_items", doc.max_items, doc.kind == SlotType::Product, 10),
        ] {
            match limit {
                Some(_) if !fits => {
                    faults.push(format!("/{name}"), "limit_of_other_type", "this type of slot has no such limit")
                }
                Some(limit) if limit == 0 || limit > most => {
                    faults.push(format!("/{name}"), "out_of_range", format!("must be 1 to {most}"));
                }
                _ => {}
            }
        }
        let usual = if doc.kind == SlotType::Legal { 2_000 } else { 500 };
        faults.into_result().map(|()| Self {
            kind: doc.kind,
            optional: doc.optional,
            max_length: doc.max_length.unwrap_or(usual),
            width: doc.width,
            height: doc.height,
            max_bytes: doc.max_bytes,
            max_items: doc.max_items.unwrap_or(10),
        })
    }
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// An `http(s)` address or the path of one of our own assets (`/v1/assets/...`).
    pub src: Box<str>,
    /// What it shows, in words.
    pub alt: Box<str>,
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
}

/// A row of a catalogue of products.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// Its id in the catalogue, 1 to 256 characters.
    pub id: Box<str>,
    /// Its name, 1 to 500 characters.
    pub title: Box<str>,
    /// Its page.
    pub link: WebUrl,
    /// Its picture.
    pub image: Image,
    /// Its price.
    pub price: Option<Money>,
    /// Its reduced price.
    pub sale_price: Option<Money>,
    /// Whose make it is, 1 to 500 characters.
    pub brand: Option<Box<str>>,
    /// What is to be said of it, 1 to 500 characters.
    pub description: Option<Box<str>>,
}

/// A value that fits its slot.
#[derive(Debug, Clone, PartialEq)]
pub enum SlotValue {
    /// Nothing, in an optional slot.
    Absent,
    /// Text of a `text` or `legal` slot.
    Text(Box<str>),
    /// A picture.
    Image(Image),
    /// An address.
    Url(WebUrl),
    /// A CSS colour.
    Color(Box<str>),
    /// A price.
    Price(Money),
    /// A finite number.
    Number(Number),
    /// One or more products.
    Products(Box<[Product]>),
    /// Products that each decision picks from a feed.
    Picked(Box<Picking>),
    /// A video.
    Video(Box<Video>),
}

impl SlotValue {
    /// Reads the value of a component or a default.
    ///
    /// # Errors
    /// Everything that does not fit the slot, with pointers into `value`.
    pub fn parse(spec: &SlotSpec, value: &Value) -> Result<Self, Vec<Violation>> {
        let mut reader = Reader::default();
        let parsed = match (spec.kind, value) {
            (_, Value::Null) if spec.optional => Some(Self::Absent),
            (SlotType::Text | SlotType::Legal, _) => reader.text("", value, spec.max_length).map(Self::Text),
            (SlotType::Image, _) => reader.image("", value, spec).map(Self::Image),
            (SlotType::Url, _) => reader.url("", value).map(Self::Url),
            (SlotType::Color, Value::String(text)) if is_color(text) => Some(Self::Color(text.as_str().into())),
            (SlotType::Color, _) => reader.fault(
                "",
                "not_a_color",
                "must be a CSS colour: #rgb, #rrggbb, #rrggbbaa, a colour name, rgb() or hsl()",
            ),
            (SlotType::Price, _) => reader.price("", value).map(Self::Price),
            (SlotType::Number, Value::Number(number)) if number.as_f64().is_some_and(f64::is_finite) => {
                Some(Self::Number(number.clone()))
            }
            (SlotType::Number, _) => reader.fault("", "not_a_number", "must be a finite JSON number"),
            (SlotType::Product, Value::Object(_)) => match Picking::parse(value) {
                Ok(picking) => Some(Self::Picked(Box::new(picking))),
                Err(faults) => {
                    reader.faults.extend_under("", faults);
                    None
                }
            },
            (SlotType::Product, _) => reader.products(value, spec).map(Self::Products),
            (SlotType::Video, _) => reader.video(value).map(|video| Self::Video(Box::new(video))),
        };
        match parsed {
            Some(parsed) if reader.faults.is_empty() => Ok(parsed),
            _ => Err(reader.faults.into_vec()),
        }
    }

    /// The value as API users get it in an item's `content`; what [`Self::parse`] reads.
    #[must_use]
    pub fn content(&self) -> Value {
        match self {
            Self::Absent => Value::Null,
            Self::Text(text) | Self::Color(text) => Value::from(&**text),
            Self::Image(image) => image.content(),
            Self::Url(url) => Value::from(url.as_str()),
            Self::Price(money) => money_content(money),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Products(products) => products.iter().map(Product::content).collect(),
            Self::Picked(picking) => picking.content(),
            Self::Video(video) => video.content(),
        }
    }
}

/// The `content` of an item: each slot's name with the value chosen for it.
pub fn content<'a>(chosen: impl IntoIterator<Item = (&'a SlotName, &'a SlotValue)>) -> Map<String, Value> {
    chosen.into_iter().map(|(slot, value)| (slot.to_string(), value.content())).collect()
}

impl Image {
    fn content(&self) -> Value {
        let mut json = json!({"src": &*self.src, "alt": &*self.alt});
        for (name, side) in [("width", self.width), ("height", self.height)] {
            if let Some(side) = side {
                json[name] = side.into();
            }
        }
        json
    }
}

impl Product {
    fn content(&self) -> Value {
        let mut json =
            json!({"id": &*self.id, "title": &*self.title, "link": self.link.as_str(), "image": self.image.content()});
        for (name, price) in [("price", &self.price), ("sale_price", &self.sale_price)] {
            if let Some(price) = price {
                json[name] = money_content(price);
            }
        }
        for (name, text) in [("brand", &self.brand), ("description", &self.description)] {
            if let Some(text) = text {
                json[name] = (&**text).into();
            }
        }
        json
    }
}

fn money_content(money: &Money) -> Value {
    json!({"amount": money.amount_text(), "currency": money.currency.as_str()})
}

/// Reads JSON values, noting every fault with its pointer.
#[derive(Default)]
pub(super) struct Reader {
    faults: Violations,
}

impl Reader {
    pub(super) fn fault<T>(&mut self, at: &str, code: &'static str, detail: impl Into<String>) -> Option<T> {
        self.faults.push(at, code, detail);
        None
    }

    pub(super) fn text(&mut self, at: &str, value: &Value, longest: u32) -> Option<Box<str>> {
        let Value::String(text) = value else { return self.fault(at, "not_a_text", "must be a text") };
        let length = text.chars().count();
        if let Some(c) = text.chars().find(|&c| c.is_control() || is_bidi(c) || c == '\u{feff}') {
            let code = u32::from(c);
            self.fault(at, "control_character", format!("must not hold control characters, here U+{code:04X}"))
        } else if text.trim().is_empty() {
            self.fault(at, "empty", "must not be empty")
        } else if length > usize::try_from(longest).unwrap_or(usize::MAX) {
            self.fault(at, "too_long", format!("must be at most {longest} characters long, not {length}"))
        } else {
            Some(text.as_str().into())
        }
    }

    pub(super) fn url(&mut self, at: &str, value: &Value) -> Option<WebUrl> {
        let Value::String(text) = value else { return self.fault(at, "not_a_url", "must be an http or https address") };
        text.parse().map_err(|error: super::url::UrlError| self.faults.push(at, "not_a_url", error.to_string())).ok()
    }

    pub(super) fn src(&mut self, at: &str, value: &Value) -> Option<Box<str>> {
        let own = |text: &&str| {
            text.strip_prefix("/v1/assets/").is_some_and(|path| {
                let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
                plain
                    && !path.is_empty()
                    && path.len() <= 256
                    && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            })
        };
        match value.as_str().filter(own) {
            Some(path) => Some(path.into()),
            None => self.url(at, value).map(|url| url.as_str().into()),
        }
    }

    fn price(&mut self, at: &str, value: &Value) -> Option<Money> {
        match serde_json::from_value::<Money>(value.clone()) {
            Ok(money) if money.amount.micros() >= 0 => Some(money),
            Ok(_) => self.fault(&format!("{at}/amount"), "out_of_range", "must not be negative"),
            Err(error) => self.fault(
                at,
                "not_a_price",
                format!("must be {{\"amount\": \"19.99\", \"currency\": \"EUR\"}}: {error}"),
            ),
        }
    }

    /// The fields of an object, of which `known` are allowed; those beyond are faults.
    pub(super) fn object<'a>(&mut self, at: &str, value: &'a Value, known: &[&str]) -> Option<&'a Map<String, Value>> {
        let Value::Object(fields) = value else {
            return self.fault(at, "not_an_object", format!("must be an object with the fields {}", known.join(", ")));
        };
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            self.faults.push(
                format!("{at}/{}", token(name)),
                "unknown_field",
                format!("only {} are known here", known.join(", ")),
            );
        }
        Some(fields)
    }

    fn products(&mut self, value: &Value, spec: &SlotSpec) -> Option<Box<[Product]>> {
        let Value::Array(rows) = value else { return self.fault("", "not_an_array", "must be an array of products") };
        if rows.is_empty() || rows.len() > usize::try_from(spec.max_items).unwrap_or(usize::MAX) {
            return self.fault(
                "",
                "out_of_range",
                format!("must hold 1 to {} products, not {}", spec.max_items, rows.len()),
            );
        }
        // read all before giving up, so that the faults of all are noted
        let read: Vec<_> =
            rows.iter().enumerate().map(|(at, row)| self.product(&format!("/{at}"), row, spec)).collect();
        read.into_iter().collect()
    }

    fn product(&mut self, at: &str, row: &Value, spec: &SlotSpec) -> Option<Product> {
        let fields =
            self.object(at, row, &["id", "title", "link", "image", "price", "sale_price", "brand", "description"])?;
        let field = |name: &str| fields.get(name).unwrap_or(&Value::Null);
        let id = self.text(&format!("{at}/id"), field("id"), 256);
        let title = self.text(&format!("{at}/title"), field("title"), 500);
        let link = self.url(&format!("{at}/link"), field("link"));
        let image = self.image(&format!("{at}/image"), field("image"), spec);
        let [price, sale_price] =
            ["price", "sale_price"].map(|name| self.price(&format!("{at}/{name}"), fields.get(name)?));
        let [brand, description] =
            ["brand", "description"].map(|name| self.text(&format!("{at}/{name}"), fields.get(name)?, 500));
        Some(Product { id: id?, title: title?, link: link?, image: image?, price, sale_price, brand, description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(doc: Value) -> SlotSpec {
        SlotSpec::parse(&serde_json::from_value(doc).expect("a slot")).expect("limits")
    }

    fn faults(doc: Value, value: Value) -> Vec<(String, &'static str)> {
        let faults = SlotValue::parse(&spec(doc), &value).expect_err("faults");
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn slot(kind: &str) -> Value {
        json!({"type": kind, "default": null})
    }

    fn shoe() -> Value {
        json!({"id": "s-1", "title": "Shoe", "link": "https://shop.example/s-1",
               "image": {"src": "/v1/assets/ab12.webp", "alt": "A shoe"}, "price": {"amount": "19.90", "currency": "EUR"}})
    }

    #[test]
    fn values_read_back_from_their_content() {
        for (kind, value) in [
            ("text", json!("Run further")),
            ("legal", json!("Only while stocks last.")),
            ("url", json!("https://shop.example/%C3%BC")),
            ("color", json!("rgb(1, 2, 3)")),
            ("number", json!(4.5)),
            ("price", json!({"amount": "19.90", "currency": "EUR"})),
            ("image", json!({"src": "https://cdn.example/a.png", "alt": "A shoe", "width": 300})),
            ("product", json!([shoe(), shoe()])),
        ] {
            let parsed = SlotValue::parse(&spec(slot(kind)), &value).expect(kind);
            assert_eq!(parsed.content(), value);
        }
    }

    #[test]
    fn every_fault_is_named_where_it_is() {
        assert_eq!(faults(slot("text"), json!("a\u{202e}b")), [(String::new(), "control_character")]);
        assert_eq!(faults(slot("text"), json!("a\0")), [(String::new(), "control_character")]);
        assert_eq!(faults(slot("text"), json!(" ")), [(String::new(), "empty")]);
        assert_eq!(faults(slot("text"), json!(null)), [(String::new(), "not_a_text")]);
        assert_eq!(
            faults(json!({"type": "text", "default": "", "max_length": 3}), json!("über")),
            [(String::new(), "too_long")]
        );
        assert_eq!(faults(slot("url"), json!("javascript:alert(1)")), [(String::new(), "not_a_url")]);
        assert_eq!(faults(slot("color"), json!("red;}")), [(String::new(), "not_a_color")]);
        assert_eq!(faults(slot("number"), json!("4")), [(String::new(), "not_a_number")]);
        assert_eq!(
            faults(slot("price"), json!({"amount": "-1", "currency": "EUR"})),
            [("/amount".into(), "out_of_range")]
        );
        assert_eq!(
            faults(
                json!({"type": "image", "default": null, "width": 300}),
                json!({"src": "/v1/assets/../x", "width": 200, "title": "x"})
            ),
            [
                ("/title".into(), "unknown_field"),
                ("/src".into(), "not_a_url"),
                ("/alt".into(), "not_a_text"),
                ("/width".into(), "image_size")
            ]
        );
        let mut bad = shoe();
        bad["link"] = json!("ftp://x");
        bad["price"]["currency"] = json!("euro");
        assert_eq!(
            faults(slot("product"), json!([shoe(), bad])),
            [("/1/link".into(), "not_a_url"), ("/1/price".into(), "not_a_price")]
        );
        assert_eq!(faults(slot("product"), json!([])), [(String::new(), "out_of_range")]);
    }

    #[test]
    fn nothing_is_a_value_only_where_the_slot_says_so() {
        let optional = spec(json!({"type": "text", "default": null, "optional": true}));
        assert_eq!(SlotValue::parse(&optional, &Value::Null), Ok(SlotValue::Absent));
    }

    #[test]
    fn limits_belong_to_their_type() {
        let doc = serde_json::from_value(json!({"type": "url", "default": "", "max_length": 4, "max_items": 0}))
            .expect("a slot");
        let codes: Vec<_> = SlotSpec::parse(&doc).expect_err("faults").into_iter().map(|fault| fault.code).collect();
        assert_eq!(codes, ["limit_of_other_type", "limit_of_other_type"]);
    }
}
