//! A family as a value of the configuration key `index.family` and of an index file: its name.

use super::{DocidFamily, FAMILIES};
use crate::config_schema::named_entry_choice;

named_entry_choice! {
    /// How an image gets its docid: one of [`FAMILIES`].
    Family: dyn DocidFamily = FAMILIES.iter().copied();
}

/// The names of the families for which `holds`, quoted, as a list in a message: `"rq" or "learned"`.
pub fn names_where(holds: impl Fn(Family) -> bool) -> String {
    let families = FAMILIES.iter().copied().map(Family).filter(|family| holds(*family));
    let names: Vec<String> = families.map(|family| format!("\"{family}\"")).collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_survive_a_file() {
        for name in Family::words().iter() {
            let text = serde_json::to_string(&Family::of(name)).unwrap();
            assert_eq!(text, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Family>(&text).unwrap().name(), *name);
            assert_eq!(Family::words().iter().filter(|other| *other == name).count(), 1);
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
