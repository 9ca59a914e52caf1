//! Parts of long lists.

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many entries at most.
    pub limit: u64,
    /// How many to leave out first.
    pub offset: u64,
}

impl Page {
    /// The first `limit` entries.
    #[must_use]
    pub fn first(limit: u64) -> Self {
        Self { limit, offset: 0 }
    }

    /// Everything, for lists that a tenant keeps short.
    #[must_use]
    pub fn all() -> Self {
        // Both databases take the limit as a signed 64-bit number.
        Self { limit: i64::MAX.unsigned_abs(), offset: 0 }
    }
}

/// A part of a list, and the size of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The entries of the page.
    pub items: Vec<T>,
    /// How many entries the list has in all.
    pub total: u64,
}
