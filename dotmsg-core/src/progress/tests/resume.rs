//! The resume map against a set of settled offsets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::progress::ResumeMap;

const SPAN: u64 = 80;

fn maps() -> impl Strategy<Value = (ResumeMap, BTreeSet<u64>)> {
    (
        0..20u64,
        0..40u64,
        prop::collection::btree_set(0..60u64, 0..40),
    )
        .prop_map(|(watermark, length, offsets)| {
            let end = watermark + length;
            let listed: BTreeSet<u64> = offsets
                .into_iter()
                .filter(|o| (watermark..end).contains(o))
                .collect();
            let settled = (0..end).filter(|offset| !listed.contains(offset)).collect();
            (ResumeMap::from_unsettled(watermark, end, listed), settled)
        })
}

fn settled(map: &ResumeMap) -> BTreeSet<u64> {
    (0..SPAN).filter(|offset| map.is_settled(*offset)).collect()
}

fn sound(map: &ResumeMap) {
    let listed: Vec<u64> = map.unsettled().collect();
    assert_eq!(
        map.watermark(),
        listed.first().copied().unwrap_or(map.end())
    );
    assert!(listed.is_sorted_by(|a, b| a < b) && listed.iter().all(|o| *o < map.end()));
    assert!(
        map.runs()
            .collect::<Vec<_>>()
            .is_sorted_by(|a, b| a.end < b.start)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn knows_what_is_settled((map, expected) in maps(), asked in prop::collection::vec(0..SPAN, 0..60)) {
        sound(&map);
        assert_eq!(settled(&map), expected);
        let mut cursor = map.clone().into_cursor();
        for offset in 0..SPAN {
            assert_eq!(cursor.is_settled(offset), map.is_settled(offset));
        }
        for offset in asked {
            assert_eq!(cursor.is_settled(offset), map.is_settled(offset), "any order");
        }
    }

    #[test]
    fn takes_offsets_in_any_order(offsets in prop::collection::vec(0..40u64, 0..40), watermark in 0..40u64) {
        let map = ResumeMap::from_unsettled(watermark, 40, offsets.clone());
        sound(&map);
        let lowest = offsets.iter().copied().min().unwrap_or(40).min(watermark);
        let expected = (0..40).filter(|o| *o < lowest || !offsets.contains(o)).collect();
        assert_eq!(settled(&map), expected);
    }

    #[test]
    fn a_cut_keeps_the_oldest_part((mut map, before) in maps(), at in 0..SPAN) {
        map.cut(at);
        sound(&map);
        assert_eq!(settled(&map), before.range(..at).copied().collect());
    }

    #[test]
    fn takes_runs_in_any_order(runs in prop::collection::vec((0..60u64, 0..10u64), 0..12), end in 0..SPAN) {
        let runs = runs.into_iter().map(|(start, length)| start..start + length);
        let map = ResumeMap::from_runs(end, runs.clone());
        sound(&map);
        let listed: BTreeSet<u64> = runs.flatten().collect();
        assert_eq!(settled(&map), (0..end).filter(|o| !listed.contains(o)).collect());
    }

    #[test]
    fn unsettles_what_it_is_told_and_nothing_else((mut map, mut expected) in maps(), again in prop::collection::vec(0..SPAN, 0..12)) {
        let end = map.end();
        map.unsettle(again.iter().copied());
        sound(&map);
        assert_eq!(map.end(), end);
        expected.retain(|offset| !again.contains(offset));
        assert_eq!(settled(&map), expected);
    }

    #[test]
    fn counts_what_is_unsettled((map, settled) in maps(), from in 0..SPAN, length in 0..SPAN) {
        let range = from..from + length;
        let unsettled = range.clone().filter(|offset| !settled.contains(offset)).count();
        assert_eq!(map.unsettled_in(range), unsettled as u64);
    }

    #[test]
    fn follows_on_with_the_earlier_map((map, now) in maps(), (earlier, before) in maps()) {
        let end = map.end();
        let joined = map.followed_by(&earlier);
        sound(&joined);
        assert_eq!(settled(&joined), now.iter().chain(before.range(end..)).copied().collect());
    }
}

#[test]
fn without_listed_offsets_the_watermark_is_the_end() {
    let map = ResumeMap::from_unsettled(5, 10, []);
    assert_eq!(map, ResumeMap::at(10));
    assert!(map.is_empty() && map.is_settled(9) && !map.is_settled(10));
}

#[test]
fn lists_runs() {
    let map = ResumeMap::from_unsettled(3, 20, [3, 4, 5, 9, 11, 12]);
    assert_eq!(map.runs().collect::<Vec<_>>(), [3..6, 9..10, 11..13]);
    assert!(
        map.is_settled(2)
            && !map.is_settled(4)
            && map.is_settled(10)
            && map.is_settled(19)
            && !map.is_settled(20)
    );
}
