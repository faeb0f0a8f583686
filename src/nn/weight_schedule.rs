//! Weights that change while a model is trained.

use serde::{Deserialize, Serialize};

use crate::config_schema::{Allowed, Literal, Setting};

/// A weight over the steps of a training: one number, or points `step:weight` with straight lines between
/// them, such as `"0:0 100:0.5"`. Before the first point and after the last one it stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WeightSchedule {
    text: String,
    /// At least one; steps ascend.
    points: Vec<(f64, f64)>,
}

impl WeightSchedule {
    /// What [`WeightSchedule::parse`] accepts, in words.
    pub const ALLOWED: &'static str =
        "a weight from 0 to 1000, or weights at steps that ascend, such as \"0:0 100:0.5\"";

    /// A constant weight.
    pub fn constant(weight: f64) -> Self {
        Self { text: weight.to_string(), points: vec![(0.0, weight)] }
    }

    /// Reads a schedule; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let weight = |text: &str| text.parse::<f64>().ok().filter(|w| (0.0..=1000.0).contains(w));
        let point = |text: &str| {
            let (step, w) = text.split_once(':')?;
            Some((f64::from(step.parse::<u32>().ok()?), weight(w)?))
        };
        let points: Vec<(f64, f64)> = match weight(text.trim()) {
            Some(weight) => vec![(0.0, weight)],
            None => text.split_whitespace().map(point).collect::<Option<_>>()?,
        };
        let ascends = points.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (ascends && !points.is_empty()).then(|| Self { text: text.to_owned(), points })
    }

    /// The weight at a step.
    pub fn at(&self, step: usize) -> f64 {
        let step = step as f64;
        let after = self.points.partition_point(|&(at, _)| at <= step);
        let (Some(&(from, low)), Some(&(to, high))) =
            (self.points.get(after.wrapping_sub(1)), self.points.get(after))
        else {
            return self.points[after.min(self.points.len() - 1)].1;
        };
        low + (high - low) * (step - from) / (to - from)
    }

    /// Whether it is zero at every step.
    pub fn is_zero(&self) -> bool {
        self.points.iter().all(|&(_, weight)| weight == 0.0)
    }
}

impl Setting for WeightSchedule {
    type Limits = ();

    fn allowed((): ()) -> Allowed {
        Allowed::Text { holds: |text| Self::parse(text).is_some(), words: Self::ALLOWED, numbers: true }
    }
}

impl Literal for WeightSchedule {
    type Written = f64;

    fn of(weight: f64) -> Self {
        Self::constant(weight)
    }
}

impl TryFrom<String> for WeightSchedule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?}: allowed is {}", Self::ALLOWED))
    }
}

impl From<WeightSchedule> for String {
    fn from(schedule: WeightSchedule) -> Self {
        schedule.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_lie_on_straight_lines_between_the_points() {
        let schedule = WeightSchedule::parse("10:1 20:0 40:0.5").unwrap();
        let weights = [0, 10, 15, 20, 30, 40, 900].map(|step| schedule.at(step));
        assert_eq!(weights, [1.0, 1.0, 0.5, 0.0, 0.25, 0.5, 0.5]);
        assert_eq!(WeightSchedule::parse("0.25").unwrap().at(7), 0.25);
        assert!(WeightSchedule::parse("0:0 9:0").unwrap().is_zero());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "-1", "nan", "1001", "5:", ":1", "5:1 5:2", "9:1 3:2", "a:1", "-1:1"] {
            assert_eq!(WeightSchedule::parse(text), None, "{text}");
        }
    }
}
