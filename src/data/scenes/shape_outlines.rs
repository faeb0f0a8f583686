//! The outlines of the shapes: each object is a few faces in a unit box, which `render` fills and shades.
//!
//! An object's coordinates run from -0.5 to 0.5 across and from -1 (top) to 0 (its foot); a translation and a
//! scale put it on the ground.

use tiny_skia::{Path, PathBuilder, Rect, Transform};

use super::scene::Shape;

/// The lighting of a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Light {
    /// Evenly, lighter (> 0) or darker (< 0) than the colour itself.
    Flat(f32),
    /// As on a ball.
    Round,
    /// As on an upright tube: bright left of the middle, dark at the right.
    Barrel,
    /// As on the band of a ring.
    Band,
    /// From the upper left to the lower right.
    Slope,
}

/// One visible face of a solid.
#[derive(Debug)]
pub(super) struct Face {
    /// Its outline in the object's coordinates; the even-odd rule makes holes.
    pub outline: Path,
    /// Maps the unit square, on which textures are drawn, onto the face; `None` for a face without texture.
    pub surface: Option<Transform>,
    /// Its lighting.
    pub light: Light,
}

/// The outer radius of a ring, and of a ball.
pub(super) const RADIUS: f32 = 0.49;
/// The radius of a ring's hole.
pub(super) const HOLE: f32 = 0.2;
/// Half the width of a cylinder and a cone's foot, and the half height of their ellipses.
const TUBE: (f32, f32) = (0.4, 0.12);
/// The edge of a cube's front.
const EDGE: f32 = 0.7;
/// How far a cube's depth runs to the right and up.
const DEPTH: f32 = 0.27;

impl Face {
    /// A face with a texture over the whole box.
    fn boxed(outline: Path, light: Light) -> Self {
        Self { outline, surface: Some(Transform::from_translate(-0.5, -1.0)), light }
    }

    /// A side of the cube, from its upper left corner and the directions of its two edges.
    fn side(corner: (f32, f32), across: (f32, f32), down: (f32, f32), light: Light) -> Self {
        let surface = Transform::from_row(across.0, across.1, down.0, down.1, corner.0, corner.1);
        let square = PathBuilder::from_rect(rect(0.0, 0.0, EDGE, EDGE));
        let outline = square.transform(surface).expect("invariant: finite corners");
        Self { outline, surface: Some(surface), light }
    }
}

/// The faces of a shape, in the order of painting.
pub(super) fn faces(shape: Shape) -> Vec<Face> {
    match shape {
        Shape::Cube => cube(),
        Shape::Ball => vec![Face::boxed(finish(|p| p.push_circle(0.0, -0.5, RADIUS)), Light::Round)],
        Shape::Cylinder => cylinder(),
        Shape::Cone => vec![Face::boxed(finish(cone), Light::Barrel)],
        Shape::Star => vec![Face::boxed(finish(star), Light::Slope)],
        Shape::Ring => vec![Face::boxed(finish(ring), Light::Band)],
    }
}

/// Front, top and right side.
fn cube() -> Vec<Face> {
    let (left, top) = (-0.48, -EDGE);
    let step = DEPTH / EDGE;
    vec![
        Face::side((left, top), (1.0, 0.0), (0.0, 1.0), Light::Flat(0.0)),
        Face::side((left + DEPTH, top - DEPTH), (1.0, 0.0), (-step, step), Light::Flat(0.3)),
        Face::side((left + EDGE, top), (step, -step), (0.0, 1.0), Light::Flat(-0.3)),
    ]
}

/// The wall, then the lid, which is plain and light.
fn cylinder() -> Vec<Face> {
    let (half, bulge) = TUBE;
    let lid = rect(-half, -1.0, 2.0 * half, 2.0 * bulge);
    let wall = finish(|p| {
        p.move_to(-half, bulge - 1.0);
        foot(p);
        p.line_to(half, bulge - 1.0);
        p.close();
    });
    vec![
        Face::boxed(wall, Light::Barrel),
        Face { outline: finish(|p| p.push_oval(lid)), surface: None, light: Light::Flat(0.3) },
    ]
}

/// A triangle on a bulging foot.
fn cone(path: &mut PathBuilder) {
    path.move_to(0.0, -1.0);
    foot(path);
    path.close();
}

/// The bulging lower edge of tube and cone, from left to right.
fn foot(path: &mut PathBuilder) {
    let (half, bulge) = TUBE;
    path.line_to(-half, -bulge);
    path.cubic_to(-half, bulge / 3.0, half, bulge / 3.0, half, -bulge);
}

/// Five points, standing on two of them.
fn star(path: &mut PathBuilder) {
    // The directions of ten corners in steps of 36°, clockwise from the top: (sin, cos).
    const STEPS: [(f32, f32); 10] = [
        (0.0, 1.0),
        (0.587_785, 0.809_017),
        (0.951_057, 0.309_017),
        (0.951_057, -0.309_017),
        (0.587_785, -0.809_017),
        (0.0, -1.0),
        (-0.587_785, -0.809_017),
        (-0.951_057, -0.309_017),
        (-0.951_057, 0.309_017),
        (-0.587_785, 0.809_017),
    ];
    for (step, (sin, cos)) in STEPS.into_iter().enumerate() {
        let radius = if step % 2 == 0 { 0.54 } else { 0.27 };
        let (x, y) = (sin * radius, -0.45 - cos * radius);
        if step == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path.close();
}

/// A disc with a hole.
fn ring(path: &mut PathBuilder) {
    path.push_circle(0.0, -0.5, RADIUS);
    path.push_circle(0.0, -0.5, HOLE);
}

/// A path from the calls that draw it.
pub(super) fn finish(draw: impl FnOnce(&mut PathBuilder)) -> Path {
    let mut path = PathBuilder::new();
    draw(&mut path);
    path.finish().expect("invariant: a finite outline of several points")
}

/// A rectangle from its corner and extent.
pub(super) fn rect(x: f32, y: f32, width: f32, height: f32) -> Rect {
    Rect::from_xywh(x, y, width, height).expect("invariant: a positive extent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_fills_its_box_and_stays_inside() {
        for &shape in Shape::ALL {
            let bounds = faces(shape)
                .iter()
                .map(|face| face.outline.bounds())
                .reduce(|a, b| a.join(&b).unwrap())
                .unwrap();
            assert!(bounds.left() >= -0.53 && bounds.right() <= 0.53, "{shape:?} {bounds:?}");
            assert!(bounds.top() >= -1.0 && bounds.bottom() <= 0.04, "{shape:?} {bounds:?}");
            assert!(bounds.width() >= 0.75 && bounds.height() >= 0.9, "{shape:?} {bounds:?}");
        }
    }
}
