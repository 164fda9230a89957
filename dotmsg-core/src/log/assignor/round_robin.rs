//! Round robin: one partition after the other in the order of names, as `RoundRobinAssignor` of Kafka gives when all
//! members subscribe to one topic.
//!
//! Neighbouring partitions go to different members. One that comes or goes moves nearly everything.

/// The shares; `order` is the places of the members in the order of names.
pub(super) fn assign(partitions: u32, order: &[usize]) -> Vec<Vec<u32>> {
    let mut shares = vec![Vec::new(); order.len()];
    for (partition, &member) in (0..partitions).zip(order.iter().cycle()) {
        shares[member].push(partition);
    }
    shares
}
