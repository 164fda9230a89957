//! Resident memory of this process, from `/proc/self/status`.

/// Resident memory in KiB: now, and the peak since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    /// `VmRSS`.
    pub(crate) now_kib: u64,
    /// `VmHWM`.
    pub(crate) peak_kib: u64,
}

/// Reads both; `None` where the kernel has no such file.
pub(crate) fn resident() -> Option<Resident> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<Resident> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    Some(Resident {
        now_kib: field("VmRSS")?,
        peak_kib: field("VmHWM")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Resident, parse};

    #[test]
    fn both_fields_are_found() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        assert_eq!(
            parse(status),
            Some(Resident {
                now_kib: 1024,
                peak_kib: 2048
            })
        );
        assert_eq!(parse("Name:\tx\n"), None);
    }
}
