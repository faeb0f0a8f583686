//! Draws a scene: the background, then every object from the farthest to the nearest.
//!
//! The drawing is made of vectors with anti-aliasing, so every side in pixels works.

use image::RgbImage;
use tiny_skia::{FillRule, Mask, Path, Pixmap, Stroke, Transform};

use super::background;
use super::colours::{Rgb, ink, light, shadow, surface};
use super::scene::{Object, Scene, Texture};
use super::shape_outlines::{Face, faces, finish, rect};

/// The width of the dark line around a face; the object's width is 1.
const LINE: f32 = 0.035;

/// Draws a scene on a square of `side` pixels (at least 1). The same scene gives the same pixels.
pub fn render(scene: &Scene, side: u32) -> RgbImage {
    let mut picture =
        Pixmap::new(side, side).expect("invariant: a side of at least one pixel, and not of millions");
    let unit = Transform::from_scale(side as f32, side as f32);
    background::paint(scene.background, unit, &mut picture);
    let mut objects: Vec<&Object> = scene.objects.iter().collect();
    objects.sort_by(|a, b| a.y.total_cmp(&b.y));
    for object in objects {
        paint(object, unit, &mut picture);
    }
    let rgb = picture.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
    RgbImage::from_raw(side, side, rgb).expect("invariant: three bytes a pixel")
}

/// Paints one object with its shadow.
fn paint(object: &Object, unit: Transform, picture: &mut Pixmap) {
    let span = object.look.size.span();
    let place = unit.pre_translate(object.x, object.y).pre_scale(span, span);
    let disc = finish(|path| path.push_circle(0.0, 0.0, 1.0));
    let ground = place.pre_translate(0.06, -0.03).pre_scale(0.56, 0.15);
    picture.fill_path(&disc, &shadow(), FillRule::Winding, ground, None);
    for face in faces(object.look.shape) {
        paint_face(&face, object, place, picture);
    }
}

/// Paints the colour, texture, light and line of one face.
fn paint_face(face: &Face, object: &Object, place: Transform, picture: &mut Pixmap) {
    let (ground, pattern) = surface(object.look.colour);
    let outline = &face.outline;
    picture.fill_path(outline, &ink(ground, 1.0), FillRule::EvenOdd, place, None);
    if let (Some(surface), Some(texture)) = (face.surface, texture(object.look.texture)) {
        let mut inside =
            Mask::new(picture.width(), picture.height()).expect("invariant: the picture's own size");
        inside.fill_path(outline, FillRule::EvenOdd, true, place);
        let onto = place.pre_concat(surface);
        picture.fill_path(&texture, &ink(pattern, 1.0), FillRule::Winding, onto, Some(&inside));
    }
    picture.fill_path(outline, &light(face.light), FillRule::EvenOdd, place, None);
    let stroke = Stroke { width: LINE, ..Stroke::default() };
    picture.stroke_path(outline, &ink(Rgb(0x101014), 0.55), &stroke, place, None);
}

/// A texture as a path on the unit square.
fn texture(texture: Texture) -> Option<Path> {
    match texture {
        Texture::Plain => None,
        Texture::Striped => Some(finish(|path| {
            for band in 0..3 {
                path.push_rect(rect(-0.1, 0.13 + 0.3 * band as f32, 1.2, 0.15));
            }
        })),
        Texture::Dotted => Some(finish(|path| {
            for row in 0..4 {
                let shift = if row % 2 == 0 { 0.0 } else { 0.17 };
                for column in 0..4 {
                    path.push_circle(0.34 * column as f32 + shift, 0.06 + 0.28 * row as f32, 0.1);
                }
            }
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Background, Colour, Look, Shape, Size};
    use super::*;

    /// A small object alone on the sand, at 64 pixels.
    fn picture(shape: Shape, colour: Colour, texture: Texture) -> RgbImage {
        let look = Look { size: Size::Small, texture, colour, shape };
        let scene = Scene { objects: vec![Object { look, x: 0.5, y: 0.8 }], background: Background::Sand };
        render(&scene, 64)
    }

    /// Number of pixels that differ clearly.
    fn difference(a: &RgbImage, b: &RgbImage) -> usize {
        let clearly =
            |(a, b): &(&image::Rgb<u8>, &image::Rgb<u8>)| (0..3).any(|c| a.0[c].abs_diff(b.0[c]) > 40);
        a.pixels().zip(b.pixels()).filter(clearly).count()
    }

    #[test]
    fn every_attribute_of_the_smallest_object_is_visible() {
        let all: Vec<_> = Shape::ALL
            .iter()
            .flat_map(|&shape| Colour::ALL.iter().map(move |&colour| (shape, colour)))
            .flat_map(|(shape, colour)| Texture::ALL.iter().map(move |&texture| (shape, colour, texture)))
            .map(|(shape, colour, texture)| ((shape, colour, texture), picture(shape, colour, texture)))
            .collect();
        for (i, (name, a)) in all.iter().enumerate() {
            for (other, b) in &all[..i] {
                let pixels = difference(a, b);
                assert!(pixels >= 20, "{name:?} and {other:?} differ in {pixels} pixels");
            }
        }
    }

    #[test]
    fn any_side_gives_an_opaque_square() {
        let scene = Scene { objects: Vec::new(), background: Background::Night };
        for side in [1, 16, 33, 128] {
            let picture = render(&scene, side);
            assert_eq!(picture.dimensions(), (side, side));
            assert!(picture.pixels().all(|pixel| pixel.0 != [0, 0, 0]));
        }
    }
}
