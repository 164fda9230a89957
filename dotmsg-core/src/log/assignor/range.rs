//! Range: contiguous runs in the order of names, as `RangeAssignor` of Kafka gives for one topic.
//!
//! The first `n % m` members get one partition more. A member that comes or goes shifts the runs of all behind it.

use super::even;

/// The shares; `order` is the places of the members in the order of names.
pub(super) fn assign(partitions: u32, order: &[usize]) -> Vec<Vec<u32>> {
    let mut shares = vec![Vec::new(); order.len()];
    if order.is_empty() {
        return shares;
    }
    let (least, more) = even(partitions, order.len());
    let mut rest = 0..partitions;
    for (rank, &member) in order.iter().enumerate() {
        let size = least + usize::from(rank < more);
        shares[member] = rest.by_ref().take(size).collect();
    }
    debug_assert!(rest.is_empty(), "the sizes add up to all partitions");
    shares
}
