//! A seeded sampler of ranks after Zipf's law: rank `r` (from 0) comes with weight `1 / (r + 1)^exponent`.
//!
//! By inverting the cumulative table with a binary search: exact, and the table of 10,000 keys is 80 KB. The rejection
//! methods that need no table earn their complexity only with millions of ranks.

/// Draws ranks below `ranks`, the same ones for the same seed.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// Ascending, the last one is 1.
    cumulative: Vec<f64>,
    random: fastrand::Rng,
}

impl Zipf {
    /// A sampler over `ranks` ranks.
    ///
    /// # Panics
    /// With no rank at all.
    pub(crate) fn new(ranks: u32, exponent: f64, seed: u64) -> Self {
        assert!(ranks > 0, "a Zipf sampler needs at least one rank");
        let mut total = 0.0;
        let mut cumulative: Vec<f64> = (1..=ranks)
            .map(|rank| {
                total += f64::from(rank).powf(-exponent);
                total
            })
            .collect();
        for weight in &mut cumulative {
            *weight /= total;
        }
        Self {
            cumulative,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next rank, 0 the most frequent.
    pub(crate) fn sample(&mut self) -> usize {
        let point = self.random.f64();
        // The last weight can fall short of 1 by a rounding, and the point of a draw above it.
        self.cumulative
            .partition_point(|weight| *weight <= point)
            .min(self.cumulative.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Zipf;

    #[test]
    fn the_first_ranks_come_as_often_as_the_law_says() {
        let draws = 200_000_u32;
        let mut zipf = Zipf::new(1_000, 1.0, 7);
        let mut counts = vec![0_u32; 1_000];
        for _ in 0..draws {
            counts[zipf.sample()] += 1;
        }
        let harmonic: f64 = (1..=1_000).map(|rank| 1.0 / f64::from(rank)).sum();
        for (rank, count) in counts.iter().take(5).enumerate() {
            let expected = f64::from(draws) / (harmonic * (rank + 1) as f64);
            let off = (f64::from(*count) - expected).abs() / expected;
            assert!(
                off < 0.05,
                "rank {rank}: {count} draws, {expected:.0} expected"
            );
        }
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut zipf = Zipf::new(100, 1.0, seed);
            (0..50).map(|_| zipf.sample()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
