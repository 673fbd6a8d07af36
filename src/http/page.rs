//! Lists, one page at a time.

use std::{borrow::Cow, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Schema,
        schema::{ArrayBuilder, Type},
    },
};

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    /// The items, in a stable order.
    pub items: Vec<T>,
    /// Send it as `after` to read on; none: this is the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The page of the first `limit` of some items, of which one more than `limit` was asked for.
    #[must_use]
    pub fn of<R>(mut rows: Vec<R>, limit: Limit, cursor: impl Fn(&R) -> String, item: impl Fn(R) -> T) -> Self {
        let more = rows.len() > limit.0 as usize;
        rows.truncate(limit.0 as usize);
        let next = rows.last().filter(|_| more).map(cursor);
        Self { items: rows.into_iter().map(item).collect(), next }
    }
}

// Described by hand, because a derived description would repeat that of the items.
impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        let items = items.description(Some("The items, in a stable order."));
        let next = ObjectBuilder::new().schema_type(Type::String);
        let next = next.description(Some("Send it as `after` to read on; left out at the end."));
        ObjectBuilder::new().property("items", items).property("next", next).required("items").build().into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// How many items at most, 1 to 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Limit {
    const MOST: u32 = 500;

    /// One more than the limit, to learn whether there is more.
    #[must_use]
    pub fn and_one(self) -> u32 {
        self.0 + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number(from, 1..=Self::MOST, "limit must be an integer from 1 to 500").map(Self)
    }
}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(Self::MOST));
        schema.default(Some(Self::default().0.into())).build().into()
    }
}

impl ToSchema for Limit {}

/// After how many items, or after which number, a list goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offset(pub u32);

impl Offset {
    const MOST: u32 = i32::MAX.cast_unsigned();
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number(from, 0..=Self::MOST, "after must be a number, such as `next` of the page before").map(Self)
    }
}

impl PartialSchema for Offset {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(Self::MOST));
        schema.default(Some(0.into())).build().into()
    }
}

impl ToSchema for Offset {}

/// A number within bounds, written in digits alone; else `words` say what it must be.
fn number<'de, D: Deserializer<'de>>(from: D, within: RangeInclusive<u32>, words: &str) -> Result<u32, D::Error> {
    let text = String::deserialize(from)?;
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && within.contains(number)).ok_or_else(|| D::Error::custom(words))
}

/// The id after which a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b':');
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text));
        }
        Err(D::Error::custom("after must be an id, such as `next` of the page before"))
    }
}

impl PartialSchema for Cursor {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z0-9._:-]{1,64}$")).build().into()
    }
}

impl ToSchema for Cursor {}

/// Which part of a list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items at most.
    #[serde(default)]
    #[param(inline, required = false)]
    pub limit: Limit,
    /// Where to read on: `next` of the page before.
    #[param(inline, value_type = Cursor, required = false)]
    pub after: Option<Cursor>,
}

/// Whether to only check.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Check everything and change nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use axum::{extract::Query, http::Uri};
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    #[test]
    fn a_full_page_says_where_to_read_on() {
        let page = |rows: Vec<u32>| Page::of(rows, Limit(2), ToString::to_string, |row| row * 10);
        assert_eq!(page(vec![1, 2, 3]), Page { items: vec![10, 20], next: Some("2".into()) });
        assert_eq!(page(vec![1, 2]), Page { items: vec![10, 20], next: None });
    }

    #[test]
    fn only_sane_pages_are_asked_for() {
        let read = |query: &str| Query::<PageQuery>::try_from_uri(&format!("/?{query}").parse::<Uri>().unwrap());
        assert_eq!(read("").unwrap().limit, Limit(100));
        assert_eq!(read("limit=500&after=a-1").unwrap().after, Some(Cursor("a-1".into())));
        for bad in ["limit=0", "limit=501", "limit=", "limit=-1", "limit=%2B5", "after=", "after=%00", "lmit=5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_go_on_after_numbers_that_the_document_allows() {
        let read = |text| Offset::deserialize(StrDeserializer::<ValueError>::new(text)).ok();
        assert_eq!((read("0"), read("2147483647")), (Some(Offset(0)), Some(Offset(Offset::MOST))));
        for wrong in ["", "-1", "+1", "2147483648", "1.0", "x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
