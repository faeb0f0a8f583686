//! The facts that a caption can state about a scene, and whether they hold.
//!
//! A caption is first a list of facts and then a text, so it can be checked against any scene. The tests use
//! this to compute the score of a perfect reader.

use super::scene::{Background, Colour, Look, Object, Scene, Shape, Size, Texture, lexicon};

/// The smallest difference in x or y that a caption mentions (the picture's side is 1).
const CLEAR: f32 = 0.12;

/// The attributes of objects that a caption mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detail {
    pub size: bool,
    pub texture: bool,
    pub colour: bool,
    pub shape: bool,
}

/// A description of an object; an attribute that is `None` is not mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noun {
    pub size: Option<Size>,
    pub texture: Option<Texture>,
    pub colour: Option<Colour>,
    pub shape: Option<Shape>,
}

lexicon! {
    /// The position of one object relative to another.
    Relation {
        /// Smaller x.
        LeftOf: "to the left of" | "left of",
        /// Larger x.
        RightOf: "to the right of" | "right of",
        /// Larger y.
        InFrontOf: "in front of" | "closer than",
        /// Smaller y.
        Behind: "behind" | "further back than",
    }
}

lexicon! {
    /// The third of the picture in which an object stands.
    Place {
        /// The left third.
        Left: "on the left" | "on the left side",
        /// Around the middle.
        Middle: "in the middle" | "in the center",
        /// The right third.
        Right: "on the right" | "on the right side",
    }
}

/// One statement of a caption.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fact {
    /// At least one such object: "a red cube".
    Some(Noun),
    /// Exactly so many such objects: "two red cubes".
    Exactly(usize, Noun),
    /// One such object is in this relation to another.
    Related(Noun, Relation, Noun),
    /// Such an object stands in this place.
    At(Noun, Place),
    /// The background.
    Setting(Background),
}

impl Noun {
    /// Any object at all.
    pub const ANY: Self = Self { size: None, texture: None, colour: None, shape: None };

    /// Describes a look in this detail.
    pub fn new(look: &Look, detail: Detail) -> Self {
        Self {
            size: detail.size.then_some(look.size),
            texture: detail.texture.then_some(look.texture),
            colour: detail.colour.then_some(look.colour),
            shape: detail.shape.then_some(look.shape),
        }
    }

    /// Whether the description fits the object.
    pub fn fits(&self, object: &Object) -> bool {
        let look = &object.look;
        self.size.is_none_or(|size| size == look.size)
            && self.texture.is_none_or(|texture| texture == look.texture)
            && self.colour.is_none_or(|colour| colour == look.colour)
            && self.shape.is_none_or(|shape| shape == look.shape)
    }

    /// Number of objects of a scene that it fits.
    pub fn count(&self, scene: &Scene) -> usize {
        scene.objects.iter().filter(|object| self.fits(object)).count()
    }
}

impl Relation {
    /// Whether `a` is clearly in this relation to `b`.
    pub fn holds(self, a: &Object, b: &Object) -> bool {
        match self {
            Self::LeftOf => b.x - a.x > CLEAR,
            Self::RightOf => a.x - b.x > CLEAR,
            Self::InFrontOf => a.y - b.y > CLEAR,
            Self::Behind => b.y - a.y > CLEAR,
        }
    }
}

impl Place {
    /// Whether the object clearly stands there; between the thirds no place holds.
    pub fn holds(self, object: &Object) -> bool {
        match self {
            Self::Left => object.x < 0.35,
            Self::Middle => (object.x - 0.5).abs() < 0.1,
            Self::Right => object.x > 0.65,
        }
    }
}

impl Fact {
    /// Whether it is true of a scene; for tests, because captions are true by construction.
    #[cfg(test)]
    pub fn holds(&self, scene: &Scene) -> bool {
        let objects = &scene.objects;
        match self {
            Self::Some(noun) => noun.count(scene) > 0,
            Self::Exactly(count, noun) => noun.count(scene) == *count,
            // Every relation needs a distance, so no object is related to itself.
            Self::Related(noun, relation, other) => objects
                .iter()
                .any(|a| noun.fits(a) && objects.iter().any(|b| other.fits(b) && relation.holds(a, b))),
            Self::At(noun, place) => objects.iter().any(|object| noun.fits(object) && place.holds(object)),
            Self::Setting(background) => scene.background == *background,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small red ball on the left, a large red cube behind it on the right.
    fn scene() -> Scene {
        let look =
            Look { size: Size::Small, texture: Texture::Plain, colour: Colour::Red, shape: Shape::Ball };
        let cube = Look { size: Size::Large, shape: Shape::Cube, ..look };
        let objects = vec![Object { look, x: 0.2, y: 0.9 }, Object { look: cube, x: 0.8, y: 0.6 }];
        Scene { objects, background: Background::Snow }
    }

    #[test]
    fn facts_hold_as_read() {
        let red = Noun { colour: Some(Colour::Red), ..Noun::ANY };
        let ball = Noun { shape: Some(Shape::Ball), ..Noun::ANY };
        let cube = Noun { shape: Some(Shape::Cube), ..red };
        for (fact, truth) in [
            (Fact::Some(red), true),
            (Fact::Exactly(2, red), true),
            (Fact::Exactly(1, red), false),
            (Fact::Exactly(1, ball), true),
            (Fact::Related(ball, Relation::LeftOf, cube), true),
            (Fact::Related(cube, Relation::LeftOf, ball), false),
            (Fact::Related(cube, Relation::Behind, red), true),
            (Fact::Related(ball, Relation::LeftOf, ball), false),
            (Fact::At(ball, Place::Left), true),
            (Fact::At(cube, Place::Middle), false),
            (Fact::Setting(Background::Snow), true),
            (Fact::Setting(Background::Sand), false),
        ] {
            assert_eq!(fact.holds(&scene()), truth, "{fact:?}");
        }
    }
}
