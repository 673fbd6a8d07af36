//! Colours as style sheets write them, and how well one is told from another.

use cssparser::{
    Parser, ParserInput, Token,
    color::{parse_hash_color, parse_named_color},
};

/// Red, green and blue.
pub(super) type Rgb = (u8, u8, u8);

/// An opaque colour; none for anything else.
pub(super) fn rgb(text: &str) -> Option<Rgb> {
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
pub(super) fn contrast(one: Rgb, other: Rgb) -> f64 {
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

    #[test]
    fn contrast_is_the_published_one() {
        assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 1e-9);
        // #777 on white is 4.48, the well-known near miss
        assert!((contrast((0x77, 0x77, 0x77), (255, 255, 255)) - 4.48).abs() < 0.01);
    }
}
