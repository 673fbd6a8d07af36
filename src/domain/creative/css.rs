//! Where slots may stand in a `style` attribute: as a value of a declaration, or as the whole of
//! a `url()`.

use cssparser::{ParseError, Parser, ParserInput, Token};

use super::{context::Context, marks::Marks};

/// Units that may follow a number slot directly: `width:{{progress}}px`.
const UNITS: &[&str] =
    &["", "ch", "cm", "deg", "em", "fr", "mm", "ms", "pt", "px", "rem", "s", "turn", "vh", "vmax", "vmin", "vw"];

/// The contexts of the placeholders in a style attribute, whose marks stand in `css` as words.
/// Those that stand elsewhere than at a value are missing in the answer.
pub(super) fn contexts(css: &str, marks: &Marks) -> Vec<(usize, Context)> {
    // a backslash could make a mark out of other characters
    if css.contains('\\') {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut input = ParserInput::new(css);
    let mut parser = Parser::new(&mut input);
    while declaration(&mut parser, marks, &mut found).is_some() {}
    found
}

/// Reads `name: value;`. `None` at the end or where the style is no list of declarations.
fn declaration(parser: &mut Parser<'_, '_>, marks: &Marks, found: &mut Vec<(usize, Context)>) -> Option<()> {
    while parser.try_parse(|p| p.expect_semicolon().map_err(drop)).is_ok() {}
    let name = parser.expect_ident_cloned().ok()?;
    if marks.of_word(&name).is_some() {
        return None;
    }
    parser.expect_colon().ok()?;
    let value: Result<_, ParseError<'_, ()>> = parser.parse_until_after(cssparser::Delimiter::Semicolon, |value| {
        values(value, marks, 0, found);
        Ok(())
    });
    value.ok()
}

/// Byte offsets of the `@import` rules of a style sheet, however they are written. Those within
/// blocks mean nothing to a browser.
pub(super) fn imports(css: &str) -> Vec<usize> {
    let mut input = ParserInput::new(css);
    let mut parser = Parser::new(&mut input);
    let mut found = Vec::new();
    loop {
        parser.skip_whitespace();
        let at = parser.position().byte_index();
        match parser.next() {
            Ok(Token::AtKeyword(name)) if name.eq_ignore_ascii_case("import") => found.push(at),
            Ok(_) => {}
            Err(_) => return found,
        }
    }
}

/// Blocks deeper than `depth` 8 are passed over, and their slots refused.
fn values(parser: &mut Parser<'_, '_>, marks: &Marks, depth: u8, found: &mut Vec<(usize, Context)>) {
    while let Ok(token) = parser.next().cloned() {
        match token {
            Token::Ident(word) => {
                if let Some((index, unit)) = marks.of_word(&word).filter(|(_, unit)| UNITS.contains(unit)) {
                    found.push((index, if unit.is_empty() { Context::Css } else { Context::CssNumber }));
                }
            }
            Token::UnquotedUrl(url) => found.extend(whole(&url, marks)),
            Token::Function(name) if name.eq_ignore_ascii_case("url") => {
                let url: Result<_, ParseError<'_, ()>> = parser.parse_nested_block(|p| Ok(p.expect_string_cloned()?));
                found.extend(url.ok().and_then(|url| whole(&url, marks)));
            }
            Token::Function(_) | Token::ParenthesisBlock if depth < 8 => {
                let _: Result<(), ParseError<'_, ()>> = parser.parse_nested_block(|p| {
                    values(p, marks, depth + 1, found);
                    Ok(())
                });
            }
            _ => {}
        }
    }
}

/// A placeholder that is a whole address.
fn whole(url: &str, marks: &Marks) -> Option<(usize, Context)> {
    marks.of_word(url).filter(|(_, rest)| rest.is_empty()).map(|(index, _)| (index, Context::CssUrl))
}
