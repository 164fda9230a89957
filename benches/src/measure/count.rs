//! Instructions and allocations per message, counted by callgrind.
//!
//! Each workload runs at N and at 2N messages; `(count(2N) − count(N)) / N` is the steady price of one message, since all that
//! happens once is in both runs and cancels. Allocations are the calls of the C allocator's entry points: callgrind keeps
//! the real allocator and counts every call (dhat would count the filling of the queue).
//!
//! Two runs for each count. Instructions are collected only while the region is entered. Callgrind's *call* counts do not
//! heed that toggle, so a second run sets all counts to zero where the region begins; what follows the region is counted
//! too, and gives back memory only.
//!
//! What must stay true: workloads counted here run on one thread (the toggle is per thread), with no warm-up, and without
//! native target features, which valgrind does not know. `calibration` allocates once a message by construction, and as
//! often outside of the region; a count other than 1 there means that the method is broken and nothing else may be believed.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::child;
use crate::region;

/// What one message costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PerMessage {
    /// Executed instructions.
    pub(crate) instructions: f64,
    /// Calls of `malloc`, `calloc`, `realloc` and the aligned ones.
    pub(crate) allocations: f64,
}

/// Totals of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Totals {
    instructions: u64,
    allocations: u64,
}

/// The allocator's entry points, as the C library names them.
const ALLOCATORS: [&str; 7] = [
    "malloc",
    "calloc",
    "realloc",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
    "reallocarray",
];

/// Whether valgrind can be started.
pub(crate) fn available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|done| done.status.success())
}

/// Counts `workload` at `messages` and at twice as many.
///
/// # Errors
/// When valgrind or the workload fails, or the profile is not understood.
pub(crate) fn per_message(workload: &str, messages: u64) -> Result<PerMessage, String> {
    let slope = |less: u64, more: u64| (more as f64 - less as f64) / messages as f64;
    let collected = |messages| {
        totals(
            workload,
            messages,
            &["--collect-atstart=no", "--toggle-collect"],
        )
    };
    let zeroed = |messages| totals(workload, messages, &["--zero-before"]);
    Ok(PerMessage {
        instructions: slope(
            collected(messages)?.instructions,
            collected(2 * messages)?.instructions,
        ),
        allocations: slope(
            zeroed(messages)?.allocations,
            zeroed(2 * messages)?.allocations,
        ),
    })
}

/// Counts one run; the last of `options` takes the region's pattern.
fn totals(workload: &str, messages: u64, options: &[&str]) -> Result<Totals, String> {
    let profile = std::env::temp_dir().join(format!(
        "dotmsg-bench-{}-{workload}.callgrind",
        std::process::id()
    ));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .args(region_options(options))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(child::own_path()?)
        .args(child::arguments(workload, messages, 0));
    let counted = child::outcome(workload, &mut command).and_then(|_| read(&profile));
    // Half a megabyte each; one that is left behind does no harm.
    let _ = std::fs::remove_file(&profile);
    counted
}

/// The options, the last one with the region's pattern as its value.
fn region_options(options: &[&str]) -> Vec<String> {
    let mut options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    if let Some(last) = options.last_mut() {
        *last = format!("{last}={}", region::PATTERN);
    }
    options
}

fn read(profile: &Path) -> Result<Totals, String> {
    let text = std::fs::read_to_string(profile).map_err(|error| {
        format!(
            "cannot read callgrind's profile {}: {error}",
            profile.display()
        )
    })?;
    parse(&text).ok_or_else(|| format!("no totals in callgrind's profile {}", profile.display()))
}

/// Reads a profile: the line `totals:`, and the count in each `calls=` line whose callee is an allocator.
///
/// Names are compressed: `(12) malloc` defines number 12 for `fn=` and `cfn=` alike, `(12)` refers to it.
fn parse(text: &str) -> Option<Totals> {
    let mut names: HashMap<&str, bool> = HashMap::new();
    let (mut callee_allocates, mut allocations, mut instructions) = (false, 0, None);
    for line in text.lines() {
        let Some((field, value)) = line.split_once(['=', ':']) else {
            continue;
        };
        match field {
            "fn" | "cfn" => {
                let (number, name) = value.split_once(' ').unwrap_or((value, ""));
                if !name.is_empty() {
                    names.insert(number, allocates(name));
                }
                if field == "cfn" {
                    callee_allocates = names.get(number).copied().unwrap_or(false);
                }
            }
            "calls" if callee_allocates => {
                allocations += value.split_whitespace().next()?.parse::<u64>().ok()?;
            }
            "totals" => instructions = Some(value.trim().parse::<u64>().ok()?),
            _ => {}
        }
    }
    Some(Totals {
        instructions: instructions?,
        allocations,
    })
}

/// Callgrind marks recursion as `malloc'2`.
fn allocates(name: &str) -> bool {
    let name = name.split('\'').next().unwrap_or(name);
    ALLOCATORS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::{Totals, parse};

    #[test]
    fn calls_of_allocators_are_summed_through_compressed_names() {
        let profile = "events: Ir\n\nfn=(1) work\n12 100\ncfn=(2) malloc\ncalls=7 0\n12 70\ncfn=(3) free\ncalls=7 0\n12 70\n\
                       fn=(4) other\ncfn=(2)\ncalls=3 0\n13 30\ncfn=(5) malloc_usable_size\ncalls=9 0\n13 9\n\
                       fn=(2)\n40 100\n\ntotals: 4321\n";
        assert_eq!(
            parse(profile),
            Some(Totals {
                instructions: 4321,
                allocations: 10
            })
        );
    }

    #[test]
    fn a_profile_without_totals_is_refused() {
        assert_eq!(parse("fn=(1) work\n12 100\n"), None);
    }
}
