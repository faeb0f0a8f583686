//! The guide, one page a module. Its Rust examples are tested with the crate.
//!
//! | page | what it tells |
//! |---|---|
//! | [`concepts`] | the words and the ideas; start here |
//! | [`own_data`] | your own photos, captions, embeddings and encoder |
//! | [`search`] | a folder of photos, the search store, additions, queries |
//! | [`evaluation`] | how to read a table, TREC files, statistics |
//! | [`training`] | training the decoder, tuning the encoder |
//! | [`reliability`] | what is never overwritten, locks, caches, limits on outside files |
//! | [`several_machines`] | several processes, several GPUs |
//! | [`encoders`] | layouts that load, parity with other libraries, a CLIP from nothing |
//! | [`recipes`] | published term → key → file |
//! | [`library`] | the Rust API |
//! | [`results`] | every number: command, commit, split, regime, seeds; the ledger of looks at test splits |
//! | [`ablations`] | what each term is worth, and what was tried in vain |
//! | [`building`] | features, build profiles, what each dependency costs |
//! | [`configuration`] | every key |

/// Where the pages' links lead in this book. The pages end with the same names for readers of the files; of two
/// definitions Markdown takes the first.
macro_rules! links {
    () => {
        "[concepts]: crate::guide::concepts\n\
         [own_data]: crate::guide::own_data\n\
         [evaluation]: crate::guide::evaluation\n\
         [search]: crate::guide::search\n\
         [training]: crate::guide::training\n\
         [several_machines]: crate::guide::several_machines\n\
         [encoders]: crate::guide::encoders\n\
         [recipes]: crate::guide::recipes\n\
         [library]: crate::guide::library\n\
         [results]: crate::guide::results\n\
         [ablations]: crate::guide::ablations\n\
         [building]: crate::guide::building\n\
         [reliability]: crate::guide::reliability\n\
         [configuration]: crate::guide::configuration\n"
    };
}

macro_rules! pages {
    ($($name:ident = $file:literal,)+) => {
        $(
            #[doc = links!()]
            #[doc = ""]
            #[doc = include_str!($file)]
            pub mod $name {}
        )+
    };
}

pages! {
    concepts = "concepts.md",
    own_data = "own_data.md",
    evaluation = "evaluation.md",
    search = "search.md",
    training = "training.md",
    several_machines = "several_machines.md",
    encoders = "encoders.md",
    recipes = "recipes.md",
    library = "library.md",
    results = "results.md",
    ablations = "ablations.md",
    building = "building.md",
    reliability = "reliability.md",
    configuration = "configuration.md",
}
