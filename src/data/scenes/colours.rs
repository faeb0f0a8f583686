//! Colours and paints: flat colours, gradients of light, and the two colours of each surface.

use tiny_skia::{
    Color, GradientStop, LinearGradient, Paint, Point, RadialGradient, Shader, SpreadMode, Transform,
};

use super::scene::Colour;
use super::shape_outlines::{HOLE, Light, RADIUS};

/// An opaque colour, 0xRRGGBB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rgb(pub u32);

/// White light and black shade.
const WHITE: Rgb = Rgb(0xffffff);
const BLACK: Rgb = Rgb(0x000000);

/// The RGB values of a colour, and of the textures drawn on it.
pub(super) fn surface(colour: Colour) -> (Rgb, Rgb) {
    let (ground, texture) = match colour {
        Colour::Red => (0xdc2f2a, 0xffd9cf),
        Colour::Orange => (0xf58a1f, 0xfff0d0),
        Colour::Yellow => (0xf8dc2c, 0xa87800),
        Colour::Green => (0x2b9c45, 0xd5f5c4),
        Colour::Blue => (0x2a66d9, 0xcfe6ff),
        Colour::Purple => (0x8a3fbf, 0xf0d4ff),
        Colour::White => (0xf7f7f5, 0x8b8f99),
        Colour::Black => (0x2a2a31, 0xb9bcc6),
    };
    (Rgb(ground), Rgb(texture))
}

/// A flat colour of opacity `alpha` (0 to 1).
pub(super) fn ink(colour: Rgb, alpha: f32) -> Paint<'static> {
    paint(Shader::SolidColor(color(colour, alpha)))
}

/// A gradient from top to bottom.
pub(super) fn vertical(colours: [Rgb; 2], top: f32, bottom: f32) -> Paint<'static> {
    let stops = vec![(0.0, colours[0], 1.0), (1.0, colours[1], 1.0)];
    linear((0.0, top), (0.0, bottom), stops)
}

/// The shadow on the ground around an object's foot, for the unit disc.
pub(super) fn shadow() -> Paint<'static> {
    radial((0.0, 0.0), (0.0, 1.0), vec![(0.0, BLACK, 0.5), (0.6, BLACK, 0.3), (1.0, BLACK, 0.0)])
}

/// The light on a face, painted over its colour and texture.
pub(super) fn light(light: Light) -> Paint<'static> {
    let gloss = |high: f32, at: f32, low: f32| {
        vec![(0.0, WHITE, high), (at, WHITE, 0.0), (at + 0.05, BLACK, 0.0), (1.0, BLACK, low)]
    };
    match light {
        Light::Flat(lift) => ink(if lift > 0.0 { WHITE } else { BLACK }, lift.abs()),
        Light::Round => radial((-0.17, -0.7), (0.0, 0.75), gloss(0.6, 0.4, 0.5)),
        Light::Slope => linear((-0.3, -0.95), (0.3, 0.0), gloss(0.35, 0.5, 0.3)),
        Light::Barrel => linear(
            (-0.4, 0.0),
            (0.4, 0.0),
            vec![
                (0.0, BLACK, 0.2),
                (0.2, BLACK, 0.0),
                (0.3, WHITE, 0.4),
                (0.45, WHITE, 0.0),
                (0.5, BLACK, 0.0),
                (1.0, BLACK, 0.4),
            ],
        ),
        Light::Band => radial(
            (0.0, -0.5),
            (HOLE, RADIUS),
            vec![
                (0.0, BLACK, 0.35),
                (0.35, BLACK, 0.0),
                (0.5, WHITE, 0.35),
                (0.65, WHITE, 0.0),
                (1.0, BLACK, 0.35),
            ],
        ),
    }
}

/// Position, colour and opacity of each stop of a gradient.
type Stops = Vec<(f32, Rgb, f32)>;

fn linear(from: (f32, f32), to: (f32, f32), stops: Stops) -> Paint<'static> {
    let gradient =
        LinearGradient::new(point(from), point(to), graded(stops), SpreadMode::Pad, Transform::identity());
    paint(gradient.expect("invariant: two points apart and two stops"))
}

/// A gradient around `centre` from one radius to another.
fn radial(centre: (f32, f32), radii: (f32, f32), stops: Stops) -> Paint<'static> {
    let (centre, stops) = (point(centre), graded(stops));
    let gradient =
        RadialGradient::new(centre, radii.0, centre, radii.1, stops, SpreadMode::Pad, Transform::identity());
    paint(gradient.expect("invariant: a positive radius and two stops"))
}

fn graded(stops: Stops) -> Vec<GradientStop> {
    stops.into_iter().map(|(at, colour, alpha)| GradientStop::new(at, color(colour, alpha))).collect()
}

fn point((x, y): (f32, f32)) -> Point {
    Point::from_xy(x, y)
}

fn paint(shader: Shader<'static>) -> Paint<'static> {
    Paint { shader, anti_alias: true, ..Paint::default() }
}

fn color(Rgb(rgb): Rgb, alpha: f32) -> Color {
    let [_, red, green, blue] = rgb.to_be_bytes();
    let mut color = Color::from_rgba8(red, green, blue, 255);
    color.set_alpha(alpha);
    color
}
