//! Pictures in another size.

use image::{DynamicImage, imageops};

/// The size that a picture is cut and scaled to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What of the picture matters most, as shares of its width and height from the top left: it
    /// stays in the middle as far as the edges allow.
    pub focus: (f64, f64),
}

impl Fit {
    /// The picture, cut and scaled.
    pub(super) fn applied(self, image: &DynamicImage) -> DynamicImage {
        part(image, self).resize_exact(self.width, self.height, imageops::FilterType::CatmullRom)
    }
}

/// The largest part with the wanted ratio, around the focus as far as the edges allow.
fn part(image: &DynamicImage, fit: Fit) -> DynamicImage {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let ratio = f64::from(fit.width) / f64::from(fit.height);
    let (part_width, part_height) =
        if width / height > ratio { (height * ratio, height) } else { (width, width / ratio) };
    let corner =
        |focus: f64, part: f64, whole: f64| (focus.clamp(0.0, 1.0) * whole - part / 2.0).clamp(0.0, whole - part);
    let (x, y) = (corner(fit.focus.0, part_width, width), corner(fit.focus.1, part_height, height));
    // at least a pixel, and never over the edge
    let whole = |part: f64| (part.round() as u32).max(1);
    image.crop_imm(x.round() as u32, y.round() as u32, whole(part_width), whole(part_height))
}
