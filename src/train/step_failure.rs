//! A device that fails in the middle of a training: what is kept, and how to go on.

use crate::error::Error;

/// Settings with which a step takes less memory.
pub struct MemoryAdvice {
    /// As arguments: `--set KEY=VALUE …`.
    pub settings: String,
    /// Whether steps keep their queries, so that a run may resume with these settings.
    pub keeps_queries: bool,
}

/// What a failed step reports of a tensor operation: its reason, what is saved, and what to do. Other errors say that of
/// themselves already.
pub fn explained(why: Error, step: usize, saved: usize, lighter: Option<MemoryAdvice>) -> Error {
    let Error::Tensor(reason) = &why else { return why };
    let reason = reason.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    let kept = match saved {
        0 => "nothing was saved yet".to_owned(),
        saved => format!("everything up to step {saved} is saved"),
    };
    let (again, on) = ("begin again with --force", "go on with --resume");
    let remedy = match lighter.filter(|_| is_out_of_memory(reason)) {
        Some(MemoryAdvice { settings, keeps_queries }) => {
            let how = if keeps_queries && saved > 0 { on } else { again };
            format!("the device is out of memory: {how} {settings}")
        }
        None if is_of_a_device(reason) => {
            let how = if saved > 0 { on } else { again };
            format!("{how}, on another --device if this one is lost")
        }
        None => return Error::input(format!("step {step} failed ({reason}); {kept}")),
    };
    Error::input(format!("step {step} failed ({reason}); {kept}; {remedy}"))
}

/// As CUDA's driver and cuBLAS say it.
fn is_out_of_memory(reason: &str) -> bool {
    let reason = reason.to_lowercase().replace('_', " ");
    ["out of memory", "alloc failed"].iter().any(|sign| reason.contains(sign))
}

fn is_of_a_device(reason: &str) -> bool {
    ["CUDA", "CUBLAS", "DriverError", "NCCL"].iter().any(|sign| reason.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_tells_what_is_kept_and_what_helps() {
        let text = |reason: &str, saved: usize, same: bool| {
            let why = Error::Tensor(format!("{reason}\n   0: a backtrace").into());
            let lighter = MemoryAdvice { settings: "--set train.batch=24".into(), keeps_queries: same };
            explained(why, 7, saved, Some(lighter)).to_string()
        };
        let full = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        for (saved, same, parts) in [
            (5, true, ["up to step 5", "go on with --resume --set train.batch=24"]),
            (5, false, ["up to step 5", "begin again with --force --set train.batch=24"]),
            (0, true, ["nothing was saved yet", "begin again with --force --set train.batch=24"]),
        ] {
            let text = text(full, saved, same);
            assert!(parts.iter().all(|part| text.contains(part)) && text.contains("step 7"), "{text}");
        }
        assert!(text("CUBLAS_STATUS_ALLOC_FAILED", 5, true).contains("the device is out of memory"));
        let lost = text("DriverError(CUDA_ERROR_ECC_UNCORRECTABLE)", 5, true);
        assert!(lost.contains("--resume, on another --device") && !lost.contains("backtrace"), "{lost}");
        let shapes = text("shape mismatch in add", 5, true);
        assert!(shapes.ends_with("everything up to step 5 is saved"), "{shapes}");
        assert_eq!(explained(Error::input("a photo is gone"), 7, 5, None).to_string(), "a photo is gone");
    }
}
