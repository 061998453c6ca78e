//! Admission: how much may be worked on at once.

use inngest_core::job::Work;

/// Limits of one partition, that is of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionLimits {
    /// How many items that call the app may be leased at once; `None` for any number.
    pub concurrency: Option<u32>,
}

/// One limit that an item shares with all others that name the same key, in whatever partition they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AdmissionKey {
    /// Hash of the limit's scope and value.
    pub(crate) key: u128,
    /// How many holders there may be at once; the latest item to name the key decides.
    pub(crate) limit: u32,
}

/// The limits of an item beyond those of its partition. Almost always empty, so that it costs one word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AdmissionKeys(Option<Box<[AdmissionKey]>>);

impl AdmissionKeys {
    /// The keys that a row of work carries.
    pub(crate) fn of(_work: &Work) -> Self {
        Self::default()
    }

    #[cfg(test)]
    pub(crate) fn new(mut keys: Vec<AdmissionKey>) -> Self {
        keys.sort_unstable();
        keys.dedup_by_key(|key| key.key);
        Self((!keys.is_empty()).then(|| keys.into_boxed_slice()))
    }

    pub(crate) fn as_slice(&self) -> &[AdmissionKey] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
