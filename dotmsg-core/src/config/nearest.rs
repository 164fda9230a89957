//! The valid name that a wrong one was probably meant to be.

/// The candidate at the smallest edit distance, when that is at most a third of the longer name.
pub(super) fn nearest<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= (lower.chars().count().max(candidate.chars().count()) / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// A sentence that names the nearest candidate, else all of them.
pub(super) fn advice(wrong: &str, candidates: &[&str], what: &str) -> String {
    match nearest(wrong, candidates.iter().copied()) {
        Some(name) => format!("Did you mean `{name}`?"),
        None if candidates.is_empty() => format!("There is no {what}"),
        None => format!("Known: {}", candidates.join(", ")),
    }
}
