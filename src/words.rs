//! `words!`: an enum with one word for each value, in JSON as in tables.

/// An enum whose values have one word each, in the JSON as in tables.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $value,)+ }

        impl $name {
            /// All values in order.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// Its word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }

            /// The value of this word.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

pub(crate) use words;
