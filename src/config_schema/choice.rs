//! `choice!`: an enum with one word for each value, in configuration files, in JSON and in tables.

/// Declares the enum and its words. It gets `ALL`, `WORDS`, `word`, `of`, `about`, `Display`, serde's traits
/// by those words, and may be the type of a key. `"word" | "alias"` reads a second word for the same value.
macro_rules! choice {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal $(| $alias:literal)*,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[doc = $doc])* #[serde(rename = $word $(, alias = $alias)*)] $variant,)+ }

        #[allow(dead_code, reason = "not every enum needs all of them")]
        impl $name {
            /// All values in order.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];
            /// The words of all values in order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for this value.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value of a word.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|value| value.word() == word)
            }

            /// What this value means.
            pub fn about(self) -> String {
                match self { $(Self::$variant => $crate::config_schema::text_of(&[$($doc),*]),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl $crate::config_schema::Setting for $name {
            type Limits = ();

            fn allowed((): ()) -> $crate::config_schema::Allowed {
                let about = || Self::ALL.map(Self::about).into();
                $crate::config_schema::Allowed::OneOf { words: Self::WORDS, about }
            }
        }
    };
}

pub(crate) use choice;
