//! A device that fails in the middle of a training: what is kept, and how to go on.

use crate::error::Error;

/// What a step reports that a device refused: the first line of its reason, what is saved, and what to do. `lighter`: the
/// settings that take less memory. Other errors say that of themselves already.
pub fn explained(why: Error, step: usize, saved: usize, lighter: &str) -> Error {
    let Error::Tensor(reason) = &why else { return why };
    let reason = reason.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    let kept = match saved {
        0 => "nothing was saved yet".to_owned(),
        saved => format!("everything up to step {saved} is saved"),
    };
    let remedy = match is_out_of_memory(reason) {
        true => format!("the device is out of memory: {lighter}"),
        false if saved > 0 => "go on with --resume, on another --device if this one is lost".to_owned(),
        false => "begin again, on another --device if this one is lost".to_owned(),
    };
    Error::input(format!("step {step} failed ({reason}); {kept}; {remedy}"))
}

/// As CUDA's driver, cuBLAS and NCCL say it.
fn is_out_of_memory(reason: &str) -> bool {
    let reason = reason.to_lowercase().replace('_', " ");
    ["out of memory", "alloc failed"].iter().any(|sign| reason.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_tells_what_is_kept_and_what_helps() {
        let text = |reason: &str, saved: usize| {
            let why = Error::Tensor(format!("{reason}\n   0: a backtrace").into());
            explained(why, 7, saved, "take train.batch=24").to_string()
        };
        let full = text("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")", 5);
        for part in ["step 7", "up to step 5", "out of memory", "train.batch=24"] {
            assert!(full.contains(part), "{full}");
        }
        assert!(
            text("CUBLAS_STATUS_ALLOC_FAILED", 0)
                .contains("nothing was saved yet; the device is out of memory")
        );
        let lost = text("DriverError(CUDA_ERROR_ECC_UNCORRECTABLE)", 5);
        assert!(
            lost.contains("--resume") && !lost.contains("train.batch") && !lost.contains("backtrace"),
            "{lost}"
        );
        assert_eq!(explained(Error::input("a photo is gone"), 7, 5, "").to_string(), "a photo is gone");
    }
}
