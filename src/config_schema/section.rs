//! `section!`: a struct of the configuration, its defaults and its [`Key`]s, each key written once.

use std::ops::RangeInclusive;

use super::{Allowed, Key};

/// A struct that `section!` declares.
pub trait Section {
    /// What the section is about, in a sentence or two.
    fn about() -> String;
    /// Its keys in the order of the declaration; names are without the section's.
    fn keys() -> Vec<Key>;
    /// The name and [`Section::about`] of the sections below it.
    fn sections() -> Vec<(&'static str, String)>;
}

/// A type of values of keys.
pub trait Setting {
    /// The type of the range written after `in`; `()` if the type needs no range.
    type Limits;
    /// The values that a key with these limits takes.
    fn allowed(limits: Self::Limits) -> Allowed;
}

/// A type whose defaults are written as literals. (Those of an enum are written as the name of a variant.)
pub trait Literal {
    /// The type of the literal.
    type Written;
    /// The value of the literal.
    fn of(written: Self::Written) -> Self;
}

/// Declares a section; see the head of [`crate::config_schema`]. A block `includes { field: Type; }` after
/// the keys holds structs that are sections too: their keys are keys of this section. A block `sections {
/// name: Type; }` makes it the root, whose keys are its own and those of the sections.
///
/// (Serde cannot refuse unknown keys together with `flatten`; the configuration refuses them before.)
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident affects $effects:tt {
            $(
                $(#[doc = $doc:literal])*
                $key:ident: $kind:ty = $default:tt $(in $limits:expr)? $(, affects $own:tt)?;
            )*
        }
        $(includes { $($(#[doc = $part_doc:literal])* $part:ident: $part_kind:ty;)* })?
        $(sections { $($(#[doc = $section_doc:literal])* $section:ident: $section_kind:ty;)* })?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[doc = $doc])* pub $key: $kind,)*
            $($($(#[doc = $part_doc])* #[serde(flatten)] pub $part: $part_kind,)*)?
            $($($(#[doc = $section_doc])* pub $section: $section_kind,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($key: $crate::config_schema::section!(@default $kind, $default),)*
                    $($($part: Default::default(),)*)?
                    $($($section: Default::default(),)*)?
                }
            }
        }

        impl $crate::config_schema::Section for $name {
            fn about() -> String {
                $crate::config_schema::text_of(&[$($about),*])
            }

            fn keys() -> Vec<$crate::config_schema::Key> {
                let own = [$($crate::config_schema::Key {
                    name: stringify!($key).to_owned(),
                    allowed: <$kind as $crate::config_schema::Setting>::allowed(
                        $crate::config_schema::section!(@limits $($limits)?)
                    ),
                    affects: $crate::config_schema::effects!($($own)? $effects),
                    about: $crate::config_schema::text_of(&[$($doc),*]),
                }),*];
                own.into_iter()
                    $($(.chain(<$part_kind as $crate::config_schema::Section>::keys()))*)?
                    $($(.chain($crate::config_schema::keys_of::<$section_kind>(stringify!($section))))*)?
                    .collect()
            }

            fn sections() -> Vec<(&'static str, String)> {
                vec![$($((
                    stringify!($section),
                    <$section_kind as $crate::config_schema::Section>::about(),
                )),*)?]
            }
        }
    };
    (@default $kind:ty, $written:literal) => { <$kind as $crate::config_schema::Literal>::of($written) };
    (@default $kind:ty, $variant:ident) => { <$kind>::$variant };
    (@limits) => { () };
    (@limits $limits:expr) => { $limits };
}

pub(crate) use section;

/// The keys of a section of this name.
pub fn keys_of<S: Section>(name: &str) -> impl Iterator<Item = Key> + use<S> {
    let name = name.to_owned();
    S::keys().into_iter().map(move |key| key.in_section(&name))
}

/// Whole numbers: any range of what TOML can hold.
macro_rules! whole_numbers {
    ($($kind:ty),*) => {$(
        impl Setting for $kind {
            type Limits = RangeInclusive<i64>;

            fn allowed(range: RangeInclusive<i64>) -> Allowed {
                Allowed::Count(*range.start(), *range.end())
            }
        }
    )*};
}

/// Types that are their own literals.
macro_rules! plain_literals {
    ($($kind:ty),*) => {$(
        impl Literal for $kind {
            type Written = Self;

            fn of(written: Self) -> Self {
                written
            }
        }
    )*};
}

whole_numbers!(usize, u64);
plain_literals!(usize, u64, f64, bool);

impl Setting for f64 {
    type Limits = RangeInclusive<f64>;

    fn allowed(range: RangeInclusive<f64>) -> Allowed {
        Allowed::Real(*range.start(), *range.end())
    }
}

impl Setting for bool {
    type Limits = ();

    fn allowed((): ()) -> Allowed {
        Allowed::Flag
    }
}

impl Setting for String {
    type Limits = Allowed;

    fn allowed(text: Allowed) -> Allowed {
        text
    }
}

impl Literal for String {
    type Written = &'static str;

    fn of(written: &'static str) -> Self {
        written.to_owned()
    }
}
