//! Uploaded images, decoded and written anew: what is served was made here, whatever was sent.
//!
//! Whatever a file holds besides its picture (comments, scripts, another file behind it, where it
//! was taken) does not survive being decoded and encoded. Formats are told by their first bytes and
//! sizes read from the header before anything is unpacked.

mod fit;

use std::{fmt::Write as _, io::Cursor};

use image::{
    AnimationDecoder, DynamicImage, Frame, ImageDecoder, ImageError as CodecError, ImageFormat, Limits, RgbaImage,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        jpeg::{JpegDecoder, JpegEncoder},
        png::{CompressionType, FilterType, PngDecoder, PngEncoder},
        webp::{WebPDecoder, WebPEncoder},
    },
};

pub use self::fit::Fit;

/// Why an image was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Its first bytes are of none of the formats that are served.
    #[error("must be a PNG, JPEG, WebP or GIF image")]
    Format,
    /// It is a drawing that can carry scripts.
    #[error("SVG is not taken, because it can carry scripts: export the picture as PNG or WebP")]
    Svg,
    /// The file is too large.
    #[error("must be at most {} bytes", Picture::LARGEST)]
    Size,
    /// The picture is too large.
    #[error(
        "must be at most {} pixels on a side and {} in all, not {width}x{height}",
        Picture::LONGEST,
        Picture::PIXELS
    )]
    Pixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// It moves in a format that cannot be written.
    #[error("an animated {0} is not taken: send an animated GIF, or a still picture")]
    Animated(&'static str),
    /// It moves too long.
    #[error("an animation may have at most {} frames and {} pixels in all frames", Picture::FRAMES, Picture::MOVING)]
    Long,
    /// Unpacking it takes too much memory.
    #[error("takes more than {} MiB to unpack: send it with fewer pixels or 8 bits a channel", Picture::UNPACKED >> 20)]
    Large,
    /// It is smaller than what it is to fit.
    #[error("{width}x{height} is too small to fill {wanted}: send a larger picture")]
    Small {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// What it was to fill.
        wanted: String,
    },
    /// It cannot be decoded.
    #[error("cannot be read as {0}: the file is damaged or is something else")]
    Broken(&'static str),
}

impl ImageError {
    /// Why a file could not be decoded or written.
    fn of(kind: Kind, error: &CodecError) -> Self {
        match error {
            CodecError::Limits(_) => Self::Large,
            _ => Self::Broken(kind.name()),
        }
    }

    /// Stable, machine-readable name of the rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format => "unsupported_image",
            Self::Svg => "svg_refused",
            Self::Size => "too_large",
            Self::Pixels { .. } => "too_many_pixels",
            Self::Animated(_) => "animation_refused",
            Self::Long => "animation_too_long",
            Self::Large => "image_too_large",
            Self::Small { .. } => "too_small",
            Self::Broken(_) => "broken_image",
        }
    }
}

/// The formats that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Png,
    Jpeg,
    WebP,
    Gif,
}

/// A picture that can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The hash of its bytes with an ending: what it is served under.
    pub name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How many frames it has: 1 when it does not move.
    pub frames: u32,
}

impl Picture {
    /// The largest file, in bytes.
    pub const LARGEST: usize = 8 << 20;
    /// The longest side, in pixels.
    const LONGEST: u32 = 8_192;
    /// The most pixels: with four bytes each, what decoding holds at a time stays below 64 MB.
    const PIXELS: u64 = 10_000_000;
    /// The most frames of an animation, and the most pixels in all of them.
    const FRAMES: u32 = 200;
    const MOVING: u64 = 40_000_000;
    /// What decoding may hold at a time, in bytes.
    const UNPACKED: u64 = 64 << 20;
    const QUALITY: u8 = 88;

    /// Decodes an image and writes it anew, cut and scaled to `fit` if asked.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn made_of(bytes: &[u8], fit: Option<Fit>) -> Result<Self, ImageError> {
        Self::renditions(bytes, &[fit]).and_then(|mut made| made.pop().ok_or(ImageError::Format))
    }

    /// Decodes an image and writes it anew once for each of `fits`, cut and scaled to it, or in its
    /// own size.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn renditions(bytes: &[u8], fits: &[Option<Fit>]) -> Result<Vec<Self>, ImageError> {
        let (kind, width, height) = Self::look(bytes)?;
        if let Some(fit) = fits.iter().flatten().find(|fit| fit.width > width || fit.height > height) {
            return Err(ImageError::Small { width, height, wanted: format!("{}x{}", fit.width, fit.height) });
        }
        let broken = |error: CodecError| ImageError::of(kind, &error);
        let reader = || Cursor::new(bytes);
        let image = match kind {
            Kind::Gif => return fits.iter().map(|fit| Self::moving(bytes, (width, height), *fit)).collect(),
            Kind::Png => {
                let decoder = PngDecoder::with_limits(reader(), limits()).map_err(broken)?;
                if decoder.is_apng().map_err(broken)? {
                    return Err(ImageError::Animated("PNG"));
                }
                decode(decoder).map_err(broken)?
            }
            Kind::Jpeg => decode(JpegDecoder::new(reader()).map_err(broken)?).map_err(broken)?,
            Kind::WebP => {
                let decoder = WebPDecoder::new(reader()).map_err(broken)?;
                if decoder.has_animation() {
                    return Err(ImageError::Animated("WebP"));
                }
                decode(decoder).map_err(broken)?
            }
        };
        let made = fits.iter().map(|fit| match fit {
            Some(fit) => Self::still(kind, &fit.applied(&image), bytes.len()),
            None => Self::still(kind, &image, bytes.len()),
        });
        made.collect()
    }

    /// Writes a picture that does not move, of a file of `sent` bytes.
    fn still(kind: Kind, image: &DynamicImage, sent: usize) -> Result<Self, ImageError> {
        let broken = |error: CodecError| ImageError::of(kind, &error);
        let mut out = Vec::new();
        // WebP is written without loss, so one that had some becomes larger; a photo is then a JPEG
        let kind = match kind {
            Kind::WebP => {
                lossless(image, &mut out).map_err(broken)?;
                let large = out.len() > 2 * sent.max(16 << 10) && !image.has_alpha();
                if large { Kind::Jpeg } else { Kind::WebP }
            }
            kind => kind,
        };
        match kind {
            Kind::WebP | Kind::Gif => {}
            Kind::Png => {
                let encoder = PngEncoder::new_with_quality(&mut out, CompressionType::Default, FilterType::Adaptive);
                eight_bits(image).write_with_encoder(encoder).map_err(broken)?;
            }
            Kind::Jpeg => {
                out.clear();
                let encoder = JpegEncoder::new_with_quality(&mut out, Self::QUALITY);
                DynamicImage::ImageRgb8(image.to_rgb8()).write_with_encoder(encoder).map_err(broken)?;
            }
        }
        Self::named(kind, out, (image.width(), image.height()), 1)
    }

    /// An image as it is, by its header alone: for the files of an operator, which were made by
    /// [`Self::made_of`] elsewhere or are trusted like the program itself.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn as_is(bytes: &[u8]) -> Result<Self, ImageError> {
        let (kind, width, height) = Self::look(bytes)?;
        Self::named(kind, bytes.to_vec(), (width, height), 1)
    }

    /// What an image is, from its header alone.
    fn look(bytes: &[u8]) -> Result<(Kind, u32, u32), ImageError> {
        if bytes.len() > Self::LARGEST {
            return Err(ImageError::Size);
        }
        let kind = Kind::of(bytes)?;
        let size = imagesize::blob_size(bytes).map_err(|_| ImageError::Broken(kind.name()))?;
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let (width, height) = (side(size.width), side(size.height));
        if width == 0 || height == 0 {
            return Err(ImageError::Broken(kind.name()));
        }
        if width.max(height) > Self::LONGEST || u64::from(width) * u64::from(height) > Self::PIXELS {
            return Err(ImageError::Pixels { width, height });
        }
        Ok((kind, width, height))
    }

    /// An animation, frame by frame: one is held at a time.
    fn moving(bytes: &[u8], (width, height): (u32, u32), fit: Option<Fit>) -> Result<Self, ImageError> {
        let broken = |error: CodecError| ImageError::of(Kind::Gif, &error);
        let mut decoder = GifDecoder::new(Cursor::new(bytes)).map_err(broken)?;
        decoder.set_limits(limits()).map_err(broken)?;
        let mut out = Vec::new();
        let (mut frames, mut size) = (0, (width, height));
        {
            // 10 is the speed at which the palette of each frame is still close to the best
            let mut encoder = GifEncoder::new_with_speed(&mut out, 10);
            if let Some(repeat) = repeats(bytes) {
                encoder.set_repeat(repeat).map_err(broken)?;
            }
            for frame in decoder.into_frames() {
                let frame = frame.map_err(broken)?;
                frames += 1;
                if frames > Self::FRAMES || u64::from(frames) * u64::from(width) * u64::from(height) > Self::MOVING {
                    return Err(ImageError::Long);
                }
                let delay = frame.delay();
                let mut picture: RgbaImage = frame.into_buffer();
                if let Some(fit) = fit {
                    picture = fit.applied(&DynamicImage::ImageRgba8(picture)).into_rgba8();
                }
                size = picture.dimensions();
                encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).map_err(broken)?;
            }
        }
        if frames == 0 {
            return Err(ImageError::Broken("GIF"));
        }
        Self::named(Kind::Gif, out, size, frames)
    }

    fn named(kind: Kind, bytes: Vec<u8>, (width, height): (u32, u32), frames: u32) -> Result<Self, ImageError> {
        if bytes.len() > Self::LARGEST {
            return Err(ImageError::Size);
        }
        let (media_type, ending) = kind.served();
        let mut name = String::with_capacity(38);
        for byte in &blake3::hash(&bytes).as_bytes()[..16] {
            // writing into a String cannot fail
            let _ = write!(name, "{byte:02x}");
        }
        name.push('.');
        name.push_str(ending);
        Ok(Self { name, media_type, bytes, width, height, frames })
    }

    /// The media type of a name's ending.
    #[must_use]
    pub fn media_type(name: &str) -> Option<&'static str> {
        let ending = name.rsplit_once('.')?.1;
        [Kind::Png, Kind::Jpeg, Kind::WebP, Kind::Gif]
            .into_iter()
            .map(Kind::served)
            .find(|(_, own)| *own == ending)
            .map(|(media_type, _)| media_type)
    }
}

/// How often an animation is shown again, as its NETSCAPE2.0 extension says; without one it is shown
/// once. The decoder tells no difference between once and without end.
fn repeats(gif: &[u8]) -> Option<Repeat> {
    const NAME: &[u8] = b"\x21\xff\x0bNETSCAPE2.0\x03\x01";
    let at = gif.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let times = gif.get(at..at + 2)?;
    Some(match u16::from_le_bytes([times[0], times[1]]) {
        0 => Repeat::Infinite,
        times => Repeat::Finite(times),
    })
}

impl Kind {
    fn of(bytes: &[u8]) -> Result<Self, ImageError> {
        let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        let drawing = |at: &[u8]| at.len() >= 4 && at[..4].eq_ignore_ascii_case(b"<svg");
        match bytes {
            _ if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => Ok(Self::Png),
            _ if bytes.starts_with(b"\xff\xd8\xff") => Ok(Self::Jpeg),
            _ if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Ok(Self::WebP),
            _ if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") => Ok(Self::Gif),
            _ if start.starts_with(b"<") && start.windows(4).take(4_096).any(drawing) => Err(ImageError::Svg),
            // SVG also travels zipped
            _ if bytes.starts_with(b"\x1f\x8b") => Err(ImageError::Svg),
            _ => Err(ImageError::Format),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
        }
    }

    fn served(self) -> (&'static str, &'static str) {
        let (format, ending) = match self {
            Self::Png => (ImageFormat::Png, "png"),
            Self::Jpeg => (ImageFormat::Jpeg, "jpg"),
            Self::WebP => (ImageFormat::WebP, "webp"),
            Self::Gif => (ImageFormat::Gif, "gif"),
        };
        (format.to_mime_type(), ending)
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(Picture::LONGEST);
    limits.max_image_height = Some(Picture::LONGEST);
    limits.max_alloc = Some(Picture::UNPACKED);
    limits
}

/// Decodes a still picture, turned as its camera was held.
fn decode(mut decoder: impl ImageDecoder) -> Result<DynamicImage, CodecError> {
    let mut limits = limits();
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn eight_bits(image: &DynamicImage) -> DynamicImage {
    if image.has_alpha() {
        DynamicImage::ImageRgba8(image.to_rgba8())
    } else {
        DynamicImage::ImageRgb8(image.to_rgb8())
    }
}

fn lossless(image: &DynamicImage, out: &mut Vec<u8>) -> Result<(), CodecError> {
    eight_bits(image).write_with_encoder(WebPEncoder::new_lossless(out))
}

#[cfg(test)]
mod tests {
    use image::{Delay, Rgb, RgbImage, Rgba};

    use super::*;

    fn photo(width: u32, height: u32) -> DynamicImage {
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 3) as u8, (y * 5) as u8, (x + y) as u8])
        }))
    }

    fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, format).expect("encoded");
        out.into_inner()
    }

    fn animation(frames: u32) -> Vec<u8> {
        let mut out = Vec::new();
        {
            let mut encoder = GifEncoder::new_with_speed(&mut out, 30);
            for n in 0..frames {
                let frame = RgbaImage::from_pixel(20, 10, Rgba([n as u8, 0, 0, 255]));
                let delay = Delay::from_numer_denom_ms(100, 1);
                encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay)).expect("encoded");
            }
        }
        out
    }

    #[test]
    fn images_come_out_as_images_and_nothing_else() {
        const PAYLOAD: &[u8] = b"<script>alert(1)</script>PK\x03\x04";
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
            let clean = written(&photo(60, 40), format);
            let polyglot = [&clean[..], PAYLOAD].concat();
            let made = Picture::made_of(&polyglot, None).expect("decodes");
            assert_eq!((made.width, made.height, made.frames), (60, 40, 1), "{format:?}");
            assert!(!made.bytes.windows(PAYLOAD.len()).any(|part| part == PAYLOAD), "{format:?}");
            assert!(made.name.len() > 34 && Picture::media_type(&made.name) == Some(made.media_type));
        }
        // a comment within a JPEG
        let jpeg = written(&photo(60, 40), ImageFormat::Jpeg);
        let comment = [b"\xff\xfe\x00\x1b".as_slice(), b"<script>alert(1)</script>"].concat();
        let polyglot = [&jpeg[..2], &comment, &jpeg[2..]].concat();
        let made = Picture::made_of(&polyglot, None).expect("decodes");
        assert!(!made.bytes.windows(8).any(|part| part == b"<script>"));
    }

    #[test]
    fn png_is_written_the_same_again() {
        let once = Picture::made_of(&written(&photo(60, 40), ImageFormat::Png), None).expect("decodes");
        assert_eq!(Picture::made_of(&once.bytes, None).expect("decodes").name, once.name);
        assert_eq!(Picture::as_is(&once.bytes).expect("decodes").name, once.name);
    }

    #[test]
    fn hostile_files_are_refused() {
        let svg = b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>";
        assert_eq!(Picture::made_of(svg, None), Err(ImageError::Svg));
        assert_eq!(Picture::made_of(b"<html>", None), Err(ImageError::Format));
        assert_eq!(Picture::made_of(b"%PDF-1.7", None), Err(ImageError::Format));
        assert_eq!(Picture::made_of(b"", None), Err(ImageError::Format));
        assert_eq!(Picture::made_of(b"\x89PNG\r\n\x1a\nrest", None), Err(ImageError::Broken("PNG")));
        assert_eq!(Picture::made_of(&vec![0xff; Picture::LARGEST + 1], None), Err(ImageError::Size));
        // a header that promises more than there is: nothing of it is unpacked
        let mut bomb = written(&photo(4, 4), ImageFormat::Png);
        bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        assert_eq!(Picture::made_of(&bomb, None), Err(ImageError::Pixels { width: 30_000, height: 30_000 }));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
            let whole = written(&photo(64, 64), format);
            for part in 1..16 {
                // never a panic; a JPEG cut short may still be shown as far as it goes
                let _ = Picture::made_of(&whole[..whole.len() * part / 16], None);
            }
        }
    }

    #[test]
    fn every_class_of_hostile_file_is_refused_before_it_is_unpacked() {
        let of = |format| written(&photo(64, 64), format);
        let set = |mut file: Vec<u8>, at: usize, bytes: &[u8]| {
            file[at..at + bytes.len()].copy_from_slice(bytes);
            file
        };
        let jpeg = of(ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|part| part == b"\xff\xc0").expect("a frame header") + 5;
        // VP8L: 14 bits of width and of height, each less one
        let vast = (7_999_u32 | (7_999 << 14)).to_le_bytes();
        let pixels = |width, height| Err(ImageError::Pixels { width, height });
        let small = "<?xml version=\"1.0\"?>";
        let svgs: [&[u8]; 4] =
            [b"<svg/>", b"\xef\xbb\xbf  <!-- x --><SVG onload=alert(1)>", small.as_bytes(), b"\x1f\x8b\x08 zipped"];
        // a chunk that says it moves, behind the header
        let mut apng = of(ImageFormat::Png);
        apng.splice(33..33, *b"\0\0\0\x08acTL\0\0\0\x02\0\0\0\0\xf3\x8d\x93\x70");
        let still = of(ImageFormat::WebP);
        let mut moving = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x3f\0\0\x3f\0\0".to_vec();
        moving.extend_from_slice(b"ANIM\x06\0\0\0\0\0\0\0\0\0ANMF");
        moving.extend_from_slice(&(still.len() as u32 + 4).to_le_bytes());
        moving.extend_from_slice(b"\0\0\0\0\0\0\x3f\0\0\x3f\0\0\x64\0\0\0");
        moving.extend_from_slice(&still[12..]);
        let size = (moving.len() as u32 - 8).to_le_bytes();
        let moving = set(moving, 4, &size);
        let cases = [
            (
                "PNG of 30,000 x 30,000",
                set(of(ImageFormat::Png), 16, b"\0\0\x75\x30\0\0\x75\x30"),
                pixels(30_000, 30_000),
            ),
            ("JPEG of 65,535 x 65,535", set(jpeg, frame, b"\xff\xff\xff\xff"), pixels(65_535, 65_535)),
            ("GIF of 65,535 x 65,535", set(of(ImageFormat::Gif), 6, b"\xff\xff\xff\xff"), pixels(65_535, 65_535)),
            ("WebP of 8,000 x 8,000", set(of(ImageFormat::WebP), 21, &vast), pixels(8_000, 8_000)),
            ("SVG", svgs[0].to_vec(), Err(ImageError::Svg)),
            ("SVG behind a comment", svgs[1].to_vec(), Err(ImageError::Svg)),
            ("XML that is no SVG", svgs[2].to_vec(), Err(ImageError::Format)),
            ("zipped SVG", svgs[3].to_vec(), Err(ImageError::Svg)),
            ("page behind a PNG's first bytes", b"\x89PNG\r\n\x1a\n<html>".to_vec(), Err(ImageError::Broken("PNG"))),
            ("script with a GIF's first bytes", b"GIF89a=1;alert(1)".to_vec(), Err(ImageError::Broken("GIF"))),
            ("animated PNG", apng, Err(ImageError::Animated("PNG"))),
            ("animated WebP", moving, Err(ImageError::Animated("WebP"))),
            ("nothing", Vec::new(), Err(ImageError::Format)),
        ];
        for (what, file, expected) in cases {
            let made = Picture::made_of(&file, None).map(|made| (made.width, made.height));
            match (&made, &expected) {
                // what a script claims to measure is up to its letters
                (Err(_), Err(ImageError::Broken("GIF"))) => {}
                _ => assert_eq!(made, expected.map(|()| (0, 0)), "{what}"),
            }
        }
    }

    #[test]
    fn what_takes_too_much_memory_is_called_that() {
        // 16 bits a channel: eight bytes a pixel, though the file is small
        let deep = DynamicImage::ImageRgba16(image::ImageBuffer::from_pixel(3_000, 3_000, Rgba([7; 4])));
        let made = Picture::made_of(&written(&deep, ImageFormat::Png), None);
        assert_eq!(made.map(drop).map_err(|error| error.code()), Err("image_too_large"));
    }

    #[test]
    fn animations_are_shown_as_often_as_they_were() {
        let shown = |repeat: Option<Repeat>| {
            let mut out = Vec::new();
            {
                let mut encoder = GifEncoder::new_with_speed(&mut out, 30);
                if let Some(repeat) = repeat {
                    encoder.set_repeat(repeat).expect("a repeat");
                }
                for n in 0..2 {
                    let frame = RgbaImage::from_pixel(20, 10, Rgba([n * 90, 0, 0, 255]));
                    encoder.encode_frame(Frame::new(frame)).expect("encoded");
                }
            }
            let made = Picture::made_of(&out, None).expect("decodes");
            repeats(&made.bytes).map(|repeat| match repeat {
                Repeat::Infinite => 0,
                Repeat::Finite(times) => times,
            })
        };
        assert_eq!(shown(None), None, "once");
        assert_eq!(shown(Some(Repeat::Finite(3))), Some(3));
        assert_eq!(shown(Some(Repeat::Infinite)), Some(0));
    }

    #[test]
    fn one_reading_makes_every_size() {
        let fit = |width, height| Some(Fit { width, height, focus: (0.5, 0.5) });
        let sizes = [None, fit(30, 25), fit(40, 10)];
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
            let file = written(&photo(60, 40), format);
            let made = Picture::renditions(&file, &sizes).expect("decodes");
            let sides: Vec<_> = made.iter().map(|made| (made.width, made.height)).collect();
            assert_eq!(sides, [(60, 40), (30, 25), (40, 10)]);
            assert_eq!(made[1].name, Picture::made_of(&file, sizes[1]).expect("decodes").name);
        }
    }

    #[test]
    fn animations_stay_within_limits_or_are_refused() {
        let made = Picture::made_of(&animation(5), None).expect("decodes");
        assert_eq!((made.frames, made.media_type), (5, "image/gif"));
        let small =
            Picture::made_of(&animation(5), Some(Fit { width: 10, height: 10, focus: (0.5, 0.5) })).expect("decodes");
        assert_eq!((small.frames, small.width, small.height), (5, 10, 10));
        assert_eq!(Picture::made_of(&animation(Picture::FRAMES + 1), None), Err(ImageError::Long));
    }

    #[test]
    fn renditions_keep_what_matters() {
        // left half black, right half white
        let halves = RgbImage::from_fn(400, 100, |x, _| if x < 200 { Rgb([0; 3]) } else { Rgb([255; 3]) });
        let halves = written(&DynamicImage::ImageRgb8(halves), ImageFormat::Png);
        let fit = |x: f64| Fit { width: 50, height: 50, focus: (x, 0.5) };
        let shade = |x: f64| {
            let made = Picture::made_of(&halves, Some(fit(x))).expect("decodes");
            assert_eq!((made.width, made.height), (50, 50));
            image::load_from_memory(&made.bytes).expect("an image").to_rgb8().get_pixel(25, 25).0[0]
        };
        assert_eq!((shade(0.0), shade(1.0)), (0, 255));
        let tall = Fit { width: 500, height: 50, focus: (0.5, 0.5) };
        assert!(matches!(Picture::made_of(&halves, Some(tall)), Err(ImageError::Small { .. })));
    }
}
