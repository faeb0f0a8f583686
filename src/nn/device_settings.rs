//! Where tensors live and what transformer blocks compute with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config_schema::{Allowed, Setting, choice};

choice! {
    /// The numbers that transformer blocks compute with in a training and its validations. Parameters, norms,
    /// losses and the optimiser are f32 in any case (mixed precision, Micikevicius et al. 2018), and so are
    /// the evaluation and the search of a finished run.
    Precision {
        /// bf16 on GPUs that have it, f32 elsewhere.
        Auto = "auto",
        /// 32 bits.
        F32 = "f32",
        /// 16 bits with the range of f32.
        Bf16 = "bf16",
    }
}

/// Where tensors live: `auto` (the first GPU if there is one, else the CPU), `cpu`, or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The first GPU if the program was built for one and one is there, else the CPU.
    Auto,
    /// The CPU: bit-reproducible.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl Device {
    /// What [`Device::parse`] accepts, in words.
    pub const ALLOWED: &'static str = "auto, cpu or cuda:N (N from 0 to 127)";

    /// Reads `auto`, `cpu` or `cuda:N`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            _ => text
                .strip_prefix("cuda:")?
                .parse::<u8>()
                .ok()
                .filter(|n| *n < 128)
                .map(|n| Self::Cuda(n.into())),
        }
    }
}

impl Setting for Device {
    type Limits = ();

    fn allowed((): ()) -> Allowed {
        Allowed::Text { holds: |text| Self::parse(text).is_some(), words: Self::ALLOWED, numbers: false }
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("device {text:?}: allowed is {}", Self::ALLOWED))
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:127"] {
            assert_eq!(Device::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:128", "CPU"] {
            assert_eq!(Device::parse(text), None, "{text}");
        }
    }
}
