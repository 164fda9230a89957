//! Commits that must be known to be stored before anything else happens: those of a takeover, a reset, a replay.

use std::time::Duration;

use super::{CommitOutcome, Control, Progress};
use crate::error::Error;

/// How often a commit that failed or was not answered is tried again.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Commits, and commits again what failed or was not answered, until each entry is stored or refused; gives the partitions
/// that were refused, because another member owns them.
///
/// # Errors
/// The last failure, when all attempts are used up: some of the entries may be stored.
pub(crate) async fn commit_confirmed(
    control: &dyn Control,
    mut open: Vec<Progress>,
) -> Result<Vec<u32>, Option<Error>> {
    let (mut fenced, mut last) = (Vec::new(), None);
    if open.is_empty() {
        // All that was to be taken over has another owner by now.
        return Ok(fenced);
    }
    for _ in 0..ATTEMPTS {
        let outcomes = CommitOutcome::of_each(control.commit(open.clone()).await);
        let mut left = Vec::new();
        for (progress, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                CommitOutcome::Committed => {}
                CommitOutcome::Fenced => fenced.push(progress.partition),
                CommitOutcome::Failed(error) | CommitOutcome::Unknown(error) => {
                    tracing::warn!(partition = progress.partition, %error, "a commit that must be confirmed is repeated");
                    last = Some(error);
                    left.push(progress);
                }
            }
        }
        if left.is_empty() {
            return Ok(fenced);
        }
        open = left;
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}
