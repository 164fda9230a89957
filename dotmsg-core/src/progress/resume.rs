//! The resume map: what is unsettled between the watermark and the highest offset that was in hand.
//!
//! A new owner reads again from the watermark and skips what the map calls settled. It lists the *unsettled* offsets, as
//! runs, since they are bounded by the limits on what is held while the settled ones are not.
//!
//! What must stay true: runs ascend, do not touch, and lie in `watermark..end`; the first starts at the watermark, and
//! without runs the watermark is the end. Every operation may make offsets unsettled, none makes one settled.

use std::ops::Range;

use super::wire::{Reader, RecordError, put};

/// Which offsets of a partition are settled: all below the watermark, and those below `end` that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResumeMap {
    watermark: u64,
    end: u64,
    runs: Vec<Range<u64>>,
}

impl ResumeMap {
    /// The map of a partition that is settled below `watermark` and unsettled from there. Allocates nothing.
    #[must_use]
    pub fn at(watermark: u64) -> Self {
        Self {
            watermark,
            end: watermark,
            runs: Vec::new(),
        }
    }

    /// The map of a partition that is settled below `end` except for the offsets in `unsettled`.
    ///
    /// Offsets at or beyond `end` are unsettled anyway; one below `watermark` lowers it. Ascending order is quickest,
    /// any order and repeats are taken. The watermark of the result is the lowest unsettled offset.
    #[must_use]
    pub fn from_unsettled(
        watermark: u64,
        end: u64,
        unsettled: impl IntoIterator<Item = u64>,
    ) -> Self {
        let end = end.max(watermark);
        let mut runs: Vec<Range<u64>> = Vec::new();
        for offset in unsettled.into_iter().filter(|offset| *offset < end) {
            match runs.last_mut() {
                Some(run) if run.end == offset => run.end += 1,
                Some(run) if run.contains(&offset) => {}
                _ => runs.push(offset..offset + 1),
            }
        }
        if !runs.is_sorted_by(|a, b| a.end < b.start) {
            runs = merged(runs);
        }
        let watermark = runs.first().map_or(end, |run| run.start);
        Self {
            watermark,
            end,
            runs,
        }
    }

    /// The map of a partition that is settled below `end` except for these runs. In any order; what is at or beyond `end` is
    /// unsettled anyway.
    #[must_use]
    pub fn from_runs(end: u64, runs: impl IntoIterator<Item = Range<u64>>) -> Self {
        let within = runs.into_iter().map(|run| run.start..run.end.min(end));
        let mut runs: Vec<Range<u64>> = within.filter(|run| run.start < run.end).collect();
        if !runs.is_sorted_by(|a, b| a.end < b.start) {
            runs = merged(runs);
        }
        Self {
            watermark: runs.first().map_or(end, |run| run.start),
            end,
            runs,
        }
    }

    /// Makes these offsets unsettled again, in any order; one below the watermark lowers it.
    pub fn unsettle(&mut self, offsets: impl IntoIterator<Item = u64>) {
        let again = offsets
            .into_iter()
            .map(|offset| offset..offset.saturating_add(1));
        let runs = std::mem::take(&mut self.runs).into_iter().chain(again);
        *self = Self::from_runs(self.end, runs);
    }

    /// How many offsets of `range` are unsettled.
    #[must_use]
    pub fn unsettled_in(&self, range: Range<u64>) -> u64 {
        let overlap = |run: &Range<u64>| {
            let end = run.end.min(range.end);
            end.saturating_sub(run.start.max(range.start))
        };
        let listed: u64 = self.runs.iter().map(overlap).sum();
        listed + range.end.saturating_sub(range.start.max(self.end))
    }

    /// Every offset below it is settled; it is the lowest unsettled one.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// From here on everything is unsettled.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// True when nothing above the watermark is settled or listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether `offset` is settled. Binary search: see [`Cursor`] for ascending queries.
    #[must_use]
    pub fn is_settled(&self, offset: u64) -> bool {
        let next = self.runs.partition_point(|run| run.end <= offset);
        offset < self.end && !self.runs.get(next).is_some_and(|run| run.contains(&offset))
    }

    /// The listed offsets, ascending.
    pub fn unsettled(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().cloned().flatten()
    }

    /// The listed offsets as runs: ascending, not touching.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = Range<u64>> + '_ {
        self.runs.iter().cloned()
    }

    /// Makes everything from `at` on unsettled again; what is below stays as it is.
    pub fn cut(&mut self, at: u64) {
        if at >= self.end {
            return;
        }
        self.end = at;
        self.watermark = self.watermark.min(at);
        self.runs
            .truncate(self.runs.partition_point(|run| run.start < at));
        if let Some(last) = self.runs.last_mut() {
            last.end = last.end.min(at);
        }
    }

    /// This map, and beyond its end what `earlier` says.
    ///
    /// An owner that has not yet read to the end of the map it took over must not forget the rest of it: names of origins
    /// there would meet their own source records again.
    #[must_use]
    pub fn followed_by(mut self, earlier: &Self) -> Self {
        if earlier.end <= self.end {
            return self;
        }
        let from = earlier.runs.partition_point(|run| run.end <= self.end);
        for run in &earlier.runs[from..] {
            let run = run.start.max(self.end)..run.end;
            match self.runs.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => self.runs.push(run),
            }
        }
        self.end = earlier.end;
        self.watermark = self.runs.first().map_or(self.end, |run| run.start);
        self
    }

    /// Answers ascending queries in constant time on average.
    #[must_use]
    pub fn into_cursor(self) -> Cursor {
        Cursor { map: self, next: 0 }
    }

    /// Watermark, span, number of runs; for each run its gap to the one before with a bit that says whether a length follows.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.watermark);
        put(out, self.end - self.watermark);
        put(out, self.runs.len() as u64);
        let mut at = self.watermark;
        for run in &self.runs {
            let (gap, length) = (u128::from(run.start - at), run.end - run.start);
            put(out, gap << 1 | u128::from(length > 1));
            if length > 1 {
                put(out, length - 2);
            }
            at = run.end;
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, RecordError> {
        const OUTSIDE: RecordError = RecordError::Malformed {
            what: "resume map: a run beyond its end",
        };
        let watermark = input.u64("watermark")?;
        let end = watermark
            .checked_add(input.u64("end of the resume map")?)
            .ok_or(OUTSIDE)?;
        let count = input.count("resume map")?;
        if count == 0 && end != watermark {
            return Err(RecordError::Malformed {
                what: "resume map: watermark below the lowest unsettled offset",
            });
        }
        let mut runs = Vec::with_capacity(count);
        let mut at = watermark;
        for index in 0..count {
            let token = input.wide("resume map")?;
            // The first run starts at the watermark, the others do not touch.
            if (index == 0) != (token >> 1 == 0) {
                return Err(RecordError::Malformed {
                    what: "resume map: runs that touch",
                });
            }
            let length = if token & 1 == 1 {
                u128::from(input.u64("resume map")?) + 2
            } else {
                1
            };
            let start = u128::from(at) + (token >> 1);
            if start + length > u128::from(end) {
                return Err(OUTSIDE);
            }
            // Both fit: they are at most `end`.
            let run = start as u64..(start + length) as u64;
            at = run.end;
            runs.push(run);
        }
        Ok(Self {
            watermark,
            end,
            runs,
        })
    }
}

fn merged(mut runs: Vec<Range<u64>>) -> Vec<Range<u64>> {
    runs.sort_unstable_by_key(|run| run.start);
    runs.dedup_by(|run, before| {
        let touches = run.start <= before.end;
        if touches {
            before.end = before.end.max(run.end);
        }
        touches
    });
    runs
}

/// A [`ResumeMap`] with a place in it: ascending queries take constant time on average, one that goes back a binary search.
#[derive(Debug, Clone)]
pub struct Cursor {
    map: ResumeMap,
    /// The first run that ends beyond the last query.
    next: usize,
}

impl Cursor {
    /// Whether `offset` is settled.
    pub fn is_settled(&mut self, offset: u64) -> bool {
        let runs = &self.map.runs;
        if self.next > 0 && offset < runs[self.next - 1].end {
            self.next = runs.partition_point(|run| run.end <= offset);
        }
        while runs.get(self.next).is_some_and(|run| run.end <= offset) {
            self.next += 1;
        }
        offset < self.map.end && runs.get(self.next).is_none_or(|run| offset < run.start)
    }

    /// The map behind it.
    #[must_use]
    pub fn map(&self) -> &ResumeMap {
        &self.map
    }
}
