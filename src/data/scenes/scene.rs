//! The content of a scene: one to four objects on a ground, each with a size, a texture, a colour and a
//! shape.
//!
//! `render` draws it, and `choose_facts` chooses what its captions say. Objects often repeat attributes of the object before, so
//! scenes are easily confused ("three red cubes"), but each scene has its own arrangement, as in CLEVR
//! (Johnson et al. 2017).

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use crate::rng::Rng;

/// Defines an enum with the words of captions for each value, the plainest first.
macro_rules! lexicon {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident: $($word:literal)|+,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $value,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The words for it, the plainest first.
            pub fn words(self) -> &'static [&'static str] {
                match self { $(Self::$value => &[$($word),+],)+ }
            }
        }
    };
}
pub(super) use lexicon;

lexicon! {
    /// The size of an object; [`Size::span`] gives the length.
    Size {
        /// About a fifth of the picture.
        Small: "small" | "little",
        /// About a third of the picture.
        Large: "large" | "big",
    }
}

lexicon! {
    /// The pattern on an object's surface.
    Texture {
        /// Nothing.
        Plain: "plain" | "smooth",
        /// Three bands.
        Striped: "striped" | "banded",
        /// A grid of dots.
        Dotted: "dotted" | "spotted",
    }
}

lexicon! {
    /// The ground colour of an object's surface.
    Colour {
        /// Red.
        Red: "red",
        /// Orange.
        Orange: "orange",
        /// Yellow.
        Yellow: "yellow",
        /// Green.
        Green: "green",
        /// Blue.
        Blue: "blue",
        /// Purple.
        Purple: "purple" | "violet",
        /// White.
        White: "white",
        /// Black.
        Black: "black",
    }
}

lexicon! {
    /// The shape of an object; plurals add an "s".
    Shape {
        /// A cube, seen from the upper right.
        Cube: "cube" | "block",
        /// A sphere.
        Ball: "ball" | "sphere",
        /// An upright cylinder.
        Cylinder: "cylinder" | "can",
        /// An upright cone.
        Cone: "cone",
        /// A five-pointed star.
        Star: "star",
        /// An upright ring.
        Ring: "ring" | "hoop",
    }
}

lexicon! {
    /// The background; the words are whole phrases.
    Background {
        /// A green meadow under a blue sky.
        Grass: "on the grass" | "on a green meadow",
        /// A desert in the evening.
        Sand: "on the sand" | "in the desert",
        /// A white plain under a pale sky.
        Snow: "in the snow" | "on a snowy field",
        /// A dark plain under stars.
        Night: "at night" | "under the stars",
        /// A wooden floor before a wall.
        Floor: "on a wooden floor" | "in a room",
    }
}

impl Size {
    /// Width and height of the object; the picture's side is 1.
    pub fn span(self) -> f32 {
        match self {
            Self::Small => 0.24,
            Self::Large => 0.35,
        }
    }
}

/// The attributes of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Look {
    /// Its size.
    pub size: Size,
    /// Its texture.
    pub texture: Texture,
    /// Its colour.
    pub colour: Colour,
    /// Its shape.
    pub shape: Shape,
}

/// One object and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Its attributes.
    pub look: Look,
    /// The x of its middle, from 0 (left edge of the picture) to 1 (right edge).
    pub x: f32,
    /// The y of its foot, from 0 (upper edge of the picture) to 1 (lower edge); larger is nearer to the
    /// viewer.
    pub y: f32,
}

/// One picture's content.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// One to four objects that do not hide each other.
    pub objects: Vec<Object>,
    /// The background.
    pub background: Background,
}

/// Numbers of objects, each with its weight in percent.
const COUNTS: [(usize, u32); 4] = [(1, 4), (2, 28), (3, 38), (4, 30)];
/// Probability that an object looks like the one before, which makes groups.
const TWIN: f64 = 0.2;
/// Probability that an attribute is that of the object before, which makes scenes easy to confuse.
const INHERIT: f64 = 0.2;
/// Random places tried before an object is omitted.
const TRIES: usize = 200;
/// The smallest distance between an object and the edge of the picture.
const EDGE: f32 = 0.02;
/// The range of y for an object's foot.
const GROUND: std::ops::Range<f32> = 0.5..0.96;
/// The smallest distance in y between the feet of two objects at the same x, as a share of the nearer one's
/// height.
const CLEARANCE: f32 = 0.85;

impl Scene {
    /// Draws a scene.
    pub fn sample(rng: &mut Rng) -> Self {
        let background = any(Background::ALL, rng);
        let count =
            COUNTS.choose_weighted(rng, |&(_, weight)| weight).expect("invariant: positive weights").0;
        let mut objects: Vec<Object> = Vec::with_capacity(count);
        for _ in 0..count {
            let look = Look::sample(objects.last().map(|object| object.look), rng);
            objects.extend(place(look, &objects, rng));
        }
        Self { objects, background }
    }
}

impl Look {
    /// Draws the attributes of an object, given those of the object before it.
    fn sample(last: Option<Self>, rng: &mut Rng) -> Self {
        match last {
            Some(twin) if rng.random_bool(TWIN) => twin,
            _ => Self {
                size: inherit(last.map(|l| l.size), Size::ALL, rng),
                texture: inherit(last.map(|l| l.texture), Texture::ALL, rng),
                colour: inherit(last.map(|l| l.colour), Colour::ALL, rng),
                shape: inherit(last.map(|l| l.shape), Shape::ALL, rng),
            },
        }
    }
}

/// The value of the object before, with probability [`INHERIT`], otherwise a random one.
fn inherit<T: Copy>(last: Option<T>, all: &[T], rng: &mut Rng) -> T {
    last.filter(|_| rng.random_bool(INHERIT)).unwrap_or_else(|| any(all, rng))
}

/// A random element of a list.
pub(super) fn any<T: Copy>(all: &[T], rng: &mut Rng) -> T {
    *all.choose(rng).expect("invariant: a lexicon has values")
}

/// Tries random places for an object until it hides no other object; `None` if all tries fail.
fn place(look: Look, others: &[Object], rng: &mut Rng) -> Option<Object> {
    let margin = look.size.span() / 2.0 + EDGE;
    (0..TRIES)
        .map(|_| Object { look, x: rng.random_range(margin..1.0 - margin), y: rng.random_range(GROUND) })
        .find(|object| others.iter().all(|other| apart(object, other)))
}

/// Whether two objects stand side by side, or so far behind each other that both are almost fully visible.
fn apart(a: &Object, b: &Object) -> bool {
    let nearer = if a.y > b.y { a } else { b };
    let side_by_side = (a.look.size.span() + b.look.size.span()) / 2.0;
    (a.x - b.x).abs() > side_by_side || (a.y - b.y).abs() > CLEARANCE * nearer.look.size.span()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use std::collections::BTreeSet;

    fn scenes(count: u64) -> impl Iterator<Item = Scene> {
        (0..count).map(|index| Scene::sample(&mut stream(0, "scene", index)))
    }

    #[test]
    fn objects_lie_inside_the_picture_and_apart() {
        for scene in scenes(2_000) {
            assert!((1..=4).contains(&scene.objects.len()));
            for (i, object) in scene.objects.iter().enumerate() {
                let half = object.look.size.span() / 2.0;
                assert!(object.x - half > 0.0 && object.x + half < 1.0);
                assert!(object.y - 2.0 * half > 0.0 && object.y < 1.0);
                assert!(scene.objects[..i].iter().all(|other| apart(object, other)));
            }
        }
    }

    #[test]
    fn few_objects_are_omitted() {
        let drawn: u32 = COUNTS.iter().map(|&(count, weight)| count as u32 * weight).sum();
        let found = scenes(2_000).map(|scene| scene.objects.len()).sum::<usize>() as f32 / 2_000.0;
        assert!(found > 0.95 * drawn as f32 / 100.0, "{found} objects a scene");
    }

    #[test]
    fn thirty_thousand_scenes_are_nearly_all_distinct() {
        let contents: BTreeSet<_> = scenes(30_000)
            .map(|scene| {
                let mut looks: Vec<_> = scene.objects.iter().map(|object| object.look).collect();
                looks.sort_unstable();
                (scene.background, looks)
            })
            .collect();
        assert!(contents.len() > 27_000, "only {} distinct contents", contents.len());
    }

    #[test]
    fn repeated_colours_and_twins_are_common() {
        let of = |test: fn(&Look, &Look) -> bool| {
            let pairs = |s: &Scene| s.objects.windows(2).any(|w| test(&w[0].look, &w[1].look));
            scenes(1_000).filter(pairs).count()
        };
        assert!(of(|a, b| a.colour == b.colour) > 400);
        assert!(of(|a, b| a == b) > 200);
    }
}
