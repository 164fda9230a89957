//! Who owned what, from what the members say: of several who claim one partition, one counts or none.
//!
//! A member that was frozen past its session and wakes up claims what others own by now. The younger generation counts,
//! so the one who lost a partition cannot take it from the one who has it. Two claims of one generation contradict each
//! other: neither counts, as in `AbstractStickyAssignor` of Kafka; which one came first would be chance.
//!
//! The coordinator of this log knows who owns what, so that its members' claims never overlap. The rule is here because an
//! assignor that is asked by anybody else must not give one partition to two.
//!
//! What must stay true: the outcome does not depend on the order in which claims are heard.

use super::Candidate;

/// What is claimed of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Nobody,
    Owner { member: usize, generation: u64 },
    Disputed { generation: u64 },
}

/// What the members claim of each partition.
#[derive(Debug)]
pub(super) struct Claims {
    by_partition: Vec<Claim>,
}

impl Claims {
    /// What these members claim; claims on partitions that do not exist are ignored.
    pub(super) fn of(partitions: u32, members: &[Candidate<'_>]) -> Self {
        let mut by_partition = vec![Claim::Nobody; partitions as usize];
        for (member, candidate) in members.iter().enumerate() {
            debug_assert!(
                candidate.owned.is_sorted_by(|one, next| one < next),
                "owned partitions ascend: one named twice would contradict itself"
            );
            for &partition in candidate.owned {
                if let Some(claim) = by_partition.get_mut(partition as usize) {
                    *claim = claim.or(member, candidate.generation);
                }
            }
        }
        Self { by_partition }
    }

    /// Every partition with the one whose claim counts, ascending.
    pub(super) fn owners(&self) -> impl Iterator<Item = (u32, Option<usize>)> + '_ {
        let owners = self.by_partition.iter().map(|claim| match *claim {
            Claim::Owner { member, .. } => Some(member),
            Claim::Nobody | Claim::Disputed { .. } => None,
        });
        (0..).zip(owners)
    }
}

impl Claim {
    /// This claim, and one more.
    fn or(self, member: usize, generation: u64) -> Self {
        let heard = match self {
            Self::Nobody => return Self::Owner { member, generation },
            Self::Owner { generation, .. } | Self::Disputed { generation } => generation,
        };
        match generation.cmp(&heard) {
            std::cmp::Ordering::Less => self,
            std::cmp::Ordering::Equal => Self::Disputed { generation },
            std::cmp::Ordering::Greater => Self::Owner { member, generation },
        }
    }
}
