//! Finds, with a browser's own tokenizer rules, where each placeholder of a template stands; and
//! refuses markup in which that could change or something could execute.

use html5gum::{DefaultEmitter, Error, StartTag, Token, Tokenizer};

use super::{
    attribute,
    context::Context,
    css,
    marks::{Marks, Part},
    policy,
    syntax::{Faults, Kind, Placeholder},
};

/// What reading the markup has shown.
#[derive(Debug)]
pub(super) struct Reading {
    /// For each placeholder where it stands; `None` only with a fault.
    pub(super) contexts: Vec<Option<Context>>,
    /// Byte offset of the last `</body>` outside of blocks.
    pub(super) body_end: Option<usize>,
    /// Byte offsets of images without words for those who cannot see them.
    pub(super) wordless: Vec<usize>,
    /// Where links begin whose address is written out, at least up to the first slot in it.
    pub(super) links: Vec<(usize, String)>,
}

/// Reads markup whose placeholders are known. LF is its only line end.
pub(super) fn read(markup: &str, placeholders: &[Placeholder], faults: &mut Faults<'_>) -> Reading {
    let marks = Marks::new(markup, placeholders);
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    let mut walk = Walk {
        markup,
        placeholders,
        marks: &marks,
        faults,
        contexts: vec![None; placeholders.len()],
        told: vec![false; placeholders.len()],
        open: Vec::new(),
        blocks: Vec::new(),
        script: String::new(),
        body_end: None,
        wordless: Vec::new(),
        links: Vec::new(),
    };
    for token in Tokenizer::new_with_emitter(&marks.text, emitter) {
        let Ok(token) = token;
        walk.token(token);
    }
    walk.finish();
    Reading { contexts: walk.contexts, body_end: walk.body_end, wordless: walk.wordless, links: walk.links }
}

struct Walk<'a, 'f> {
    markup: &'a str,
    placeholders: &'a [Placeholder],
    marks: &'a Marks,
    faults: &'a mut Faults<'f>,
    contexts: Vec<Option<Context>>,
    /// Placeholders with a fault, so that the general one is not added.
    told: Vec<bool>,
    open: Vec<Element>,
    /// For each open `#if` and `#each` the number of elements that were open when it began.
    blocks: Vec<usize>,
    /// Text of the open JSON script.
    script: String,
    body_end: Option<usize>,
    wordless: Vec<usize>,
    links: Vec<(usize, String)>,
}

/// An element that is open.
struct Element {
    name: String,
    at: usize,
    svg: bool,
    json: bool,
}

impl Walk<'_, '_> {
    fn token(&mut self, token: Token<usize>) {
        match token {
            Token::StartTag(tag) => self.start_tag(&tag),
            Token::EndTag(tag) => self.end_tag(&String::from_utf8_lossy(&tag.name), self.marks.origin(tag.span.start)),
            Token::String(text) => self.text(&String::from_utf8_lossy(&text), text.span.start),
            Token::Comment(comment) => self.refuse_all(
                &String::from_utf8_lossy(&comment),
                "slot_in_comment",
                "a slot cannot stand in a comment",
            ),
            Token::Doctype(doctype) => self.refuse_all(
                &String::from_utf8_lossy(&doctype.name),
                "slot_misplaced",
                "a slot cannot stand in the doctype",
            ),
            Token::Error(error) => self.error(error.value, self.marks.origin(error.span.start)),
        }
    }

    fn error(&mut self, error: Error, at: usize) {
        match error {
            Error::DuplicateAttribute => {
                self.faults.push(at, "duplicate_attribute", "this attribute stands twice in its tag")
            }
            Error::EofInTag | Error::EofInComment | Error::EofBeforeTagName | Error::EofInDoctype => {
                self.faults.push(at, "unfinished_markup", "the markup ends inside a tag or comment");
            }
            Error::EofInScriptHtmlCommentLikeText | Error::CdataInHtmlContent | Error::UnexpectedNullCharacter => {
                self.faults.push(at, "unfinished_markup", "this cannot stand in a creative's markup");
            }
            _ => {}
        }
    }

    fn place(&mut self, index: usize, finding: Result<Context, (&'static str, String)>) {
        let Placeholder { start, kind, .. } = &self.placeholders[index];
        match finding {
            Ok(Context::Json) if !kind.is_block() => self.contexts[index] = Some(Context::Json),
            Ok(_) if after_ampersand(&self.markup[..*start]) => {
                let detail = "behind & this would be read as a character reference: write &amp; or put a space between";
                self.fault(index, "slot_after_ampersand", detail);
            }
            Ok(context) if kind.is_block() == (context == Context::Between) => self.contexts[index] = Some(context),
            Ok(_) => {
                self.fault(index, "block_not_between_tags", "#if and #each can stand only between complete tags");
            }
            Err((code, detail)) => self.fault(index, code, detail),
        }
    }

    fn fault(&mut self, index: usize, code: &'static str, detail: impl AsRef<str>) {
        self.told[index] = true;
        self.faults.push(self.placeholders[index].start, code, detail);
    }

    fn refuse_all(&mut self, text: &str, code: &'static str, detail: &str) {
        for part in self.marks.parts(text) {
            if let Part::Mark(index) | Part::Torn(index) = part {
                self.fault(index, code, detail);
            }
        }
    }

    fn start_tag(&mut self, tag: &StartTag<usize>) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        let at = self.marks.origin(tag.span.start);
        self.refuse_all(&name, "slot_in_tag_name", "a slot cannot be the name of a tag");
        let marked = self.marks.parts(&name).iter().any(|part| !matches!(part, Part::Literal(_)));
        let in_svg = self.open.last().is_some_and(|parent| parent.svg);
        let svg = in_svg || name == "svg";
        let mut json = false;
        for (key, value) in &tag.attributes {
            let (key, text) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            self.refuse_all(
                &key,
                "slot_in_attribute_name",
                "a slot cannot be the name of an attribute; quote its value if it is one",
            );
            let findings = attribute::findings(&name, svg, &key, &text, self.marks);
            if key == "href"
                && matches!(&*name, "a" | "area")
                && let Some(Part::Literal(head)) = self.marks.parts(&text).first()
            {
                self.links.push((self.marks.origin(value.span.start), (*head).to_owned()));
            }
            json |= key == "type" && matches!(&*text, "application/json" | "application/ld+json");
            if findings.is_empty()
                && let Some((code, detail)) = policy::attribute_fault(&name, &key, &text)
            {
                self.faults.push(self.marks.origin(value.span.start), code, detail);
            }
            for (index, finding) in findings {
                self.place(index, finding);
            }
        }
        if name == "img" && !tag.attributes.contains_key(&b"alt"[..]) {
            self.wordless.push(at);
        }
        if name == "link" && !marked {
            let text = |key: &[u8]| tag.attributes.get(key).map(|value| String::from_utf8_lossy(value).into_owned());
            let (rel, href) = (text(b"rel").unwrap_or_default(), text(b"href").unwrap_or_default());
            // an address with a slot in it is refused already
            let slotted = self.marks.parts(&href).iter().any(|part| !matches!(part, Part::Literal(_)));
            if let Some(detail) = policy::link_fault(&rel, &href).filter(|_| !slotted) {
                self.faults.push(at, "link_refused", detail);
            }
        }
        if name == "script" && (!json || tag.attributes.contains_key(&b"src"[..])) {
            self.faults.push(
                at,
                "script_refused",
                "only <script type=\"application/json\"> without src may stand in a creative",
            );
        } else if !marked && !policy::is_allowed(&name, in_svg) {
            let place = if in_svg { " within <svg>" } else { "" };
            self.faults.push(at, "element_refused", format!("<{name}> may not stand in a creative{place}"));
        }
        let complete = policy::is_void(&name) || (svg && tag.self_closing);
        if !complete {
            self.open.push(Element { name, at, svg, json });
        }
    }

    fn end_tag(&mut self, name: &str, at: usize) {
        self.refuse_all(name, "slot_in_tag_name", "a slot cannot be the name of a tag");
        let floor = self.blocks.last().copied().unwrap_or(0);
        let Some(depth) = self.open.iter().rposition(|element| element.name == name) else {
            self.faults.push(at, "mismatched_tag", format!("this </{name}> closes nothing"));
            return;
        };
        if depth < floor {
            self.faults.push(
                at,
                "block_changes_context",
                format!("this </{name}> closes an element that was opened outside of its #if or #each"),
            );
            return;
        }
        if let Some(between) = self.open[depth + 1..].iter().find(|element| !policy::is_open_ended(&element.name)) {
            self.faults.push(
                at,
                "mismatched_tag",
                format!("this </{name}> stands where <{}> is still open", between.name),
            );
        }
        if name == "script" && self.open[depth].json {
            let script = std::mem::take(&mut self.script);
            self.json(&script, self.open[depth].at);
        }
        if name == "body" && self.blocks.is_empty() {
            self.body_end = Some(at);
        }
        self.open.truncate(depth);
    }

    fn text(&mut self, text: &str, start: usize) {
        match self.open.last() {
            Some(element) if element.name == "script" && element.json => self.script.push_str(text),
            Some(element) if element.name == "script" => {
                self.refuse_all(text, "slot_in_script", "put values into a <script type=\"application/json\"> instead")
            }
            Some(element) if element.name == "style" => {
                for at in css::imports(text) {
                    let detail = "take @import out: a creative loads no style sheets of others";
                    self.faults.push(self.marks.origin(start + at), "import_refused", detail);
                }
                self.refuse_all(
                    text,
                    "slot_in_style_element",
                    "use a style attribute instead, such as style=\"--accent:{{accent}}\" and var(--accent) here",
                );
            }
            Some(element) if element.name == "title" => {
                for part in self.marks.parts(text) {
                    if let Part::Mark(index) = part {
                        let before = &self.markup[..self.placeholders[index].start];
                        // `</title` completed by a value would end the title
                        let complete = before.rfind('<').is_none_or(|tag| before[tag..].contains('>'));
                        self.place(
                            index,
                            if complete {
                                Ok(Context::Text)
                            } else {
                                Err(("slot_misplaced", "write &lt; for < here".into()))
                            },
                        );
                    }
                }
            }
            _ => {
                for part in self.marks.parts(text) {
                    if let Part::Mark(index) = part {
                        self.between_tags(index);
                    }
                }
            }
        }
    }

    fn between_tags(&mut self, index: usize) {
        let kind = &self.placeholders[index].kind;
        self.place(index, Ok(if kind.is_block() { Context::Between } else { Context::Text }));
        match kind {
            Kind::Value(_) => return,
            Kind::If(_) | Kind::Each(_) => return self.blocks.push(self.open.len()),
            Kind::Else | Kind::EndIf | Kind::EndEach => {}
        }
        let Some(&depth) = self.blocks.last() else { return };
        if let Some(left) = self.open.get(depth) {
            let detail = format!("<{}> must be closed within the #if or #each in which it was opened", left.name);
            self.faults.push(left.at, "block_changes_context", detail);
            self.open.truncate(depth);
        }
        if *kind != Kind::Else {
            self.blocks.pop();
        }
    }

    /// A JSON script: each placeholder must be a whole value, not within a string and no key.
    fn json(&mut self, text: &str, at: usize) {
        let parts = self.marks.parts(text);
        let json: String = parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => (*text).to_owned(),
                Part::Mark(index) | Part::Torn(index) => format!("\"{}\"", self.marks.word(*index)),
            })
            .collect();
        let parsed = serde_json::from_str::<serde_json::Value>(&json);
        if let Err(error) = &parsed
            && parts.iter().all(|part| matches!(part, Part::Literal(_)))
        {
            self.faults.push(at, "json_invalid", format!("this script is not JSON: {error}"));
        }
        let mut whole = Vec::new();
        values(&parsed.unwrap_or_default(), self.marks, &mut whole);
        for part in &parts {
            if let Part::Mark(index) | Part::Torn(index) = part {
                let finding = if whole.contains(index) {
                    Ok(Context::Json)
                } else {
                    Err((
                        "slot_in_json",
                        "in JSON a slot is a whole value and brings its own quotes: {\"title\": {{headline}}}"
                            .to_owned(),
                    ))
                };
                self.place(*index, finding);
            }
        }
    }

    fn finish(&mut self) {
        for element in &self.open {
            if !policy::is_open_ended(&element.name) {
                self.faults.push(element.at, "unclosed_element", format!("this <{}> is never closed", element.name));
            }
        }
        for (index, context) in self.contexts.iter().enumerate() {
            if context.is_none() && !self.told[index] {
                self.faults.push(
                    self.placeholders[index].start,
                    "slot_misplaced",
                    "a slot cannot stand here: place it between tags or in a quoted attribute",
                );
            }
        }
    }
}

/// Whether `before` ends like the beginning of a character reference.
fn after_ampersand(before: &str) -> bool {
    // the longest named reference has 33 characters
    let before = before.bytes().rev().take(40).find(|b| !b.is_ascii_alphanumeric() && *b != b'#');
    before == Some(b'&')
}

/// Collects the placeholders that are whole values of a JSON document.
fn values(json: &serde_json::Value, marks: &Marks, found: &mut Vec<usize>) {
    match json {
        serde_json::Value::Array(items) => items.iter().for_each(|item| values(item, marks, found)),
        serde_json::Value::Object(fields) => fields.values().for_each(|field| values(field, marks, found)),
        serde_json::Value::String(text) => {
            found.extend(marks.of_word(text).filter(|(_, rest)| rest.is_empty()).map(|(index, _)| index));
        }
        _ => {}
    }
}
