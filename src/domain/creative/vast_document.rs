//! VAST documents, in the order in which the schema of each version wants its elements.

use std::{borrow::Cow, io};

use quick_xml::{
    Writer,
    events::{BytesCData, BytesDecl, BytesText, Event},
};

use super::{
    assemble::{Dynamic, assemble_companion},
    escape,
    prepared::Prepared,
    template::{Program, Template},
    vast::Vast,
    vast_version::VastVersion,
    video::{Video, VideoRequest},
};

/// How far a video was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoEvent {
    /// It began.
    Start,
    /// A quarter of it.
    FirstQuartile,
    /// Half of it.
    Midpoint,
    /// Three quarters of it.
    ThirdQuartile,
    /// All of it.
    Complete,
}

impl VideoEvent {
    /// Every event with its name in VAST, in the order in which they happen.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Start, "start"),
        (Self::FirstQuartile, "firstQuartile"),
        (Self::Midpoint, "midpoint"),
        (Self::ThirdQuartile, "thirdQuartile"),
        (Self::Complete, "complete"),
    ];
}

/// What a decision says of a video beyond what [`Dynamic`] says of every ad.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    /// Names the ad.
    pub ad: &'a str,
    /// Whose it is: a domain.
    pub advertiser: &'a str,
    /// Names the video among those of the advertiser, the same wherever it is shown.
    pub universal_id: &'a str,
    /// Counts a click where the player follows none.
    pub click_pixel: &'a str,
    /// The address of an event's pixel, by its place in [`VideoEvent::ALL`].
    pub events: &'a [String; 5],
    /// The address that hears of errors, with VAST's macro for their code.
    pub error_url: &'a str,
}

type Xml<'x> = &'x mut Writer<Vec<u8>>;

/// Appends the document that a `vast` template makes of the values chosen for its slots, in the
/// order of [`Template::slots`]; a slot without one shows its default. False, and nothing, where
/// the player does not take the video, and for other templates.
pub fn assemble_vast(
    template: &Template,
    chosen: &[&Prepared],
    dynamic: &Dynamic<'_>,
    spot: &Spot<'_>,
    wanted: &VideoRequest,
    out: &mut String,
) -> bool {
    let Program::Vast(vast) = &template.program else { return false };
    let filled: Option<Vec<&Prepared>> = (0..template.slots().len())
        .map(|slot| chosen.get(slot).copied().or_else(|| template.default_of(slot)))
        .collect();
    let Some(filled) = filled else { return false };
    let Some(video) = filled[vast.video].video().filter(|video| wanted.takes(video)) else { return false };
    let made = Document { template, vast, filled: &filled, video, dynamic, spot, wanted };
    push(out, |xml| made.write(xml))
}

/// Appends the document that says that there is no ad, and where players tell of that.
pub fn empty_vast(version: VastVersion, error_url: &str, out: &mut String) {
    push(out, |xml| {
        root(
            xml,
            version,
            true,
            |xml| if version > VastVersion::V2 { address(xml, "Error", error_url) } else { Ok(()) },
        )
    });
}

/// Appends what is written, or nothing where it could not be; a list of bytes takes everything.
fn push(out: &mut String, write: impl FnOnce(Xml<'_>) -> io::Result<()>) -> bool {
    let mut xml = Writer::new(Vec::with_capacity(4_096));
    let written = write(&mut xml).map(|()| String::from_utf8(xml.into_inner()));
    let Ok(Ok(text)) = written else { return false };
    out.push_str(&text);
    true
}

fn root(
    xml: Xml<'_>,
    version: VastVersion,
    namespace: bool,
    inner: impl FnOnce(Xml<'_>) -> io::Result<()>,
) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let named = (version.is_four() && namespace).then_some(("xmlns", "http://www.iab.com/VAST"));
    let root = xml.create_element("VAST").with_attribute(("version", version.as_str())).with_attributes(named);
    root.write_inner_content(inner).map(drop)
}

/// An element that holds an address.
fn address(xml: Xml<'_>, name: &str, url: &str) -> io::Result<()> {
    xml.create_element(name).write_inner_content(|xml| cdata(xml, url)).map(drop)
}

/// An element that holds words.
fn words(xml: Xml<'_>, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(text)).map(drop)
}

fn cdata(xml: Xml<'_>, text: &str) -> io::Result<()> {
    BytesCData::escaped(&escape::xml(text)).try_for_each(|part| xml.write_event(Event::CData(part)))
}

/// Hours, minutes, seconds and thousandths.
fn time(ms: u32) -> String {
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let thousandths = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!("{:02}:{:02}:{:02}{thousandths}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

struct Document<'a> {
    template: &'a Template,
    vast: &'a Vast,
    filled: &'a [&'a Prepared],
    video: &'a Video,
    dynamic: &'a Dynamic<'a>,
    spot: &'a Spot<'a>,
    wanted: &'a VideoRequest,
}

impl Document<'_> {
    fn write(&self, xml: Xml<'_>) -> io::Result<()> {
        root(xml, self.wanted.version, self.wanted.namespace, |xml| {
            let ad = xml.create_element("Ad").with_attribute(("id", self.spot.ad));
            ad.write_inner_content(|xml| {
                xml.create_element("InLine").write_inner_content(|xml| self.inline(xml)).map(drop)
            })
            .map(drop)
        })
    }

    fn inline(&self, xml: Xml<'_>) -> io::Result<()> {
        let version = self.wanted.version;
        words(xml, "AdSystem", "Tessera")?;
        if version.is_four() {
            address(xml, "Error", self.spot.error_url)?;
            address(xml, "Impression", self.dynamic.impression_url)?;
            let seen = xml.create_element("ViewableImpression");
            seen.write_inner_content(|xml| address(xml, "Viewable", self.dynamic.view_url))?;
            if version > VastVersion::V4 {
                words(xml, "AdServingId", self.dynamic.decision_id)?;
            }
            words(xml, "AdTitle", &self.title())?;
            words(xml, "Advertiser", self.spot.advertiser)?;
            self.creatives(xml)?;
            self.description(xml)
        } else {
            words(xml, "AdTitle", &self.title())?;
            self.description(xml)?;
            if version == VastVersion::V3 {
                words(xml, "Advertiser", self.spot.advertiser)?;
            }
            address(xml, "Error", self.spot.error_url)?;
            address(xml, "Impression", self.dynamic.impression_url)?;
            self.creatives(xml)
        }
    }

    fn text_of(&self, slot: Option<usize>) -> Option<&str> {
        self.filled.get(slot?)?.places.get(Vast::WORDS).map(|text| &**text)
    }

    fn title(&self) -> Cow<'_, str> {
        self.text_of(self.vast.title).map_or_else(|| escape::xml(self.template.name()), Cow::Borrowed)
    }

    fn description(&self, xml: Xml<'_>) -> io::Result<()> {
        self.text_of(self.vast.description).map_or(Ok(()), |text| words(xml, "Description", text))
    }

    fn creatives(&self, xml: Xml<'_>) -> io::Result<()> {
        let beside = self.wanted.companions && !self.vast.companions.is_empty();
        xml.create_element("Creatives")
            .write_inner_content(|xml| {
                if self.wanted.version.is_four() {
                    return self.creative(xml, |xml| {
                        if beside {
                            self.companions(xml)?;
                        }
                        self.linear(xml)?;
                        self.universal_id(xml)
                    });
                }
                // before VAST 4 a creative is one of both
                self.creative(xml, |xml| self.linear(xml))?;
                if beside { self.creative(xml, |xml| self.companions(xml)) } else { Ok(()) }
            })
            .map(drop)
    }

    fn creative(&self, xml: Xml<'_>, inner: impl FnOnce(Xml<'_>) -> io::Result<()>) -> io::Result<()> {
        xml.create_element("Creative").with_attribute(("id", self.spot.ad)).write_inner_content(inner).map(drop)
    }

    fn universal_id(&self, xml: Xml<'_>) -> io::Result<()> {
        let element = xml.create_element("UniversalAdId").with_attribute(("idRegistry", self.spot.advertiser));
        let value = (self.wanted.version == VastVersion::V4).then_some(("idValue", self.spot.universal_id));
        element.with_attributes(value).write_text_content(BytesText::new(self.spot.universal_id)).map(drop)
    }

    fn linear(&self, xml: Xml<'_>) -> io::Result<()> {
        let skips = self.vast.skip_after_ms.filter(|_| self.wanted.skippable && self.wanted.version > VastVersion::V2);
        let skips = skips.map(time);
        let linear = xml.create_element("Linear").with_attributes(skips.as_deref().map(|at| ("skipoffset", at)));
        linear
            .write_inner_content(|xml| {
                if self.wanted.version.is_four() {
                    self.tracking(xml)?;
                    words(xml, "Duration", &time(self.video.duration_ms))?;
                    self.files(xml)?;
                    self.clicks(xml)
                } else {
                    words(xml, "Duration", &time(self.video.duration_ms))?;
                    self.tracking(xml)?;
                    self.clicks(xml)?;
                    self.files(xml)
                }
            })
            .map(drop)
    }

    fn tracking(&self, xml: Xml<'_>) -> io::Result<()> {
        xml.create_element("TrackingEvents")
            .write_inner_content(|xml| {
                VideoEvent::ALL.iter().zip(self.spot.events).try_for_each(|((_, name), url)| {
                    let event = xml.create_element("Tracking").with_attribute(("event", *name));
                    event.write_inner_content(|xml| cdata(xml, url)).map(drop)
                })
            })
            .map(drop)
    }

    fn clicks(&self, xml: Xml<'_>) -> io::Result<()> {
        xml.create_element("VideoClicks")
            .write_inner_content(|xml| {
                // the schemas of VAST 2 and 3 want where a click leads first, those of VAST 4 last
                let through = |xml: Xml<'_>| address(xml, "ClickThrough", escape::link(self.dynamic.click_url));
                if self.wanted.version.is_four() {
                    address(xml, "ClickTracking", self.spot.click_pixel)?;
                    through(xml)
                } else {
                    through(xml)?;
                    address(xml, "ClickTracking", self.spot.click_pixel)
                }
            })
            .map(drop)
    }

    fn files(&self, xml: Xml<'_>) -> io::Result<()> {
        xml.create_element("MediaFiles")
            .write_inner_content(|xml| {
                self.video.files.iter().filter(|file| self.wanted.plays(file)).try_for_each(|file| {
                    let delivery = if file.is_streamed() { "streaming" } else { "progressive" };
                    let [width, height] = [file.width, file.height].map(|side| side.to_string());
                    let rate = file.bitrate_kbps.map(|rate| rate.to_string());
                    let element = xml.create_element("MediaFile").with_attributes([
                        ("delivery", delivery),
                        ("type", &*file.mime),
                        ("width", &width),
                        ("height", &height),
                    ]);
                    let element = element.with_attributes(rate.as_deref().map(|rate| ("bitrate", rate)));
                    element.write_inner_content(|xml| cdata(xml, file.src.as_str())).map(drop)
                })
            })
            .map(drop)
    }

    fn companions(&self, xml: Xml<'_>) -> io::Result<()> {
        xml.create_element("CompanionAds")
            .write_inner_content(|xml| (0..self.vast.companions.len()).try_for_each(|at| self.companion(xml, at)))
            .map(drop)
    }

    fn companion(&self, xml: Xml<'_>, at: usize) -> io::Result<()> {
        let companion = &self.vast.companions[at];
        let parts: Vec<&Prepared> = self.filled.iter().filter_map(|value| value.parts.get(at)).collect();
        let mut markup = String::new();
        assemble_companion(self.template, &companion.html, &parts, self.dynamic, &mut markup);
        let [width, height] = [companion.size.width, companion.size.height].map(|side| side.to_string());
        let mode =
            (companion.end_card && self.wanted.version > VastVersion::V4).then_some(("renderingMode", "end-card"));
        xml.create_element("Companion")
            .with_attributes([("width", &*width), ("height", &*height)])
            .with_attributes(mode)
            .write_inner_content(|xml| {
                address(xml, "HTMLResource", &markup)?;
                address(xml, "CompanionClickThrough", escape::link(self.dynamic.click_url))
            })
            .map(drop)
    }
}
