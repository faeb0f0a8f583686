//! Chooses the facts that each of a scene's five captions states.
//!
//! `scene` → facts (here) → English (`caption_text`). Some captions state everything, others omit most, as
//! people do. A partial caption fits several scenes of a corpus, so even a perfect reader does not find every
//! image. The tests check the R@1 of such a reader, and that every caption is true.

use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::caption_facts::{Detail, Fact, Noun, Place, Relation};
use super::caption_text::sentence;
use super::scene::{Object, Scene, any};
use crate::rng::Rng;

/// A way to choose the facts of a caption.
type Style = fn(&Scene, &mut Rng) -> Vec<Fact>;
/// A caption with the facts it states.
type Stated = (Vec<Fact>, String);

/// One style for each of an image's captions, the most detailed first.
const STYLES: [Style; 5] = [everything, list, relation, tally, focus];
/// Every attribute.
const ALL: Detail = Detail { size: true, texture: true, colour: true, shape: true };
/// Probability that a caption with optional background mentions it.
const SETTING: f64 = 0.7;

/// Five different captions of a scene: lower-case English of at most 30 words each. The first states all
/// attributes of all objects; the others list them in less detail, relate two, count them, or describe one.
///
/// # Panics
/// When the scene has no object, or more than four: [`Scene::sample`] makes no such scene.
pub fn captions(scene: &Scene, rng: &mut Rng) -> [String; 5] {
    stated(scene, rng).map(|(_, text)| text)
}

/// The captions with the facts they state.
fn stated(scene: &Scene, rng: &mut Rng) -> [Stated; 5] {
    let mut texts: Vec<String> = Vec::with_capacity(STYLES.len());
    STYLES.map(|style| {
        // In a simple scene two styles may give the same text; another draw of synonyms makes them differ.
        loop {
            let facts = style(scene, rng);
            let text = sentence(&facts, rng);
            if !texts.contains(&text) {
                texts.push(text.clone());
                return (facts, text);
            }
        }
    })
}

/// All attributes of all objects, and where they are.
fn everything(scene: &Scene, rng: &mut Rng) -> Vec<Fact> {
    with_setting(groups(scene, ALL, rng), scene, rng, 1.0)
}

/// All objects, in less detail.
fn list(scene: &Scene, rng: &mut Rng) -> Vec<Fact> {
    let detail = some_detail(rng);
    with_setting(groups(scene, detail, rng), scene, rng, SETTING)
}

/// The position of one object relative to another; for a single object as [`focus`].
fn relation(scene: &Scene, rng: &mut Rng) -> Vec<Fact> {
    let objects = &scene.objects;
    let pairs = objects.iter().flat_map(|a| objects.iter().map(move |b| (a, b)));
    let related: Vec<_> = pairs
        .flat_map(|(a, b)| Relation::ALL.iter().map(move |&relation| (a, relation, b)))
        .filter(|(a, relation, b)| relation.holds(a, b))
        .collect();
    let Some(&(a, relation, b)) = related.choose(rng) else { return focus(scene, rng) };
    let mut noun = |object: &Object| Noun::new(&object.look, some_detail(rng));
    let fact = Fact::Related(noun(a), relation, noun(b));
    with_setting(vec![fact], scene, rng, SETTING)
}

/// The number of objects, and some of them in little detail.
fn tally(scene: &Scene, rng: &mut Rng) -> Vec<Fact> {
    let mut some = groups(scene, Detail { shape: true, ..some_detail(rng) }, rng);
    some.truncate(rng.random_range(1..=2));
    some.insert(0, Fact::Exactly(scene.objects.len(), Noun::ANY));
    with_setting(some, scene, rng, SETTING)
}

/// All attributes of one object, and its place if that is clear.
fn focus(scene: &Scene, rng: &mut Rng) -> Vec<Fact> {
    let object = any(&scene.objects, rng);
    let noun = Noun::new(&object.look, ALL);
    let place = Place::ALL.iter().find(|place| place.holds(&object));
    let fact = place.map_or(Fact::Some(noun), |&place| Fact::At(noun, place));
    with_setting(vec![fact], scene, rng, SETTING)
}

/// The objects in random order; those that look alike in this detail form a group: "two red cubes". An
/// article means at least one, a number means exactly so many.
fn groups(scene: &Scene, detail: Detail, rng: &mut Rng) -> Vec<Fact> {
    let mut nouns: Vec<Noun> = Vec::new();
    for object in &scene.objects {
        let noun = Noun::new(&object.look, detail);
        if !nouns.contains(&noun) {
            nouns.push(noun);
        }
    }
    nouns.shuffle(rng);
    let fact = |noun: Noun| match noun.count(scene) {
        1 => Fact::Some(noun),
        count => Fact::Exactly(count, noun),
    };
    nouns.into_iter().map(fact).collect()
}

/// A random detail that includes the shape or the colour.
fn some_detail(rng: &mut Rng) -> Detail {
    let shape = rng.random_bool(0.85);
    let colour = !shape || rng.random_bool(0.85);
    Detail { size: rng.random_bool(0.5), texture: rng.random_bool(0.5), colour, shape }
}

/// Adds the background to the facts with this probability.
fn with_setting(mut facts: Vec<Fact>, scene: &Scene, rng: &mut Rng, often: f64) -> Vec<Fact> {
    facts.extend(rng.random_bool(often).then_some(Fact::Setting(scene.background)));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use std::collections::BTreeSet;

    /// Scenes of the default corpus with their captions and the facts stated.
    fn corpus(count: u64) -> Vec<(Scene, [Stated; 5])> {
        let one = |index| {
            let mut rng = stream(0, "scene", index);
            let scene = Scene::sample(&mut rng);
            let stated = stated(&scene, &mut rng);
            (scene, stated)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn every_caption_is_true_short_and_unlike_its_siblings() {
        for (scene, stated) in corpus(5_000) {
            let texts: BTreeSet<_> = stated.iter().map(|(_, text)| text).collect();
            assert_eq!(texts.len(), 5, "{texts:?}");
            for (facts, text) in &stated {
                assert!(facts.iter().all(|fact| fact.holds(&scene)), "{text} is not true of {scene:?}");
                assert!(text.split(' ').count() <= 30, "{text}");
                assert_eq!(*text, text.to_lowercase());
            }
        }
    }

    #[test]
    fn the_vocabulary_is_small() {
        let corpus = corpus(3_000);
        let texts = corpus.iter().flat_map(|(_, stated)| stated).map(|(_, text)| text.as_str());
        let words: BTreeSet<_> = texts.flat_map(|text| text.split([' ', ',', ':'])).collect();
        assert!((60..=120).contains(&words.len()), "{}: {words:?}", words.len());
    }

    /// A perfect reader picks at random among the scenes for which all facts of a caption hold.
    #[test]
    fn a_perfect_reader_finds_most_images_but_not_all() {
        let corpus = corpus(1_000);
        let mut recall = [0.0f64; 5];
        for (style, sum) in recall.iter_mut().enumerate() {
            for (_, stated) in &corpus {
                let facts = &stated[style].0;
                let fitting = corpus.iter().filter(|(scene, _)| facts.iter().all(|fact| fact.holds(scene)));
                *sum += 1e-3 / fitting.count() as f64;
            }
        }
        let mean = recall.iter().sum::<f64>() / 5.0;
        println!("a perfect reader's R@1 by style {recall:.3?}, mean {mean:.3}");
        assert!((0.70..0.90).contains(&mean), "mean {mean:.3}, by style {recall:.3?}");
        assert!(recall[0] > 0.97, "the full captions name their image: {recall:.3?}");
    }
}
