//! The position record: round trips, hostile bytes, cuts that keep what they must, and sizes.

use proptest::prelude::*;

use crate::progress::{
    CrashCount, FORMAT, Founding, LogIdentity, Name, Names, Noted, Origin, PositionRecord,
    RecordError, ResumeMap, TierId,
};

fn origins(offset: impl Strategy<Value = u64>) -> impl Strategy<Value = Origin> {
    (any::<bool>(), offset).prop_map(|(replay, o)| {
        if replay {
            Origin::Replay(o)
        } else {
            Origin::Source(o)
        }
    })
}

fn maps() -> impl Strategy<Value = ResumeMap> {
    let drawn = (
        0..200u64,
        0..400u64,
        prop::collection::vec(0..600u64, 0..80),
    );
    let map = drawn.prop_map(|(watermark, length, offsets)| {
        let listed = offsets.into_iter().filter(|o| *o >= watermark);
        ResumeMap::from_unsettled(watermark, watermark + length, listed)
    });
    prop_oneof![8 => map, 1 => any::<u64>().prop_map(ResumeMap::at)]
}

fn names() -> impl Strategy<Value = Vec<Name>> {
    let tier = prop_oneof![Just(5_000u64), Just(60_000), any::<u64>()].prop_map(TierId);
    let offset = prop_oneof![8 => 0..50u64, 1 => any::<u64>()];
    let origin = origins(prop_oneof![8 => 0..600u64, 1 => any::<u64>()]);
    let run = (tier, offset, origin, 1..6u64).prop_map(|(tier, offset, origin, length)| {
        let rise = length
            .min(u64::MAX - offset)
            .min(u64::MAX - origin.offset());
        (0..=rise)
            .map(|i| Name {
                tier,
                offset: offset + i,
                origin: origin.with_offset(origin.offset() + i),
            })
            .collect::<Vec<_>>()
    });
    prop::collection::vec(run, 0..20).prop_map(|runs| runs.concat())
}

fn logs() -> impl Strategy<Value = LogIdentity> {
    ("[a-zA-Zé-]{0,12}", "[a-zA-Z-]{0,12}", any::<Option<u64>>()).prop_map(
        |(cluster, topic, leader_epoch)| LogIdentity {
            cluster,
            topic,
            leader_epoch,
        },
    )
}

fn crashes() -> impl Strategy<Value = CrashCount> {
    let noted = (origins(any::<u64>()), any::<u32>()).prop_map(|(origin, confirmations)| Noted {
        origin,
        confirmations,
    });
    (
        any::<u32>(),
        any::<u64>(),
        prop::option::of(noted),
        any::<Option<u64>>(),
    )
        .prop_map(|(takeovers, watermark, noted, until)| CrashCount {
            takeovers,
            watermark,
            noted,
            until,
        })
}

fn records() -> impl Strategy<Value = PositionRecord> {
    let identity = (
        any::<u128>(),
        any::<u64>(),
        any::<bool>(),
        prop::option::of(logs()),
        crashes(),
        (any::<u32>(), any::<u32>()).prop_map(|(partitions, known)| Founding { partitions, known }),
    );
    (identity, maps(), prop::option::of(maps()), names()).prop_map(
        |(identity, source, replay, names)| {
            let (owner, epoch, clean, log, crash, founding) = identity;
            let names = names.into_iter().collect();
            PositionRecord {
                owner,
                epoch,
                log,
                source,
                replay,
                names,
                clean,
                crash,
                founding,
            }
        },
    )
}

fn settles_no_more(map: &ResumeMap, than: &ResumeMap) {
    assert!(map.watermark() <= than.watermark());
    for offset in (0..620).chain([than.watermark(), than.end(), u64::MAX]) {
        assert!(
            !map.is_settled(offset) || than.is_settled(offset),
            "{offset} is settled only by the cut"
        );
    }
}

fn kept(names: &Names, source: Option<u64>, replay: Option<u64>) -> Vec<Name> {
    let keeps = |name: &Name| {
        let cut = if name.origin.is_replay() {
            replay
        } else {
            source
        };
        cut.is_none_or(|cut| name.origin.offset() < cut)
    };
    names.iter().filter(keeps).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn decodes_what_it_encodes(record in records()) {
        assert_eq!(PositionRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn names_are_a_sorted_set(names in names()) {
        let collected: Vec<Name> = names.iter().copied().collect::<Names>().iter().collect();
        let mut expected = names;
        expected.sort_by_key(|n| (n.tier, n.origin.is_replay(), n.offset, n.origin));
        expected.dedup();
        assert_eq!(collected, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = FORMAT;
        }
        if let Ok(record) = PositionRecord::decode(&bytes) {
            assert_eq!(PositionRecord::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn damage_is_an_error_or_another_record(record in records(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = record.encode();
        for length in 0..bytes.len() {
            assert!(PositionRecord::decode(&bytes[..length]).is_err(), "cut short");
        }
        bytes.push(byte);
        assert!(PositionRecord::decode(&bytes).is_err(), "a byte too many");
        bytes.pop();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = PositionRecord::decode(&bytes);
    }

    #[test]
    fn a_cut_record_fits_and_keeps_what_it_must(record in records(), share in 0..110usize) {
        let limit = record.encode().len() * share / 100;
        let mut smallest = record.clone();
        smallest.cut(record.watermark());
        smallest.cut_replay(record.replay.as_ref().map_or(0, ResumeMap::watermark));
        match record.encode_within(limit) {
            Ok(encoded) => {
                assert!(encoded.bytes.len() <= limit);
                let read = PositionRecord::decode(&encoded.bytes).unwrap();
                settles_no_more(&read.source, &record.source);
                assert_eq!(read.replay.is_some(), record.replay.is_some());
                if let (Some(cut), Some(whole)) = (&read.replay, &record.replay) {
                    settles_no_more(cut, whole);
                }
                let expected = kept(&record.names, encoded.cut, encoded.replay_cut);
                assert_eq!(read.names.iter().collect::<Vec<_>>(), expected);
                let mut rest = record.clone();
                encoded.cut.into_iter().for_each(|at| rest.cut(at));
                encoded.replay_cut.into_iter().for_each(|at| rest.cut_replay(at));
                assert_eq!(read, rest, "nothing else is left out");
                assert_eq!(encoded.cut.is_none(), record.encode().len() <= limit);
            }
            Err(error) => assert!(smallest.encode().len() > limit && error.needed > limit),
        }
    }

    #[test]
    fn a_reset_drops_the_names_from_there_on(record in records(), at in 0..600u64) {
        let mut reset = record.clone();
        reset.reset_to(at);
        assert_eq!(reset.source, ResumeMap::at(at));
        assert_eq!(reset.names.iter().collect::<Vec<_>>(), kept(&record.names, Some(at), None));
        assert_eq!(reset.replay, record.replay);
    }
}

/// Heads of distinct keys that went away together: offsets and origins rise by one.
fn heads(count: u64, offset: u64, origin: u64) -> impl Iterator<Item = Name> {
    (0..count).map(move |i| Name {
        tier: TierId(5_000),
        offset: offset + i,
        origin: Origin::Source(origin + i),
    })
}

#[test]
fn a_run_of_heads_costs_a_few_bytes() {
    let mut record = PositionRecord::new(7, 2_000_000);
    let none = record.encode().len();
    record.names = heads(100_000, 40_000, 1_900_000).collect();
    assert!(
        record.encode().len() <= none + 16,
        "{} bytes more",
        record.encode().len() - none
    );
    assert_eq!(record.names.len(), 100_000);
    assert_eq!(PositionRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn the_map_is_cut_between_away_heads() {
    // Heads of every second source offset are away; what is between is unsettled, so that the map is large.
    let mut record = PositionRecord::new(7, 0);
    record.source = ResumeMap::from_unsettled(0, 4_000, (0..4_000).step_by(2));
    let away = (1..4_000).step_by(2);
    record.names = away
        .enumerate()
        .map(|(i, o)| Name {
            tier: TierId(5_000),
            offset: i as u64,
            origin: Origin::Source(o),
        })
        .collect();
    let encoded = record.encode_within(1_000).unwrap();
    let cut = encoded.cut.expect("it does not fit whole");
    let read = PositionRecord::decode(&encoded.bytes).unwrap();
    assert!((100..3_900).contains(&cut), "in the middle: {cut}");
    assert_eq!(read.source.end(), cut);
    assert!(
        read.names
            .iter()
            .all(|name| name.origin.offset() < cut && read.source.is_settled(name.origin.offset()))
    );
    assert_eq!(read.names.len(), cut / 2);
    assert_eq!(encoded.replay_cut, None);
    let mut more = record.clone();
    more.cut(cut + 2);
    assert!(more.encode().len() > 1_000, "the highest cut that fits");
}

#[test]
fn names_below_the_watermark_are_never_cut() {
    let mut record = PositionRecord::new(7, 100_000);
    let far_apart = (0..2_000).map(|i| Name {
        tier: TierId(5_000),
        offset: i * 3,
        origin: Origin::Source(i * 50),
    });
    record.names = far_apart.collect();
    let error = record.encode_within(1_000).unwrap_err();
    assert!(error.needed > 1_000 && error.limit == 1_000 && error.names == 2_000);
    assert!(error.to_string().contains("the source partition pauses"));
}

#[test]
fn a_cut_of_the_source_spares_the_names_of_replays() {
    let mut record = PositionRecord::new(7, 0);
    record.source = ResumeMap::from_unsettled(0, 10_000, (0..10_000).step_by(3));
    let replayed = Name {
        tier: TierId(60_000),
        offset: 9,
        origin: Origin::Replay(9_999),
    };
    record.names = heads(10, 0, 5_000).chain([replayed]).collect();
    record.replay = Some(ResumeMap::at(10_000));
    let encoded = record.encode_within(200).unwrap();
    assert!(encoded.cut.is_some_and(|cut| cut < 5_000));
    let read = PositionRecord::decode(&encoded.bytes).unwrap();
    assert_eq!(read.names.iter().collect::<Vec<_>>(), [replayed]);
}

#[test]
fn five_thousand_scattered_incompletes_in_a_hundred_thousand() {
    let mut state = 1u64;
    let mut unsettled = std::collections::BTreeSet::new();
    while unsettled.len() < 5_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        unsettled.insert((state >> 33) % 100_000);
    }
    let mut record = PositionRecord::new(7, 0);
    record.source = ResumeMap::from_unsettled(0, 100_000, unsettled);
    let length = record.encode().len();
    assert!(length <= 6_000, "{length} bytes");
    assert_eq!(PositionRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn an_unknown_format_is_named() {
    let mut bytes = PositionRecord::new(7, 0).encode();
    bytes[0] = 9;
    let error = PositionRecord::decode(&bytes).unwrap_err();
    assert_eq!(
        error,
        RecordError::UnknownVersion {
            found: 9,
            newest: FORMAT
        }
    );
    assert!(error.to_string().contains("format 9"));
    assert_eq!(
        PositionRecord::decode(&[]),
        Err(RecordError::Truncated { what: "format" })
    );
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // A map that claims 2^60 runs, with two bytes to carry them.
    let mut bytes = PositionRecord::new(7, 0).encode();
    bytes.truncate(19);
    bytes.extend([
        0, 100, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1,
    ]);
    assert_eq!(
        PositionRecord::decode(&bytes),
        Err(RecordError::Truncated { what: "resume map" })
    );
}

#[test]
fn settled_means_no_lag_and_no_names() {
    let mut record = PositionRecord::new(7, 10);
    assert!(record.settled(10) && !record.settled(11));
    record.names = heads(1, 0, 3).collect();
    assert!(!record.settled(10));
}

#[test]
fn heads_that_are_taken_up_again_are_unsettled_where_they_came_from_and_others_stay() {
    let name = |offset, origin| Name {
        tier: TierId(5_000),
        offset,
        origin,
    };
    let lost = [name(0, Origin::Source(2)), name(3, Origin::Replay(1))];
    let kept = [name(1, Origin::Source(4)), name(2, Origin::Replay(0))];
    let mut record = PositionRecord {
        source: ResumeMap::from_unsettled(0, 9, [6]),
        replay: Some(ResumeMap::at(5)),
        names: lost.into_iter().chain(kept).collect(),
        ..PositionRecord::new(7, 0)
    };
    record.take_up_again(&lost.into_iter().collect());
    assert_eq!(record.source, ResumeMap::from_unsettled(0, 9, [2, 6]));
    assert_eq!(record.replay, Some(ResumeMap::from_unsettled(0, 5, [1])));
    assert_eq!(record.names, kept.into_iter().collect());
    assert_eq!(record.crash.watermark, 2);
    record.forget(&kept.into_iter().collect());
    assert!(record.names.is_empty());
    assert_eq!(record.watermark(), 2);
}
