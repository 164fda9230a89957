//! Which partition a key goes to, unless a [`Partitioner`](super::Partitioner) says otherwise: murmur2 exactly as in the Java
//! client, so that a key has the same number everywhere.
//!
//! The seed and the masking of the sign bit are those of `org.apache.kafka.common.utils.Utils` (Apache Kafka).

/// The seed of the Java client.
const SEED: u32 = 0x9747_b28c;

/// The hash of `Utils.murmur2`, as the signed number that Java prints.
#[must_use]
pub fn murmur2(key: &[u8]) -> i32 {
    ::murmur2::murmur2(key, SEED).cast_signed()
}

/// The partition of a key among `partitions`.
///
/// # Panics
/// When `partitions` is 0.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key).cast_unsigned() & 0x7fff_ffff) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_vectors_of_the_java_client_hold() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn the_partition_is_the_hash_without_its_sign() {
        assert_eq!(partition_for_key(b"abc", 10), 7);
        assert_eq!(
            partition_for_key(b"foobar", 12),
            ((-790_332_482_i32).cast_unsigned() & 0x7fff_ffff) % 12
        );
    }
}
