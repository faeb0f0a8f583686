//! Turns facts into English: synonyms, plurals, openings, the background first or last.
//!
//! This is the second half of `caption`. It does not see the scene, only the facts.

use rand::Rng as _;

use super::caption_facts::{Fact, Noun};
use super::scene::any;
use crate::rng::Rng;

/// Probability of the plainest word.
const PLAINEST: f64 = 0.5;
/// The number words.
const NUMBERS: [&str; 5] = ["no", "one", "two", "three", "four"];
/// The text before the first object if the background is not there; "there" gets a verb that agrees in
/// number.
const OPENINGS: [&str; 6] = ["", "", "there", "a picture of", "a scene with", "we see"];

/// One sentence that states the facts, in their order. A fact about all objects, if any, comes first; the
/// background, if any, last.
pub(super) fn sentence(facts: &[Fact], rng: &mut Rng) -> String {
    let (setting, things) = match facts {
        [things @ .., Fact::Setting(background)] => (Some(word(background.words(), rng)), things),
        things => (None, things),
    };
    let body = body(things, rng);
    let there = if matches!(things, [Fact::Exactly(2.., _), ..]) { "there are" } else { "there is" };
    let after_place = matches!(things, [.., Fact::At(..)]);
    let sentence = match setting {
        Some(setting) if rng.random_bool(0.3) => format!("{setting}, {} {body}", any(&["", there], rng)),
        Some(setting) => {
            format!("{} {body}{} {setting}", opening(there, rng), if after_place { "," } else { "" })
        }
        None => format!("{} {body}", opening(there, rng)),
    };
    sentence.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A random opening, possibly empty.
fn opening(there: &'static str, rng: &mut Rng) -> &'static str {
    match any(&OPENINGS, rng) {
        "there" => there,
        opening => opening,
    }
}

/// The objects: "three objects: two red cubes and a ball".
fn body(things: &[Fact], rng: &mut Rng) -> String {
    let (total, parts) = match things {
        [Fact::Exactly(count, Noun::ANY), parts @ ..] => (Some(*count), parts),
        parts => (None, parts),
    };
    let phrases: Vec<String> = parts.iter().map(|fact| phrase(fact, rng)).collect();
    let parts_counted: usize =
        parts.iter().map(|fact| if let Fact::Exactly(n, _) = fact { *n } else { 1 }).sum();
    let listed = enumerate(&phrases);
    match total {
        None => listed,
        Some(1) => format!("{}, {listed}", any(&["a single object", "only one object"], rng)),
        Some(count) if count == parts_counted => format!("{}: {listed}", counted(count, &Noun::ANY, rng)),
        Some(count) => {
            let among = any(&["including", "among them"], rng);
            format!("{}, {among} {listed}", counted(count, &Noun::ANY, rng))
        }
    }
}

/// "a", "a and b", "a, b and c".
fn enumerate(phrases: &[String]) -> String {
    match phrases {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        phrases => phrases.concat(),
    }
}

/// One fact about objects.
fn phrase(fact: &Fact, rng: &mut Rng) -> String {
    match fact {
        Fact::Some(noun) => single(noun, rng),
        Fact::Exactly(count, noun) => counted(*count, noun, rng),
        Fact::Related(noun, relation, other) => {
            let relation = word(relation.words(), rng);
            let first = single(noun, rng);
            let second =
                if noun == other { format!("another {}", described(other, rng)) } else { single(other, rng) };
            format!("{first} {relation} {second}")
        }
        Fact::At(noun, place) => format!("{} {}", single(noun, rng), word(place.words(), rng)),
        Fact::Setting(background) => word(background.words(), rng).to_owned(),
    }
}

/// "a red cube", "an orange ball".
fn single(noun: &Noun, rng: &mut Rng) -> String {
    let described = described(noun, rng);
    let article = if described.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {described}")
}

/// "two red cubes".
fn counted(count: usize, noun: &Noun, rng: &mut Rng) -> String {
    let plural = if count == 1 { "" } else { "s" };
    let number = NUMBERS.get(count).expect("invariant: a scene has at most four objects");
    format!("{number} {}{plural}", described(noun, rng))
}

/// The adjectives in English order, then the noun; an omitted shape is an "object".
fn described(noun: &Noun, rng: &mut Rng) -> String {
    let said = [
        noun.size.map(|size| size.words()),
        noun.texture.map(|texture| texture.words()),
        noun.colour.map(|colour| colour.words()),
        Some(noun.shape.map_or(&["object", "thing"], |shape| shape.words())),
    ];
    said.into_iter().flatten().map(|words| word(words, rng)).collect::<Vec<_>>().join(" ")
}

/// One of the words for a thing, most often the plainest.
fn word(words: &'static [&'static str], rng: &mut Rng) -> &'static str {
    if rng.random_bool(PLAINEST) { words[0] } else { any(words, rng) }
}

#[cfg(test)]
mod tests {
    use super::super::caption_facts::{Place, Relation};
    use super::super::scene::{Background, Colour, Shape, Size};
    use super::*;
    use crate::rng::stream;
    use std::collections::BTreeSet;

    /// All sentences for these facts in many draws.
    fn sentences(facts: &[Fact]) -> BTreeSet<String> {
        (0..2_000).map(|index| sentence(facts, &mut stream(0, "grammar", index))).collect()
    }

    #[test]
    fn sentences_are_english() {
        let cone = Noun {
            size: Some(Size::Large),
            colour: Some(Colour::Red),
            shape: Some(Shape::Cone),
            ..Noun::ANY
        };
        let orange = Noun { colour: Some(Colour::Orange), ..Noun::ANY };
        let all = Fact::Exactly(3, Noun::ANY);
        for (facts, expected) in [
            (vec![Fact::Some(orange)], "there is an orange object"),
            (
                vec![Fact::Exactly(2, cone), Fact::Some(orange)],
                "there are two big red cones and an orange thing",
            ),
            (vec![Fact::Related(cone, Relation::Behind, orange)], "a large red cone behind an orange object"),
            (
                vec![Fact::At(cone, Place::Left), Fact::Setting(Background::Night)],
                "a large red cone on the left, at night",
            ),
            (vec![all, Fact::Exactly(2, cone)], "three objects, including two large red cones"),
            (
                vec![all, Fact::Exactly(2, cone), Fact::Some(orange)],
                "three things: two large red cones and an orange object",
            ),
            (vec![Fact::Exactly(1, Noun::ANY), Fact::Some(cone)], "a single object, a large red cone"),
            (
                vec![Fact::Some(cone), Fact::Setting(Background::Sand)],
                "in the desert, there is a large red cone",
            ),
        ] {
            let sentences = sentences(&facts);
            assert!(sentences.contains(expected), "{expected:?} is not among {sentences:?}");
        }
    }

    #[test]
    fn lists_are_joined_by_commas_and_one_and() {
        let joined = |phrases: &[&str]| enumerate(&phrases.iter().map(|p| p.to_string()).collect::<Vec<_>>());
        assert_eq!(joined(&["a"]), "a");
        assert_eq!(joined(&["a", "b", "c"]), "a, b and c");
    }
}
