//! What a person would notice in an assembled creative: pictures without words for them or out of
//! shape, text that is hard to read or cannot fit. An estimate from the markup alone, without a
//! browser: it tells what is certainly wrong, and of contrast also where it cannot tell.

use html5gum::{StartTag, Token as Html, Tokenizer};
use quick_xml::{Reader, events::Event};
use serde_json::Value;

use super::{
    contrast::{Rgb, contrast, rgb},
    documents::NativeKind,
    styles::{Selected, Styles},
    template::{Program, Template},
};
use crate::domain::{
    values::Size,
    violation::{Violation, Violations},
};

/// The least contrast of text with what is behind it (WCAG 2.2, success criterion 1.4.3).
const CONTRAST: f64 = 4.5;
/// The smallest letters anybody reads, and how wide they are on average, in CSS pixels.
const LETTER: (f64, f64) = (9.0, 4.5);
/// How far the ratio of an image's sides may be off that of its box: 5%, which nobody sees.
const RATIO: f64 = 1.05;

/// What to look at in an assembled creative of this size: `markup` as it is sent, `shown` as what
/// stands in each place of the template.
#[must_use]
pub fn lint(template: &Template, markup: &str, size: Option<Size>, shown: &[Value]) -> Vec<Violation> {
    let mut images = Vec::new();
    shown.iter().for_each(|value| images_of(value, &mut images));
    match &template.program {
        Program::Html(_) => html(markup, size, &images),
        Program::Native(native) => {
            let mut found = Violations::new();
            for asset in &native.assets {
                if let Some(value) = shown.get(asset.slot) {
                    native_asset(asset.kind, value, &mut found);
                }
            }
            found.into_vec()
        }
        Program::Vast(_) => companions(markup, &images),
    }
}

/// The same of a document of HTML.
fn html(markup: &str, size: Option<Size>, images: &[Picture]) -> Vec<Violation> {
    let mut styles = Styles::default();
    let mut sheet = None;
    for Ok(token) in Tokenizer::new(markup) {
        match token {
            Html::StartTag(tag) if &**tag.name == b"style" => sheet = Some(String::new()),
            Html::EndTag(tag) if &**tag.name == b"style" => {
                styles.add(&sheet.take().unwrap_or_default());
            }
            Html::String(text) => {
                if let Some(sheet) = &mut sheet {
                    sheet.push_str(&String::from_utf8_lossy(&text));
                }
            }
            _ => {}
        }
    }
    let mut reading =
        Reading { found: Violations::new(), styles, images, open: Vec::new(), letters: 0, longest: 0, unsure: false };
    for Ok(token) in Tokenizer::new(markup) {
        match token {
            Html::StartTag(tag) => reading.start(&tag),
            Html::EndTag(tag) => reading.end(&tag.name),
            Html::String(text) => reading.text(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    reading.fits(size);
    reading.found.into_vec()
}

/// The HTML beside or behind a video, each in its own size.
fn companions(document: &str, images: &[Picture]) -> Vec<Violation> {
    let mut reader = Reader::from_str(document);
    let (mut found, mut size, mut markup) = (Vec::new(), None, None::<String>);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element)) if element.local_name().as_ref() == "Companion" => {
                let side = |name: &str| {
                    let value = element.try_get_attribute(name).ok()??;
                    value.value.parse::<u16>().ok()
                };
                size = side("width").zip(side("height")).and_then(|(w, h)| format!("{w}x{h}").parse::<Size>().ok());
            }
            Ok(Event::Start(element)) if element.local_name().as_ref() == "HTMLResource" => {
                markup = Some(String::new());
            }
            Ok(Event::CData(text)) => {
                if let Some(markup) = &mut markup {
                    markup.push_str(&text);
                }
            }
            Ok(Event::End(element)) if element.local_name().as_ref() == "HTMLResource" => {
                let of = size.map_or(String::new(), |size| format!("in the companion of {size}: "));
                let own = html(&markup.take().unwrap_or_default(), size, images).into_iter();
                found.extend(own.map(|fault| Violation { detail: format!("{of}{}", fault.detail), ..fault }));
            }
            Ok(Event::Eof) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

/// What publishers ask of an asset (Native 1.2, sections 4.2 to 4.6 and 7.4): texts that are longer
/// are cut by some, images of other ratios cropped.
fn native_asset(kind: NativeKind, value: &Value, found: &mut Violations) {
    let most = match kind {
        NativeKind::Title | NativeKind::Desc | NativeKind::Desc2 => Some(140),
        NativeKind::Sponsored => Some(25),
        NativeKind::Cta => Some(15),
        _ => None,
    };
    let letters = value.as_str().map_or(0, |text| text.chars().count());
    if let Some(most) = most.filter(|most| letters > *most) {
        let detail = format!("a {kind:?} of {letters} characters: publishers need to show only {most}");
        found.push("/markup", "text_overflow", detail);
    }
    let ratios: &[f64] = match kind {
        NativeKind::Icon => &[1.0],
        NativeKind::MainImage => &[1.0, 4.0 / 3.0, 1.91],
        _ => return,
    };
    let mut images = Vec::new();
    images_of(value, &mut images);
    for image in images.iter().filter(|image| !ratios.iter().any(|ratio| alike(image.ratio(), *ratio))) {
        let detail =
            format!("the image {} is {} by {}, which publishers crop", clip(&image.src, 80), image.width, image.height);
        found.push("/markup", "image_ratio", detail);
    }
}

/// An image whose sides are known.
struct Picture {
    src: String,
    width: f64,
    height: f64,
}

impl Picture {
    fn ratio(&self) -> f64 {
        self.width / self.height
    }
}

/// Every image of a value whose sides are known.
fn images_of(value: &Value, found: &mut Vec<Picture>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| images_of(item, found)),
        Value::Object(fields) => {
            let side = |name: &str| fields.get(name)?.as_f64().filter(|side| *side > 0.0);
            if let (Some(Value::String(src)), Some((width, height))) =
                (fields.get("src"), side("width").zip(side("height")))
            {
                found.push(Picture { src: src.clone(), width, height });
            }
            fields.values().for_each(|field| images_of(field, found));
        }
        _ => {}
    }
}

fn alike(one: f64, other: f64) -> bool {
    one.max(other) / one.min(other) <= RATIO
}

fn clip(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// A colour, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shade {
    Told(Rgb),
    /// A picture, a gradient, a rule that may apply or not, or what is behind the ad.
    Unknown,
}

#[derive(Clone)]
struct Element {
    name: Vec<u8>,
    ink: Shade,
    ground: Shade,
    /// Custom properties, which are inherited.
    custom: Vec<(String, String)>,
}

struct Reading<'a> {
    found: Violations,
    styles: Styles,
    images: &'a [Picture],
    open: Vec<Element>,
    letters: usize,
    longest: usize,
    /// Whether it was told that some contrast is not known.
    unsure: bool,
}

impl Reading<'_> {
    fn start(&mut self, tag: &StartTag<()>) {
        let attribute = |name: &[u8]| tag.attributes.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let [name, id, classes, own] = [
            Some(String::from_utf8_lossy(&tag.name).into_owned()),
            attribute(b"id"),
            attribute(b"class"),
            attribute(b"style"),
        ]
        .map(Option::unwrap_or_default);
        let declared = self.styles.of(&Selected { tag: &name, id: &id, classes: &classes, own: &own });
        if name == "img" {
            let src = attribute(b"src").unwrap_or_default();
            if attribute(b"alt").is_none() {
                self.found.push("/markup", "missing_alt", format!("the image {} has no alt text", clip(&src, 80)));
            }
            let said = |side: &str| {
                let styled = declared.iter().rev().find(|one| one.name == side);
                match styled {
                    Some(one) if one.sure => one.value.strip_suffix("px")?.trim().parse::<f64>().ok(),
                    Some(_) => None,
                    None => attribute(side.as_bytes())?.trim().parse::<f64>().ok(),
                }
            };
            let fitted = declared.iter().any(|one| one.name == "object-fit" && one.value != "fill");
            let picture = self.images.iter().find(|image| image.src == src).filter(|_| !fitted);
            if let (Some(image), Some((width, height))) = (picture, said("width").zip(said("height")))
                && width > 0.0
                && height > 0.0
                && !alike(image.ratio(), width / height)
            {
                let detail = format!(
                    "the image {} is {} by {} and stands in a box of {width} by {height}: it is pulled out of shape",
                    clip(&src, 80),
                    image.width,
                    image.height
                );
                self.found.push("/markup", "image_ratio", detail);
            }
        }
        if matches!(&*name, "img" | "br" | "hr" | "meta" | "link" | "source" | "wbr" | "input") || tag.self_closing {
            return;
        }
        // without a background of its own an ad shows what is behind it; letters are black
        let outermost =
            || Element { name: Vec::new(), ink: Shade::Told((0, 0, 0)), ground: Shade::Unknown, custom: Vec::new() };
        let mut element = self.open.last().cloned().unwrap_or_else(outermost);
        element.name = name.clone().into_bytes();
        // browsers have colours of their own for these
        if name == "a" {
            element.ink = Shade::Unknown;
        } else if matches!(&*name, "button" | "select" | "textarea" | "mark") {
            (element.ink, element.ground) = (Shade::Unknown, Shade::Unknown);
        }
        let parent = self.open.last().map_or_else(outermost, Clone::clone);
        for one in declared.iter().filter(|one| one.name.starts_with("--")) {
            let value = if one.sure { one.value.clone() } else { String::new() };
            element.custom.retain(|(name, _)| *name != one.name);
            element.custom.push((one.name.clone(), value));
        }
        // what is taken out of the flow may lie on anything
        if declared.iter().any(|one| one.name == "position" && matches!(&*one.value, "absolute" | "fixed" | "sticky")) {
            element.ground = Shade::Unknown;
        }
        for one in &declared {
            let told = |inherited: Shade, through: &str| match one.value.trim().to_ascii_lowercase().as_str() {
                _ if !one.sure => Shade::Unknown,
                "inherit" | "unset" => inherited,
                value if value == through => inherited,
                _ => rgb(&element.resolved(&one.value)).map_or(Shade::Unknown, Shade::Told),
            };
            match one.name.as_str() {
                "color" => element.ink = told(parent.ink, "currentcolor"),
                "background" | "background-color" => element.ground = told(element.ground, "transparent"),
                // a picture says nothing of the colour behind the text
                "background-image" if one.value != "none" => element.ground = Shade::Unknown,
                "opacity" | "filter" | "mix-blend-mode" => element.ink = Shade::Unknown,
                _ => {}
            }
        }
        self.open.push(element);
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
        let start = clip(text.trim(), 40);
        match self.open.last() {
            Some(Element { ink: Shade::Told(ink), ground: Shade::Told(ground), .. }) => {
                let contrast = contrast(*ink, *ground);
                if contrast < CONTRAST {
                    let detail = format!(
                        "\"{start}\" has a contrast of {contrast:.1} with its background; {CONTRAST} is the least that is easy to read"
                    );
                    self.found.push("/markup", "low_contrast", detail);
                }
            }
            _ if self.unsure => {}
            _ => {
                self.unsure = true;
                let detail = format!(
                    "the contrast of \"{start}\", and maybe of more, cannot be told from the markup: look at it"
                );
                self.found.push("/markup", "contrast_unknown", detail);
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

impl Element {
    /// A value with the custom property that it is in its place.
    fn resolved(&self, value: &str) -> String {
        let named = value.trim().strip_prefix("var(").and_then(|rest| rest.strip_suffix(')'));
        let Some((name, fallback)) = named.map(|named| named.split_once(',').unwrap_or((named, ""))) else {
            return value.to_owned();
        };
        let known = self.custom.iter().find(|(known, _)| *known == name.trim()).map(|(_, value)| value.as_str());
        known.unwrap_or(fallback).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(markup: &str) -> Vec<&'static str> {
        html(markup, "300x250".parse().ok(), &[]).into_iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn what_is_hard_to_read_is_told() {
        assert_eq!(codes("<body style=\"background:#fff;color:#777\"><p>Hello"), ["low_contrast"]);
        assert_eq!(codes("<body style=\"background:white\"><b style=\"color:rgb(0, 0, 0)\">Hello</b>"), [""; 0]);
        assert_eq!(codes("<body style=\"background:white\"><p>Hello"), [""; 0]);
    }

    #[test]
    fn style_sheets_are_read_too() {
        let sheet = |css: &str, body: &str| codes(&format!("<style>{css}</style><body class=\"dark\">{body}"));
        assert_eq!(sheet(".dark{background:#222;color:#333}", "<p>Hello"), ["low_contrast"]);
        assert_eq!(sheet("body{background:#222} p{color:#333} #x{color:#fff}", "<p id=x>Hello"), [""; 0]);
        assert_eq!(sheet("body{background:#222;--c:#333} p{color:var(--c)}", "<p>Hello"), ["low_contrast"]);
        assert_eq!(sheet("body{background:#fff} a{color:#000}", "<a href=x>Hello</a>"), [""; 0]);
        assert_eq!(sheet("body{background:#fff;color:#777}", "<p style=\"color:#000 \">Hello"), [""; 0]);
    }

    #[test]
    fn what_cannot_be_told_is_said_once() {
        for markup in [
            "<body style=\"background:url(x);color:#777\"><p>Hello<p>you",
            "<div style=\"color:#fff\"><i style=\"background:#eee\"></i>Hello</div><p>you",
            "<body style=\"background:#fff\"><a href=x>Hello</a> <a href=x>you</a>",
            "<body style=\"background:#fff\"><p style=\"position:absolute;color:#eee\">Hello",
            "<style>@media print{p{color:#eee}}</style><body style=\"background:#fff\"><p>Hello",
        ] {
            assert_eq!(codes(markup), ["contrast_unknown"], "{markup}");
        }
    }

    #[test]
    fn pictures_have_words_and_words_have_room() {
        let page = "<body style=\"background:#fff\">";
        assert_eq!(codes("<img src=a><img src=b alt=\"\">"), ["missing_alt"]);
        assert_eq!(codes(&format!("{page}<p>{}</p>", "x".repeat(70))), ["text_overflow"]);
        assert_eq!(codes(&format!("{page}<p>{}</p>", "word ".repeat(500))), ["text_overflow"]);
        assert_eq!(codes(&format!("<style>{}</style>{page}<p>Short", "word ".repeat(500))), [""; 0]);
    }

    #[test]
    fn pictures_keep_their_shape() {
        let images = [Picture { src: "a".into(), width: 300.0, height: 250.0 }];
        let codes = |markup: &str| html(markup, None, &images).into_iter().map(|fault| fault.code).collect::<Vec<_>>();
        assert_eq!(codes("<img src=a alt=x width=300 height=100>"), ["image_ratio"]);
        assert_eq!(codes("<style>img{width:90px;height:30px}</style><img src=a alt=x>"), ["image_ratio"]);
        for fine in [
            "<img src=a alt=x width=600 height=510>",
            "<img src=a alt=x width=300 height=100 style=\"object-fit:cover\">",
            "<img src=a alt=x width=300 height=100 style=\"height:auto\">",
            "<img src=b alt=x width=300 height=100>",
            "<img src=a alt=x>",
        ] {
            assert_eq!(codes(fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn companions_of_a_video_are_looked_at_in_their_size() {
        let document = "<VAST><Companion width=\"300\" height=\"60\"><HTMLResource><![CDATA[<body style=\"background:#fff\">\
             <img src=a>]]></HTMLResource></Companion></VAST>";
        let found = companions(document, &[]);
        assert_eq!(found.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["missing_alt"]);
        assert!(found[0].detail.starts_with("in the companion of 300x60: "), "{}", found[0].detail);
    }

    #[test]
    fn native_texts_and_pictures_fit_what_publishers_show() {
        let told = |kind, value: Value| {
            let mut found = Violations::new();
            native_asset(kind, &value, &mut found);
            found.into_vec().into_iter().map(|fault| fault.code).collect::<Vec<_>>()
        };
        let image =
            |width: u32, height: u32| serde_json::json!({"src": "a", "alt": "x", "width": width, "height": height});
        assert_eq!(told(NativeKind::Cta, "Buy one now, today".into()), ["text_overflow"]);
        assert_eq!(told(NativeKind::Cta, "Buy now".into()), [""; 0]);
        assert_eq!(told(NativeKind::MainImage, image(300, 60)), ["image_ratio"]);
        assert_eq!(told(NativeKind::MainImage, image(1_200, 627)), [""; 0]);
        assert_eq!(told(NativeKind::Icon, image(80, 80)), [""; 0]);
    }
}
