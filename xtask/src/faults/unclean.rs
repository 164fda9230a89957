//! `cargo xtask faults kafka --unclean`: an unclean election takes back what a leader alone had confirmed, and members say so.
//!
//! A topic has two replicas, may be led by one that is behind, and confirms what its leader alone has. The follower is killed, more
//! is published and handled, the leader is killed, and the follower comes back and leads: rows that were confirmed, handled and
//! committed are gone, and others will have their offsets. Two members are watched, on a topic each. One runs all the while. The
//! other is stopped in good order before, and started when its log is longer again than its position: only the leader epoch of its
//! commit tells that it is another log (KIP-320). Both must end with the error that names it, and handle nothing of the new log.

use super::probe::{LIMIT, Program, Trial, remove};
use super::process::Process;
use crate::audit::Call;
use crate::services::Cluster;
use crate::workspace::Workspace;

/// Rows that both replicas have.
const KEPT: u64 = 2_000;
/// Rows after them, which the leader alone has.
const LOST: u64 = 2_000;
/// Rows that the next leader gets for the offsets of the lost ones, and more.
const NEW: u64 = 4_000;
/// The nodes of the replicas.
const LEADER: usize = 0;
const FOLLOWER: usize = 1;
/// What a member must say.
const NAMED: &str = "the log ends below the position: it was truncated";

/// Does it.
///
/// # Errors
/// A member that does not notice, or says something else.
pub(super) fn run(workspace: &Workspace) -> Result<(), String> {
    let program = Program::build(workspace)?;
    let cluster = Cluster::take(workspace)?;
    cluster.whole()?;
    elect(workspace, &program, &cluster)
}

/// A member on a topic of its own.
struct Watched<'p> {
    trial: Trial<'p>,
    prefix: String,
    member: Process,
}

impl<'p> Watched<'p> {
    fn start(
        workspace: &Workspace,
        program: &'p Program,
        cluster: &Cluster<'_>,
        name: &str,
    ) -> Result<Self, String> {
        let prefix = format!("unclean-{name}-{}.", std::process::id());
        let directory = workspace
            .target
            .join("xtask")
            .join(prefix.trim_end_matches('.'));
        cluster.create_topic(
            &format!("{prefix}events"),
            &[LEADER, FOLLOWER],
            &[
                "unclean.leader.election.enable=true",
                "min.insync.replicas=1",
            ],
        )?;
        let url = cluster.url();
        let configuration = format!(
            "[backend.main]\nurl = \"{url}\"\ntopic_prefix = \"{prefix}\"\n[backend.main.kafka]\ntopic_check = \"off\"\n"
        );
        let mut trial = Trial::new(program, directory, &configuration)?;
        let member = trial.handle(0, None, None)?;
        Ok(Self {
            trial,
            prefix,
            member,
        })
    }

    fn publish(&mut self, from: u64, count: u64) -> Result<(), String> {
        let publisher = self.trial.publish((from, count), 20_000, 100)?;
        self.trial.published(publisher)
    }

    fn until_handled(&mut self, rows: u64) -> Result<(), String> {
        let member = std::slice::from_mut(&mut self.member);
        self.trial.until_handled(rows, member)
    }

    /// Waits until the member ends, with the error that it must end with, and without a call after the first `calls`.
    fn tells(&mut self, calls: usize) -> Result<String, String> {
        let succeeded = self.member.wait(LIMIT)?;
        let words = self.member.last_words(&self.trial.directory);
        if succeeded || !words.contains(NAMED) {
            return Err(format!(
                "a member does not tell of an unclean election: {words}"
            ));
        }
        let more: Vec<Call> = self.trial.calls()?.split_off(calls);
        match more.first() {
            Some(call) => Err(format!(
                "a member went on behind an unclean election: row {} at offset {}",
                call.row, call.offset
            )),
            None => Ok(words),
        }
    }

    fn end(self, cluster: &Cluster<'_>) -> Result<(), String> {
        cluster.delete_topics(&self.prefix)?;
        remove(&self.trial.directory)
    }
}

fn elect(workspace: &Workspace, program: &Program, cluster: &Cluster<'_>) -> Result<(), String> {
    let mut runs = Watched::start(workspace, program, cluster, "runs")?;
    let mut stopped = Watched::start(workspace, program, cluster, "stopped")?;
    for watched in [&mut runs, &mut stopped] {
        watched.publish(1, KEPT)?;
        watched.until_handled(KEPT)?;
    }
    cluster.kill(FOLLOWER)?;
    for watched in [&mut runs, &mut stopped] {
        watched.publish(KEPT + 1, LOST)?;
        watched.until_handled(KEPT + LOST)?;
    }
    stopped.member.signal("TERM")?;
    if !stopped.member.wait(LIMIT)? {
        return Err(stopped.member.last_words(&stopped.trial.directory));
    }
    let handled = [runs.trial.calls()?.len(), stopped.trial.calls()?.len()];
    cluster.kill(LEADER)?;
    cluster.start(FOLLOWER)?;
    stopped.publish(KEPT + LOST + 1, NEW)?;
    let words = runs.tells(handled[0])?;
    println!("unclean election, a member that runs: {words}");
    stopped.member = stopped.trial.handle(0, None, None)?;
    let words = stopped.tells(handled[1])?;
    println!("unclean election, a member that starts when the log is longer again: {words}");
    cluster.start(LEADER)?;
    cluster.whole()?;
    runs.end(cluster)?;
    stopped.end(cluster)
}
