//! What a slot is in an attribute: words, an address or a part of one, a list of addresses, CSS.

use super::{
    context::Context,
    css,
    marks::{Marks, Part},
    policy,
};

/// A placeholder's context, or the code and words of why it may not stand there.
pub(super) type Finding = (usize, Result<Context, (&'static str, String)>);

/// The findings for each placeholder in the value of an attribute.
pub(super) fn findings(element: &str, svg: bool, name: &str, value: &str, marks: &Marks) -> Vec<Finding> {
    let parts = marks.parts(value);
    let indexes: Vec<usize> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Mark(index) => Some(*index),
            _ => None,
        })
        .collect();
    let torn = parts.iter().filter_map(|part| match part {
        Part::Torn(index) => Some((*index, refuse("slot_unquoted", format!("put the value of {name} in quotes")))),
        _ => None,
    });
    let all = |result: Result<Context, (&'static str, String)>| {
        indexes.iter().map(|&index| (index, result.clone())).collect::<Vec<_>>()
    };
    let mut found = if name.starts_with("on") {
        all(refuse("slot_in_event_handler", format!("take {name} out: nothing may execute in a creative")))
    } else if name == "srcdoc" {
        all(refuse("slot_in_srcdoc", "a slot cannot stand in srcdoc"))
    } else if name == "style" {
        style(&parts, &indexes, marks)
    } else if name == "srcset" && matches!(element, "img" | "source") {
        srcset(&parts, &indexes)
    } else if policy::is_address(name) || name.contains("srcset") {
        match (element, name) {
            ("a" | "area", "href") if !svg => all(address(&parts, Context::Link)),
            ("img", "src") | ("video", "poster") => all(address(&parts, Context::Image)),
            ("audio" | "source" | "video", "src") => all(address(&parts, Context::Media)),
            _ => {
                all(refuse("slot_in_url", format!("a slot cannot be the {name} of <{element}>: write a fixed address")))
            }
        }
    } else if svg && matches!(name, "fill" | "stroke" | "stop-color" | "flood-color") {
        let whole = matches!(parts[..], [Part::Mark(_)]);
        all(if whole {
            Ok(Context::Color)
        } else {
            refuse("slot_in_css", format!("{name} must be one color slot and nothing else"))
        })
    } else if policy::is_plain(name) && !matches!(element, "meta" | "script" | "link") {
        all(Ok(Context::Attribute))
    } else {
        all(refuse("slot_in_attribute", format!("a slot cannot stand in {name} of <{element}>")))
    };
    found.extend(torn);
    found
}

fn refuse<T>(code: &'static str, detail: impl Into<String>) -> Result<T, (&'static str, String)> {
    Err((code, detail.into()))
}

/// A whole address, or one value in the path, query or fragment of a fixed one.
fn address(parts: &[Part<'_>], whole: Context) -> Result<Context, (&'static str, String)> {
    match parts {
        [Part::Mark(_)] => Ok(whole),
        [Part::Mark(_), ..] => refuse("slot_in_url", "a slot that begins an address must be all of it"),
        [Part::Literal(head), Part::Mark(_), rest @ ..] => {
            let fixed = fixed_host(head);
            if rest.iter().any(|part| !matches!(part, Part::Literal(_))) {
                refuse("two_slots_in_url", "one address holds one slot: put the whole address into a url slot")
            } else if !fixed {
                refuse("slot_in_url_host", "a slot can stand only behind the host: https://shop.example/...{{slot}}")
            } else if head.contains(['?', '#']) {
                Ok(Context::UrlQuery)
            } else {
                Ok(Context::UrlPath)
            }
        }
        _ => refuse("slot_in_url", "a slot cannot stand here"),
    }
}

/// Whether an address's scheme and host are complete, so that nothing behind can change them.
fn fixed_host(head: &str) -> bool {
    let lower = head.to_ascii_lowercase();
    let web = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let plain = !head.bytes().any(|b| b <= b' ' || b == b'\\');
    plain
        && match web {
            Some(rest) => rest.find(['/', '?', '#']).is_some_and(|end| end > 0),
            // a path of our own site; `//` would begin a host
            None => head.starts_with('/') && head.len() > 1 && !head.starts_with("//"),
        }
}

/// A list of `address descriptor`, each address fixed or a slot.
fn srcset(parts: &[Part<'_>], indexes: &[usize]) -> Vec<Finding> {
    const ERROR: (&str, &str) =
        ("slot_in_srcset", "write srcset as a list such as \"{{small.src}} 1x, {{large.src}} 2x\"");
    let mut fits = true;
    let mut fresh = true; // whether a new candidate begins here
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Mark(_) => {
                fits &= fresh;
                fresh = false;
            }
            Part::Literal(text) => {
                let candidates: Vec<&str> = text.split(',').collect();
                for (nth, candidate) in candidates.iter().enumerate() {
                    let behind_slot = nth == 0 && at > 0;
                    let last = nth + 1 == candidates.len() && at + 1 < parts.len();
                    let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
                    let (url, descriptors) =
                        if behind_slot { (None, &words[..]) } else { (words.first(), words.get(1..).unwrap_or(&[])) };
                    let spaced = !behind_slot
                        || candidate.is_empty()
                        || candidate.starts_with(|c: char| c.is_ascii_whitespace());
                    fits &= spaced
                        && descriptors.len() <= 1
                        && descriptors.iter().all(|word| is_descriptor(word))
                        && url.is_none_or(|url| {
                            policy::attribute_fault("img", "src", url).is_none() && !url.starts_with("data:")
                        });
                    // the slot behind must be the address of its own candidate
                    fits &= !last || (words.is_empty() && (nth > 0 || at == 0));
                }
                fresh = true;
            }
            Part::Torn(_) => fits = false,
        }
    }
    indexes.iter().map(|&index| (index, if fits { Ok(Context::Srcset) } else { refuse(ERROR.0, ERROR.1) })).collect()
}

/// `2x`, `1.5x` or `640w`.
fn is_descriptor(word: &str) -> bool {
    word.strip_suffix(['x', 'w'])
        .is_some_and(|number| number.parse::<f32>().is_ok_and(|number| number > 0.0 && number < 1e5))
}

fn style(parts: &[Part<'_>], indexes: &[usize], marks: &Marks) -> Vec<Finding> {
    let css: String = parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => (*text).to_owned(),
            Part::Mark(index) | Part::Torn(index) => marks.word(*index),
        })
        .collect();
    let found = css::contexts(&css, marks);
    indexes
        .iter()
        .map(|&index| {
            let at: Vec<_> = found.iter().filter(|(found, _)| *found == index).collect();
            (
                index,
                match at[..] {
                    [(_, context)] => Ok(*context),
                    _ => refuse(
                        "slot_in_css",
                        "in a style attribute a slot can be a value (color:{{accent}}) or a whole url({{hero.src}})",
                    ),
                },
            )
        })
        .collect()
}
