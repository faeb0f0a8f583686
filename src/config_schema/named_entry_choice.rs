//! `named_entry_choice!`: a word of a configuration file that names an entry of a table.

/// Declares a type whose values are the entries of a static table. It takes an iterator over the entries,
/// which have methods `name()` and `about()`. The type derefs to the entry, has `of`, `words`, `Display` and
/// serde's traits by the names, and may be the type of a key. So a new entry of the table is a new word,
/// without further lines.
macro_rules! named_entry_choice {
    ($(#[$about:meta])* $name:ident: $entry:ty = $entries:expr;) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub struct $name(&'static $entry);

        impl $name {
            /// The entry of this name.
            pub fn of(name: &str) -> Option<Self> {
                $entries.map(Self).find(|entry| entry.name() == name)
            }

            /// The names of all entries, in the order of the table.
            pub fn words() -> &'static [&'static str] {
                static WORDS: std::sync::LazyLock<Vec<&'static str>> =
                    std::sync::LazyLock::new(|| $entries.map(|entry| entry.name()).collect());
                &WORDS
            }
        }

        impl std::ops::Deref for $name {
            type Target = $entry;

            fn deref(&self) -> &Self::Target {
                self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.name() == other.name()
            }
        }

        impl Eq for $name {}

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::of(&name).ok_or_else(|| serde::de::Error::unknown_variant(&name, Self::words()))
            }
        }

        impl $crate::config_schema::Literal for $name {
            type Written = &'static str;

            fn of(name: &'static str) -> Self {
                Self::of(name).expect("invariant: a default names an entry of the table")
            }
        }

        impl $crate::config_schema::Setting for $name {
            type Limits = ();

            fn allowed((): ()) -> $crate::config_schema::Allowed {
                let about = || $entries.map(|entry| entry.about().to_owned()).collect();
                $crate::config_schema::Allowed::OneOf { words: Self::words(), about }
            }
        }
    };
}

pub(crate) use named_entry_choice;
