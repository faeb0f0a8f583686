//! Captions as JSON states them: one text or a list, under `captions` or `caption`; nothing as null, NaN or "".

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// The captions under one key. A caption that is null or NaN is an empty text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Captions(pub Vec<String>);

/// One caption; null and NaN are an empty text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption(pub String);

/// The captions of two keys, and whether both held some.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Those that count.
    pub captions: Vec<String>,
    /// Whether `caption` held others, which do not count.
    pub passed_over: bool,
}

impl Chosen {
    /// Captions that are not from JSON.
    pub fn plain(captions: Vec<String>) -> Self {
        Self { captions, passed_over: false }
    }

    /// Whether one of the captions is more than white space.
    pub fn has_text(&self) -> bool {
        has_text(&self.captions)
    }
}

impl Captions {
    /// Whether one of the captions is more than white space.
    pub fn has_text(&self) -> bool {
        has_text(&self.0)
    }

    /// The captions under `captions`, or under `caption` if those have no text.
    pub fn choose(captions: Option<Self>, caption: Option<Self>) -> Chosen {
        let (captions, caption) = (captions.unwrap_or_default(), caption.unwrap_or_default());
        let passed_over = captions.has_text() && caption.has_text();
        let first = captions.has_text() || !caption.has_text() && !captions.0.is_empty();
        Chosen { captions: if first { captions.0 } else { caption.0 }, passed_over }
    }
}

/// Whether one of these captions is more than white space.
pub fn has_text(captions: &[String]) -> bool {
    captions.iter().any(|caption| !caption.trim().is_empty())
}

impl<'de> Deserialize<'de> for Caption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneCaption)
    }
}

impl<'de> Deserialize<'de> for Captions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyCaptions)
    }
}

/// `{}` stands for NaN ([`json`](crate::data::json)); any other object is refused.
fn nothing<'de, A: MapAccess<'de>>(mut map: A, expected: &dyn serde::de::Expected) -> Result<(), A::Error> {
    match map.next_key::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(A::Error::invalid_type(Unexpected::Map, expected)),
    }
}

struct OneCaption;

impl<'de> Visitor<'de> for OneCaption {
    type Value = Caption;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a caption, which is a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Caption, E> {
        Ok(Caption(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Caption, E> {
        Ok(Caption(String::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Caption, A::Error> {
        nothing(map, &self).map(|()| Caption(String::new()))
    }
}

struct ManyCaptions;

impl<'de> Visitor<'de> for ManyCaptions {
    type Value = Captions;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a caption or a list of captions, which are texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Captions, E> {
        Ok(Captions(vec![text.to_owned()]))
    }

    fn visit_unit<E>(self) -> Result<Captions, E> {
        Ok(Captions::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Captions, A::Error> {
        let mut captions = Vec::new();
        while let Some(Caption(caption)) = list.next_element()? {
            captions.push(caption);
        }
        Ok(Captions(captions))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Captions, A::Error> {
        nothing(map, &self).map(|()| Captions::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::json;

    #[derive(Deserialize)]
    struct Keys {
        captions: Option<Captions>,
        caption: Option<Captions>,
    }

    fn chosen(text: &str) -> Result<Chosen, String> {
        let keys: Keys = json::read(text.as_bytes()).map_err(|fault| fault.to_string())?;
        Ok(Captions::choose(keys.captions, keys.caption))
    }

    #[test]
    fn captions_come_before_caption_and_nothing_is_as_absent() {
        for (text, captions, passed_over) in [
            (r#"{"captions": ["a", "b"], "caption": "c"}"#, &["a", "b"][..], true),
            (r#"{"captions": [], "caption": "c"}"#, &["c"], false),
            (r#"{"captions": null, "caption": ["c", null]}"#, &["c", ""], false),
            (r#"{"captions": "a", "caption": ""}"#, &["a"], false),
            (r#"{"captions": [" "], "caption": NaN}"#, &[" "], false),
            (r#"{"caption": NaN}"#, &[], false),
            ("{}", &[], false),
        ] {
            let captions = captions.iter().map(|&caption| caption.to_owned()).collect();
            assert_eq!(chosen(text).unwrap(), Chosen { captions, passed_over }, "{text}");
        }
        for wrong in [r#"{"captions": 7}"#, r#"{"captions": [7]}"#, r#"{"captions": [{"raw": "a"}]}"#] {
            assert!(chosen(wrong).unwrap_err().contains("invalid type"), "{wrong}");
        }
    }
}
