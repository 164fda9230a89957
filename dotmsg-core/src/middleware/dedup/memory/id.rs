//! An id in an entry: in it, when it is short, else in memory of its own, which the next one uses again.

/// The longest id that lies in its entry: a UUID as text, with two to spare.
pub(super) const SHORT: usize = 38;

pub(super) enum Id {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Vec<u8>),
}

impl Id {
    pub(super) const EMPTY: Self = Self::Short {
        length: 0,
        bytes: [0; SHORT],
    };

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }

    /// Puts another in its place.
    pub(super) fn set(&mut self, id: &[u8]) {
        if id.len() <= SHORT {
            let mut bytes = [0; SHORT];
            bytes[..id.len()].copy_from_slice(id);
            let length = u8::try_from(id.len()).expect("a short one");
            *self = Self::Short { length, bytes };
            return;
        }
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
    pub(super) fn own_bytes(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long(bytes) => bytes.capacity(),
        }
    }
}
