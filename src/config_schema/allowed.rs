//! The values that a key takes.

use std::fmt;

use toml::Value;

use crate::home_folder;

/// What a key allows. All bounds are inclusive.
#[derive(Debug, Clone, Copy)]
pub enum Allowed {
    /// A whole number.
    Count(i64, i64),
    /// A finite number; whole ones are taken too.
    Real(f64, f64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf {
        /// The words.
        words: &'static [&'static str],
        /// What each of them means.
        about: fn() -> Vec<String>,
    },
    /// A path. A `~` at its start becomes the home folder.
    Path {
        /// Whether it may be empty.
        may_be_empty: bool,
    },
    /// A text that passes a check.
    Text {
        /// The check.
        holds: fn(&str) -> bool,
        /// What the check accepts, in words.
        words: &'static str,
        /// Whether a number is taken as the text that it is written with.
        numbers: bool,
    },
}

impl Allowed {
    /// The value as the key's type holds it: a whole number becomes a float, and a number a text, for keys of
    /// those types. `None` for a value of another type, and for one that is not allowed: NaN and infinities
    /// never are.
    pub fn admit(&self, value: &Value) -> Option<Value> {
        let value = self.converted(value);
        self.accepts(&value).then_some(value)
    }

    fn converted(&self, value: &Value) -> Value {
        match (self, value) {
            (Self::Real(..), Value::Integer(whole)) => Value::Float(*whole as f64),
            (Self::Path { .. }, Value::String(path)) => {
                Value::String(home_folder::expand(path).unwrap_or_else(|| path.clone()))
            }
            (Self::Text { numbers: true, .. }, Value::Integer(_) | Value::Float(_)) => {
                Value::String(value.to_string())
            }
            _ => value.clone(),
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Count(low, high), Value::Integer(x)) => (low..=high).contains(&x),
            (Self::Real(low, high), Value::Float(x)) => (low..=high).contains(&x),
            (Self::Flag, Value::Boolean(_)) => true,
            (Self::OneOf { words, .. }, Value::String(x)) => words.contains(&x.as_str()),
            (Self::Path { may_be_empty }, Value::String(x)) => {
                (*may_be_empty || !x.is_empty()) && !x.contains(char::is_control) && !x.starts_with('~')
            }
            (Self::Text { holds, .. }, Value::String(x)) => holds(x),
            _ => false,
        }
    }

    /// Whether the key holds text: then `--set` needs no quotes, whatever the text looks like.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::OneOf { .. } | Self::Path { .. } | Self::Text { .. })
    }

    /// TOML's name for the type of the value.
    pub fn toml_type(&self) -> &'static str {
        match self {
            Self::Count(..) => "integer",
            Self::Real(..) => "float",
            Self::Flag => "boolean",
            Self::OneOf { .. } | Self::Path { .. } | Self::Text { .. } => "string",
        }
    }
}

impl fmt::Display for Allowed {
    /// What is allowed, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Real(low, high) => write!(f, "a number from {low} to {high}"),
            Self::Flag => write!(f, "true or false"),
            Self::OneOf { words, .. } => write!(f, "\"{}\"", words.join("\", \"")),
            Self::Path { may_be_empty: true } => write!(f, "a path without control characters, or nothing"),
            Self::Path { may_be_empty: false } => write!(f, "a path without control characters"),
            Self::Text { words, .. } => write!(f, "{words}"),
        }
    }
}
