//! Which texts are CSS colours.

use cssparser::{
    Parser, ParserInput, Token,
    color::{parse_hash_color, parse_named_color},
};

/// Whether `text` is a colour by itself: `#rgb`, `#rgba`, `#rrggbb`, `#rrggbbaa`, a named colour,
/// `transparent`, or `rgb()`, `rgba()`, `hsl()`, `hsla()` of plain numbers.
pub(super) fn is_color(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"#(),.%/ +-".contains(&b);
    // CSS closes what is open at the end of a style; here more may follow
    let closed = text.contains('(') == text.ends_with(')') && text.matches('(').count() == text.matches(')').count();
    if !closed || text.len() > 64 || text.trim() != text || !text.bytes().all(plain) {
        return false;
    }
    let mut input = ParserInput::new(text);
    let mut parser = Parser::new(&mut input);
    parser.parse_entirely(color).is_ok()
}

fn color<'i>(parser: &mut Parser<'i, '_>) -> Result<(), cssparser::ParseError<'i, ()>> {
    let fits = match parser.next()?.clone() {
        Token::Hash(digits) | Token::IDHash(digits) => parse_hash_color(digits.as_bytes()).is_ok(),
        Token::Ident(name) => name.eq_ignore_ascii_case("transparent") || parse_named_color(&name).is_ok(),
        Token::Function(name) if ["rgb", "rgba", "hsl", "hsla"].iter().any(|f| name.eq_ignore_ascii_case(f)) => {
            parser.parse_nested_block(channels)?
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(parser.new_custom_error(())) }
}

/// Three or four numbers, separated by spaces, commas or (before the last) a slash.
fn channels<'i>(parser: &mut Parser<'i, '_>) -> Result<bool, cssparser::ParseError<'i, ()>> {
    let (mut count, mut separated) = (0, true);
    while let Ok(token) = parser.next() {
        match token {
            Token::Number { .. } | Token::Percentage { .. } => (count, separated) = (count + 1, false),
            Token::Dimension { unit, .. } if count == 0 && ["deg", "rad", "grad", "turn"].contains(&&**unit) => {
                (count, separated) = (1, false);
            }
            Token::Comma if !separated => separated = true,
            Token::Delim('/') if !separated && count == 3 => separated = true,
            _ => return Ok(false),
        }
    }
    Ok((count == 3 || count == 4) && !separated)
}

#[cfg(test)]
mod tests {
    use super::is_color;

    #[test]
    fn colors_and_nothing_else() {
        for good in [
            "#fff",
            "#FFFA",
            "#e63946",
            "#e6394680",
            "teal",
            "RebeccaPurple",
            "transparent",
            "rgb(1,2,3)",
            "rgb(230 57 70 / 50%)",
            "rgba(1, 2, 3, 0.5)",
            "hsl(355, 78%, 56%)",
            "hsl(1deg 2% 3%)",
        ] {
            assert!(is_color(good), "{good}");
        }
        for bad in [
            "",
            "#ff",
            "#ggg",
            "red;",
            "red blue",
            "url(x)",
            "expression(1)",
            "var(--x)",
            "rgb(1,2)",
            "rgb(1,2,3,4,5)",
            "rgb(1,,2,3)",
            "rgb(1,2,3",
            "rgb(url(x),2,3)",
            "rgb(1,2,3)}",
            "red/**/",
            "\\72 ed",
            "currentcolor",
            " red",
            "rgb(1 2 3,)",
            "#fff\u{202e}",
            "javascript:x",
        ] {
            assert!(!is_color(bad), "{bad}");
        }
    }
}
