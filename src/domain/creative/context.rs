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

impl Context {
    /// Where that is, in words.
    pub(super) fn whereabouts(self) -> &'static str {
        match self {
            Self::Text | Self::Between => "in text",
            Self::Attribute => "in an attribute",
            Self::Link => "as the address of a link, which needs a url",
            Self::Image => "as the address of an image, which needs an image's .src or a url",
            Self::Media => "as the address of a video or sound, which needs a url",
            Self::UrlQuery | Self::UrlPath => "in a part of an address",
            Self::Srcset => "in srcset, which needs an image's .src or a url",
            Self::Color => "here: use a color",
            Self::Css => "in CSS: use a color or a number",
            Self::CssNumber => "before a CSS unit: use a number",
            Self::CssUrl => "in url(): use an image's .src",
            Self::Json => "in JSON",
        }
    }
}
