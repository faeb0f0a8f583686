//! Paints the background of a scene: a sky or wall, a ground, and a little scenery.

use tiny_skia::{FillRule, Path, Pixmap, Transform};

use super::colours::{Rgb, ink, vertical};
use super::scene::Background;
use super::shape_outlines::{finish, rect};

/// The height of the horizon; objects stand well below it.
const HORIZON: f32 = 0.4;

/// The colours of a background, each pair from top to bottom.
struct Colours {
    sky: [Rgb; 2],
    ground: [Rgb; 2],
}

/// The colours of each background.
fn colours(background: Background) -> Colours {
    let [sky, ground] = match background {
        Background::Grass => [[0x8ec5f0, 0xdff1fb], [0xb4dc8f, 0x85bf63]],
        Background::Sand => [[0xf4b183, 0xfbe3bd], [0xefd9a4, 0xd9b777]],
        Background::Snow => [[0xa9bccd, 0xd5dfe8], [0xf1f6fb, 0xd3e0ec]],
        Background::Night => [[0x141a3c, 0x38406f], [0x5a6390, 0x464e78]],
        Background::Floor => [[0xe9dcc9, 0xf3eadc], [0xb98a5e, 0x9c6f46]],
    };
    Colours { sky: sky.map(Rgb), ground: ground.map(Rgb) }
}

/// Fills the picture with a background; `unit` maps the unit square onto the picture.
pub(super) fn paint(background: Background, unit: Transform, picture: &mut Pixmap) {
    let Colours { sky, ground } = colours(background);
    let mut fill = |path: &Path, paint| picture.fill_path(path, &paint, FillRule::Winding, unit, None);
    // The sky covers the whole picture, so that no dark seam shows above the ground.
    fill(&band(0.0, 1.0), vertical(sky, 0.0, HORIZON));
    match background {
        Background::Grass => fill(&discs(&CLOUDS), ink(Rgb(0xffffff), 0.85)),
        Background::Sand => fill(&discs(&[(0.78, 0.24, 0.11)]), ink(Rgb(0xfff3c9), 0.95)),
        Background::Snow => fill(&discs(&[(0.2, 0.65, 0.4), (0.8, 0.7, 0.42)]), ink(Rgb(0xe6eef5), 1.0)),
        Background::Night => fill(&discs(&STARS), ink(Rgb(0xfff6d5), 0.95)),
        Background::Floor => {}
    }
    fill(&band(HORIZON, 1.0), vertical(ground, HORIZON, 1.0));
    match background {
        Background::Floor => fill(&boards(), ink(Rgb(0x5f3f22), 0.45)),
        Background::Grass => fill(&tufts(), ink(Rgb(0x4f9a3d), 0.6)),
        _ => {}
    }
}

/// Clouds as discs: x, y and radius.
const CLOUDS: [(f32, f32, f32); 6] = [
    (0.16, 0.15, 0.055),
    (0.23, 0.13, 0.07),
    (0.3, 0.16, 0.05),
    (0.68, 0.1, 0.045),
    (0.75, 0.08, 0.06),
    (0.82, 0.11, 0.045),
];

/// The moon and the stars: x, y and radius.
const STARS: [(f32, f32, f32); 9] = [
    (0.84, 0.13, 0.075),
    (0.08, 0.1, 0.012),
    (0.2, 0.25, 0.012),
    (0.3, 0.07, 0.014),
    (0.41, 0.2, 0.012),
    (0.52, 0.09, 0.013),
    (0.62, 0.27, 0.012),
    (0.7, 0.06, 0.012),
    (0.93, 0.31, 0.013),
];

/// The full width of the picture between two heights.
fn band(top: f32, bottom: f32) -> Path {
    tiny_skia::PathBuilder::from_rect(rect(0.0, top, 1.0, bottom - top))
}

/// Several discs as one path.
fn discs(discs: &[(f32, f32, f32)]) -> Path {
    finish(|path| discs.iter().for_each(|&(x, y, radius)| path.push_circle(x, y, radius)))
}

/// The joints of a floor: boards that run towards the viewer.
fn boards() -> Path {
    finish(|path| {
        for board in -4..=4 {
            let (far, near) = (0.5 + 0.13 * board as f32, 0.5 + 0.3 * board as f32);
            path.move_to(far - 0.002, HORIZON);
            path.line_to(far + 0.002, HORIZON);
            path.line_to(near + 0.006, 1.0);
            path.line_to(near - 0.006, 1.0);
            path.close();
        }
        path.push_rect(rect(0.0, HORIZON - 0.012, 1.0, 0.012));
    })
}

/// Blades of grass, larger towards the viewer.
fn tufts() -> Path {
    finish(|path| {
        for row in 0..6 {
            let (y, height) = (0.46 + 0.1 * row as f32, 0.02 + 0.005 * row as f32);
            for column in 0..6 {
                let x = 0.09 + 0.17 * column as f32 + if row % 2 == 0 { 0.0 } else { 0.08 };
                path.move_to(x - 0.012, y);
                path.line_to(x - 0.02, y - height);
                path.line_to(x, y);
                path.line_to(x + 0.02, y - height);
                path.line_to(x + 0.012, y);
                path.close();
            }
        }
    })
}
