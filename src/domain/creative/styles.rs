//! What style sheets say of an element, as far as simple selectors say it: a tag, classes and an id.

use cssparser::{ParseError, Parser, ParserInput, Token};

/// The rules of the style sheets of a document.
#[derive(Debug, Default)]
pub(super) struct Styles(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    tag: Option<String>,
    id: Option<String>,
    classes: Vec<String>,
    /// Whether the selector is all there is to it: no combinator, attribute or condition around it.
    plain: bool,
    declarations: Vec<(String, String)>,
}

/// A declaration that applies to an element, or may.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) value: String,
    /// Whether it certainly applies.
    pub(super) sure: bool,
}

/// What selectors ask of an element.
#[derive(Debug)]
pub(super) struct Selected<'a> {
    pub(super) tag: &'a str,
    pub(super) id: &'a str,
    pub(super) classes: &'a str,
    /// Its `style` attribute.
    pub(super) own: &'a str,
}

impl Styles {
    /// Reads a style sheet.
    pub(super) fn add(&mut self, css: &str) {
        let mut input = ParserInput::new(css);
        self.rules(&mut Parser::new(&mut input), true, 0);
    }

    fn rules(&mut self, parser: &mut Parser<'_, '_>, plain: bool, depth: u8) {
        let mut start = parser.position();
        let mut at_rule: Option<String> = None;
        loop {
            let before = parser.position();
            let Ok(token) = parser.next().cloned() else { return };
            match token {
                Token::AtKeyword(name) => at_rule = Some(name.to_ascii_lowercase()),
                Token::Semicolon => (at_rule, start) = (None, parser.position()),
                Token::CurlyBracketBlock => {
                    let prelude = parser.slice(start..before).to_owned();
                    let within = at_rule.take();
                    let _: Result<(), ParseError<'_, ()>> = parser.parse_nested_block(|block| {
                        match within.as_deref() {
                            None => {
                                let from = block.position();
                                while block.next().is_ok() {}
                                self.rule(&prelude, block.slice_from(from), plain);
                            }
                            Some("media" | "supports" | "layer" | "container") if depth < 4 => {
                                self.rules(block, false, depth + 1);
                            }
                            Some(_) => {}
                        }
                        Ok(())
                    });
                    start = parser.position();
                }
                _ => {}
            }
        }
    }

    fn rule(&mut self, prelude: &str, body: &str, plain: bool) {
        for selector in prelude.split(',') {
            if let Some(mut rule) = Rule::of(selector.trim()) {
                rule.plain &= plain;
                rule.declarations = declarations(body).collect();
                self.0.push(rule);
            }
        }
    }

    /// What is declared for an element, the strongest last; its own `style` attribute is stronger
    /// than all but what is important.
    pub(super) fn of(&self, element: &Selected<'_>) -> Vec<Declared> {
        let matching = self.0.iter().filter(|rule| rule.matches(element)).flat_map(|rule| {
            let strength = (usize::from(rule.id.is_some()), rule.classes.len(), usize::from(rule.tag.is_some()));
            rule.declarations.iter().map(move |(name, value)| (strength, name.clone(), value.clone(), rule.plain))
        });
        let own = declarations(element.own).map(|(name, value)| ((usize::MAX, 0, 0), name, value, true));
        let all = matching.chain(own).map(|(strength, name, value, sure)| {
            let (value, important) = match value.to_ascii_lowercase().strip_suffix("!important") {
                Some(rest) => (value[..rest.len()].trim_end().to_owned(), true),
                None => (value, false),
            };
            ((important, strength), Declared { name, value, sure })
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(strength, _)| *strength);
        all.into_iter().map(|(_, declared)| declared).collect()
    }
}

impl Rule {
    /// The rule of a selector; none where it speaks of a state or of something that is no element.
    fn of(selector: &str) -> Option<Self> {
        const STATES: [&str; 10] =
            [":hover", ":focus", ":active", ":visited", ":target", ":before", ":after", "::", ":disabled", ":checked"];
        if selector.is_empty() || STATES.iter().any(|state| selector.contains(state)) {
            return None;
        }
        // of several joined elements the last one is meant
        let last = selector.rsplit(|c: char| c.is_whitespace() || "+>~".contains(c)).next().unwrap_or_default();
        let mut plain = last.len() == selector.len();
        let last = if last == ":root" { "html" } else { last };
        let end = last.find([':', '[', '(', ')', ']']).unwrap_or(last.len());
        plain &= end == last.len();
        let (mut rule, mut rest) =
            (Self { tag: None, id: None, classes: Vec::new(), plain, declarations: Vec::new() }, &last[..end]);
        while !rest.is_empty() {
            let length = rest[1..].find(['.', '#']).map_or(rest.len(), |at| at + 1);
            let (part, more) = rest.split_at_checked(length)?;
            match part.split_at_checked(1)? {
                (".", class) => rule.classes.push(class.to_owned()),
                ("#", id) => rule.id = Some(id.to_owned()),
                _ if part == "*" => {}
                _ => rule.tag = Some(part.to_ascii_lowercase()),
            }
            rest = more;
        }
        Some(rule)
    }

    fn matches(&self, element: &Selected<'_>) -> bool {
        self.tag.as_ref().is_none_or(|tag| tag == element.tag)
            && self.id.as_ref().is_none_or(|id| id == element.id)
            && self.classes.iter().all(|class| element.classes.split_ascii_whitespace().any(|own| own == class))
    }
}

/// The declarations of a block or an attribute, names in small letters.
fn declarations(style: &str) -> impl Iterator<Item = (String, String)> {
    style.split(';').filter_map(|declaration| {
        let (name, value) = declaration.split_once(':')?;
        let name = name.trim();
        let name = if name.starts_with("--") { name.to_owned() } else { name.to_ascii_lowercase() };
        Some((name, value.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_rule_comes_last() {
        let mut styles = Styles::default();
        styles.add(
            "@import 'x'; @font-face{color:red} p{color:#111} .a.b{color:#333} #x{color:#444} p , b{color:#222}\
             .a:hover{color:#999} i::before{color:#999} div .a{color:#555} @media (min-width:1px){p{color:#666}}\
             * {margin:0} .c{color:#777 !important}",
        );
        let of = |tag: &str, id: &str, classes: &str, own: &str| -> Vec<(String, bool)> {
            let all = styles.of(&Selected { tag, id, classes, own }).into_iter();
            all.filter(|one| one.name == "color").map(|one| (one.value, one.sure)).collect()
        };
        let told =
            |all: &[(&str, bool)]| all.iter().map(|(value, sure)| ((*value).to_owned(), *sure)).collect::<Vec<_>>();
        assert_eq!(of("p", "", "", ""), told(&[("#111", true), ("#222", true), ("#666", false)]));
        assert_eq!(of("b", "x", "b a", ""), told(&[("#222", true), ("#555", false), ("#333", true), ("#444", true)]));
        assert_eq!(of("i", "", "c", "color: teal"), told(&[("teal", true), ("#777", true)]));
    }
}
