//! How much memory this process uses.

/// Bytes of resident memory; `None` if the system does not say.
pub fn held() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn linux_reports_resident_memory() {
        if cfg!(target_os = "linux") {
            assert!(super::held().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
