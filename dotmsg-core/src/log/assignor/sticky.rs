//! Sticky: balanced, and as few moves as that allows (KIP-54, with the claims of KIP-341).
//!
//! All members want the same partitions, so the general search of KIP-54 is not needed; this is its case of equal
//! subscriptions. Each member has a quota, `n / m` or one more. A member above its quota must lose the difference; what
//! nobody owns must go somewhere; nothing else moves. The number of moves is the least when the larger quotas go to those
//! who would otherwise lose one more, hence the order in `quotas`.
//!
//! What must stay true: with the outcome as what is owned, the outcome is the same (a rebalance without a reason moves
//! nothing). In the second round of a cooperative rebalance the quotas are those of the first, for whoever has its larger
//! share by then counts first again, and the others stand in the same order; so nothing that was given moves once more.
//! Which of the withheld partitions goes to whom may differ. Without any owner it is round robin.

use super::claims::Claims;
use super::{Candidate, even};

/// The shares; `order` is the places of the members in the order of names.
pub(super) fn assign(partitions: u32, members: &[Candidate<'_>], order: &[usize]) -> Vec<Vec<u32>> {
    let mut shares = vec![Vec::new(); members.len()];
    if members.is_empty() {
        return shares;
    }
    let mut unowned = Vec::new();
    for (partition, owner) in Claims::of(partitions, members).owners() {
        owner
            .map_or(&mut unowned, |member| &mut shares[member])
            .push(partition);
    }
    let quotas = quotas(partitions, &shares, order);
    for (share, &quota) in shares.iter_mut().zip(&quotas) {
        unowned.extend(share.drain(quota.min(share.len())..));
    }
    unowned.sort_unstable();
    deal(unowned, &mut shares, &quotas, order);
    for share in &mut shares {
        share.sort_unstable();
    }
    shares
}

/// How many partitions each member gets. The larger quotas go first to those who own more than the smaller one, then by
/// name.
fn quotas(partitions: u32, owned: &[Vec<u32>], order: &[usize]) -> Vec<usize> {
    let (least, more) = even(partitions, order.len());
    let (above, below): (Vec<usize>, Vec<usize>) = order
        .iter()
        .partition(|&&member| owned[member].len() > least);
    let mut quotas = vec![least; order.len()];
    for member in above.into_iter().chain(below).take(more) {
        quotas[member] += 1;
    }
    quotas
}

/// Gives what nobody owns to those below their quota, one each in turn: what a cooperative round may give at once spreads
/// over all of them.
fn deal(unowned: Vec<u32>, shares: &mut [Vec<u32>], quotas: &[usize], order: &[usize]) {
    let mut unowned = unowned.into_iter();
    let mut open: Vec<usize> = order.to_vec();
    while !open.is_empty() {
        open.retain(|&member| shares[member].len() < quotas[member]);
        for &member in &open {
            shares[member].extend(unowned.next());
        }
    }
    debug_assert_eq!(unowned.len(), 0, "the quotas add up to all partitions");
}
