//! The error of a step whose tensor operations failed: its reason, what is saved, and how to go on.

use crate::error::Error;

/// Settings with which a step takes less memory.
pub struct MemoryAdvice {
    /// As arguments: `--set KEY=VALUE …`.
    pub settings: String,
    /// Whether steps keep their queries, so that a run may resume with these settings.
    pub keeps_queries: bool,
}

/// Extends the error of a tensor operation in step `step`, after a checkpoint of step `saved` (0: none).
/// Other errors stay as they are: they name their remedy.
pub fn explained(error: Error, step: usize, saved: usize, advice: Option<MemoryAdvice>) -> Error {
    let Error::Tensor(reason) = &error else { return error };
    let reason = reason.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    let kept = match saved {
        0 => "nothing was saved yet".to_owned(),
        saved => format!("everything up to step {saved} is saved"),
    };
    let failed = format!("step {step} failed ({reason}); {kept}");
    Error::input(match remedy(reason, saved, advice) {
        Some(remedy) => format!("{failed}; {remedy}"),
        None => failed,
    })
}

/// What helps, if the device is the reason.
fn remedy(reason: &str, saved: usize, advice: Option<MemoryAdvice>) -> Option<String> {
    let how_to_go_on = |resumes| match (resumes, saved) {
        (true, _) => "go on with --resume",
        (false, 0) => "begin again with",
        (false, _) => "begin another run (--out) with",
    };
    if is_out_of_memory(reason)
        && let Some(MemoryAdvice { settings, keeps_queries }) = advice
    {
        let how = how_to_go_on(keeps_queries && saved > 0);
        return Some(format!("the device is out of memory: {how} {settings}"));
    }
    let how = if saved > 0 { "go on with --resume" } else { "begin again" };
    is_of_a_device(reason).then(|| format!("{how}, on another --device if this one is lost"))
}

/// Whether CUDA's driver or cuBLAS reports that memory ran out. Their error types exist only in builds with
/// CUDA, so their texts decide.
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

    const OUT_OF_MEMORY: &str = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";

    /// The error of step 7 with this reason.
    fn text(reason: &str, saved: usize, keeps_queries: bool) -> String {
        let error = Error::Tensor(format!("{reason}\n   0: a backtrace").into());
        let advice = MemoryAdvice { settings: "--set train.batch=24".into(), keeps_queries };
        explained(error, 7, saved, Some(advice)).to_string()
    }

    #[test]
    fn out_of_memory_names_what_is_saved_and_the_settings_that_help() {
        for (saved, keeps_queries, parts) in [
            (5, true, ["up to step 5", "go on with --resume --set train.batch=24"]),
            (5, false, ["up to step 5", "begin another run (--out) with --set train.batch=24"]),
            (0, true, ["nothing was saved yet", "begin again with --set train.batch=24"]),
        ] {
            let text = text(OUT_OF_MEMORY, saved, keeps_queries);
            assert!(parts.iter().all(|part| text.contains(part)) && text.contains("step 7"), "{text}");
        }
        assert!(text("CUBLAS_STATUS_ALLOC_FAILED", 5, true).contains("the device is out of memory"));
    }

    #[test]
    fn other_failures_name_the_device_only_if_it_is_the_reason() {
        let lost = text("DriverError(CUDA_ERROR_ECC_UNCORRECTABLE)", 5, true);
        assert!(lost.contains("--resume, on another --device") && !lost.contains("backtrace"), "{lost}");
        let shapes = text("shape mismatch in add", 5, true);
        assert!(shapes.ends_with("everything up to step 5 is saved"), "{shapes}");
        assert_eq!(explained(Error::input("a photo is gone"), 7, 5, None).to_string(), "a photo is gone");
    }
}
