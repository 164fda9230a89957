//! An id in an entry: in it, when it is short, else in memory of its own, which the next one uses again.

use crate::middleware::identity::{ORIGIN_BYTES, Origin};

/// The longest id that lies in its entry: a UUID as text, with two to spare.
pub(super) const SHORT: usize = 38;

pub(super) enum Id {
    Short(Short),
    Long(Vec<u8>),
}

/// Zeros follow the id, so that two of them are compared and copied as a whole, without a loop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    length: u8,
    bytes: [u8; SHORT],
}

/// An id that is looked for.
pub(super) enum Sought<'a> {
    Short(Short),
    Long(&'a [u8]),
}

impl<'a> Sought<'a> {
    #[inline]
    pub(super) fn new(id: &'a [u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..id.len()) {
            Some(place) => {
                place.copy_from_slice(id);
                let length = u8::try_from(id.len()).expect("a short one");
                Self::Short(Short { length, bytes })
            }
            None => Self::Long(id),
        }
    }

    /// That of a message without one. Of its topic only a hash: all of a store are of one, but for records that do not belong there.
    #[inline]
    pub(super) fn origin(origin: &Origin<'_>, topic_hash: u64) -> Self {
        const LENGTH: usize = ORIGIN_BYTES + size_of::<u64>();
        let mut bytes = [0; SHORT];
        bytes[..ORIGIN_BYTES].copy_from_slice(&origin.bytes());
        bytes[ORIGIN_BYTES..LENGTH].copy_from_slice(&topic_hash.to_le_bytes());
        Self::Short(Short {
            length: LENGTH as u8,
            bytes,
        })
    }
}

impl Id {
    pub(super) const EMPTY: Self = Self::Short(Short {
        length: 0,
        bytes: [0; SHORT],
    });

    #[inline]
    pub(super) fn is(&self, sought: &Sought<'_>) -> bool {
        match (self, sought) {
            (Self::Short(id), Sought::Short(sought)) => id == sought,
            (Self::Long(id), Sought::Long(sought)) => id == sought,
            _ => false,
        }
    }

    /// Puts another in its place.
    #[inline]
    pub(super) fn set(&mut self, id: &Sought<'_>) {
        match (&mut *self, id) {
            (Self::Short(place), Sought::Short(id)) => *place = *id,
            (_, Sought::Short(id)) => *self = Self::Short(*id),
            (_, Sought::Long(id)) => self.set_long(id),
        }
    }

    #[cold]
    fn set_long(&mut self, id: &[u8]) {
        match self {
            // Much more than it takes would be kept for nothing.
            Self::Long(bytes) if (id.len()..=2 * id.len()).contains(&bytes.capacity()) => {
                bytes.clear();
                bytes.extend_from_slice(id);
            }
            _ => *self = Self::Long(id.to_vec()),
        }
    }

    /// Memory of its own.
    #[inline]
    pub(super) fn own_bytes(&self) -> usize {
        match self {
            Self::Short(_) => 0,
            Self::Long(bytes) => bytes.capacity(),
        }
    }
}
