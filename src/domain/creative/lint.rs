//! What a person would notice in an assembled creative: pictures without words for them, text that
//! is hard to read or cannot fit. An estimate from the markup alone, without a browser: it tells
//! what is certainly wrong and keeps silent where a style sheet decides.

use cssparser::{
    Parser, ParserInput, Token,
    color::{parse_hash_color, parse_named_color},
};
use html5gum::{StartTag, Token as Html, Tokenizer};

use crate::domain::{
    values::Size,
    violation::{Violation, Violations},
};

/// The least contrast of text with what is behind it (WCAG 2.2, success criterion 1.4.3).
const CONTRAST: f64 = 4.5;
/// The smallest letters anybody reads, and how wide they are on average, in CSS pixels.
const LETTER: (f64, f64) = (9.0, 4.5);

type Rgb = (u8, u8, u8);

/// What to look at in an assembled `html` creative of this size.
#[must_use]
pub fn lint(markup: &str, size: Option<Size>) -> Vec<Violation> {
    let mut reading = Reading { found: Violations::new(), open: Vec::new(), letters: 0, longest: 0 };
    for token in Tokenizer::new(markup) {
        match token {
            Ok(Html::StartTag(tag)) => reading.start(&tag),
            Ok(Html::EndTag(tag)) => reading.end(&tag.name),
            Ok(Html::String(text)) => reading.text(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    reading.fits(size);
    reading.found.into_vec()
}

struct Element {
    name: Vec<u8>,
    ink: Option<Rgb>,
    ground: Option<Rgb>,
}

struct Reading {
    found: Violations,
    open: Vec<Element>,
    letters: usize,
    longest: usize,
}

impl Reading {
    fn start(&mut self, tag: &StartTag<()>) {
        let attribute = |name: &[u8]| tag.attributes.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        if &**tag.name == b"img" && attribute(b"alt").is_none() {
            let src: String = attribute(b"src").unwrap_or_default().chars().take(80).collect();
            self.found.push("/markup", "missing_alt", format!("the image {src} has no alt text"));
        }
        if matches!(&**tag.name, b"img" | b"br" | b"hr" | b"meta" | b"link" | b"source" | b"wbr" | b"input")
            || tag.self_closing
        {
            return;
        }
        let (mut ink, mut ground) = self.open.last().map_or((None, None), |parent| (parent.ink, parent.ground));
        for (name, value) in declarations(&attribute(b"style").unwrap_or_default()) {
            match name.as_str() {
                "color" => ink = rgb(&value),
                // a picture or a gradient says nothing of the colour behind the text
                "background" | "background-color" | "background-image" => ground = rgb(&value),
                _ => {}
            }
        }
        self.open.push(Element { name: tag.name.to_vec(), ink, ground });
    }

    fn end(&mut self, name: &[u8]) {
        if let Some(at) = self.open.iter().rposition(|element| element.name == name) {
            self.open.truncate(at);
        }
    }

    fn text(&mut self, text: &str) {
        let hidden =
            |element: &Element| matches!(&element.name[..], b"style" | b"script" | b"title" | b"head" | b"svg");
        if text.trim().is_empty() || self.open.iter().any(hidden) {
            return;
        }
        let words = text.split_whitespace().map(|word| word.chars().count());
        self.letters += words.clone().map(|letters| letters + 1).sum::<usize>();
        self.longest = self.longest.max(words.max().unwrap_or_default());
        if let Some(Element { ink: Some(ink), ground: Some(ground), .. }) = self.open.last() {
            let contrast = contrast(*ink, *ground);
            if contrast < CONTRAST {
                let start: String = text.trim().chars().take(40).collect();
                let detail = format!(
                    "\"{start}\" has a contrast of {contrast:.1} with its background; {CONTRAST} is the least that is easy to read"
                );
                self.found.push("/markup", "low_contrast", detail);
            }
        }
    }

    fn fits(&mut self, size: Option<Size>) {
        let Some(size) = size else { return };
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let (line, letter) = LETTER;
        if self.longest as f64 * letter > width {
            let detail = format!(
                "a word of {} letters is wider than {} pixels at any size that can be read",
                self.longest, size.width
            );
            self.found.push("/markup", "text_overflow", detail);
        } else if self.letters as f64 * letter * line > width * height {
            let detail = format!("{} letters do not fit {size} at any size that can be read", self.letters);
            self.found.push("/markup", "text_overflow", detail);
        }
    }
}

/// The declarations of a style attribute, names in small letters.
fn declarations(style: &str) -> impl Iterator<Item = (String, String)> {
    style.split(';').filter_map(|declaration| {
        let (name, value) = declaration.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    })
}

/// An opaque colour; none for anything else.
fn rgb(text: &str) -> Option<Rgb> {
    let mut input = ParserInput::new(text);
    let mut parser = Parser::new(&mut input);
    let color = match parser.next().ok()?.clone() {
        Token::Hash(digits) | Token::IDHash(digits) => match parse_hash_color(digits.as_bytes()) {
            Ok((red, green, blue, alpha)) if alpha >= 1.0 => Some((red, green, blue)),
            _ => None,
        },
        Token::Ident(name) => parse_named_color(&name).ok(),
        Token::Function(name) if name.eq_ignore_ascii_case("rgb") => {
            parser.parse_nested_block(|block| Ok::<_, cssparser::ParseError<'_, ()>>(channels(block))).ok()?
        }
        _ => None,
    };
    color.filter(|_| parser.is_exhausted())
}

fn channels(parser: &mut Parser<'_, '_>) -> Option<Rgb> {
    let mut values = Vec::new();
    while let Ok(token) = parser.next() {
        match token {
            Token::Number { value, .. } => values.push(*value),
            Token::Comma => {}
            _ => return None,
        }
    }
    let [red, green, blue] = values[..] else { return None };
    let channel = |value: f32| value.clamp(0.0, 255.0).round() as u8;
    Some((channel(red), channel(green), channel(blue)))
}

/// The contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio").
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let linear = |channel: u8| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    };
    let light = |(red, green, blue): Rgb| 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    let (one, other) = (light(one), light(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(markup: &str) -> Vec<&'static str> {
        lint(markup, "300x250".parse().ok()).into_iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn contrast_is_the_published_one() {
        assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 1e-9);
        // #777 on white is 4.48, the well-known near miss
        assert!((contrast((0x77, 0x77, 0x77), (255, 255, 255)) - 4.48).abs() < 0.01);
    }

    #[test]
    fn what_is_hard_to_read_is_told() {
        assert_eq!(codes("<body style=\"background:#fff;color:#777\"><p>Hello"), ["low_contrast"]);
        assert_eq!(codes("<body style=\"background:white\"><b style=\"color:rgb(0, 0, 0)\">Hello</b>"), [""; 0]);
        assert_eq!(codes("<body style=\"background:url(x);color:#777\"><p>Hello"), [""; 0]);
        assert_eq!(codes("<div style=\"color:#fff\"><i style=\"background:#eee\"></i>Hello</div>"), [""; 0]);
    }

    #[test]
    fn pictures_have_words_and_words_have_room() {
        assert_eq!(codes("<img src=a><img src=b alt=\"\">"), ["missing_alt"]);
        assert_eq!(codes(&format!("<p>{}</p>", "x".repeat(70))), ["text_overflow"]);
        assert_eq!(codes(&format!("<p>{}</p>", "word ".repeat(500))), ["text_overflow"]);
        assert_eq!(codes(&format!("<style>{}</style><p>Short", "word ".repeat(500))), [""; 0]);
    }
}
