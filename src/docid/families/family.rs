//! A family as a value of the configuration key `index.family` and of an index file: its name.

use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{DocidFamily, FAMILIES};
use crate::config_schema::{Allowed, Literal, Setting};

/// The names of all families.
static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| FAMILIES.iter().map(|family| family.name()).collect());

/// One of [`FAMILIES`].
#[derive(Clone, Copy)]
pub struct Family(&'static dyn DocidFamily);

impl Family {
    /// The family of this name.
    pub fn of(name: &str) -> Option<Self> {
        FAMILIES.iter().find(|family| family.name() == name).map(|&family| Self(family))
    }
}

impl Deref for Family {
    type Target = dyn DocidFamily;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Family {}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Family({:?})", self.name())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::of(&name).ok_or_else(|| de::Error::unknown_variant(&name, &NAMES))
    }
}

impl Setting for Family {
    type Limits = ();

    fn allowed((): ()) -> Allowed {
        let about = || FAMILIES.iter().map(|family| family.about().to_owned()).collect();
        Allowed::OneOf { words: &NAMES, about }
    }
}

impl Literal for Family {
    type Written = &'static str;

    fn of(written: &'static str) -> Self {
        Self::of(written).expect("invariant: the default is a family of the table")
    }
}

/// The names of the families for which `holds`, quoted, as a list in a message: `"rq" or "learned"`.
pub fn names_where(holds: impl Fn(Family) -> bool) -> String {
    let families = FAMILIES.iter().map(|&family| Family(family)).filter(|family| holds(*family));
    let names: Vec<String> = families.map(|family| format!("\"{family}\"")).collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_survive_a_file() {
        for name in NAMES.iter() {
            let text = serde_json::to_string(&Family::of(name)).unwrap();
            assert_eq!(text, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Family>(&text).unwrap().name(), *name);
            assert_eq!(NAMES.iter().filter(|other| *other == name).count(), 1);
        }
        let error = serde_json::from_str::<Family>("\"other\"").unwrap_err().to_string();
        assert!(error.starts_with("unknown variant `other`, expected one of `atomic`"), "{error}");
    }

    #[test]
    fn messages_name_families_by_what_they_offer() {
        assert_eq!(names_where(|family| family.has_codebooks()), "\"rq\" or \"learned\"");
        assert_eq!(names_where(|family| family.codes_are_unique()), "\"learned\"");
    }
}
