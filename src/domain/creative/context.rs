//! The kinds of places in which a placeholder can stand.

/// Where a placeholder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// Between tags, or in the document's title.
    Text,
    /// A quoted attribute that holds words.
    Attribute,
    /// A whole address that a click follows.
    Link,
    /// A whole address of a picture.
    Image,
    /// A whole address of a sound or film.
    Media,
    /// A part of an address behind `?` or `#`.
    UrlQuery,
    /// A part of an address's path.
    UrlPath,
    /// An address in a list of pictures.
    Srcset,
    /// A colour in an attribute of SVG.
    Color,
    /// A CSS value.
    Css,
    /// A number before a CSS unit.
    CssNumber,
    /// The whole of a CSS `url()`.
    CssUrl,
    /// A whole value in a JSON script.
    Json,
    /// Between complete tags, where blocks may begin and end.
    Between,
}
