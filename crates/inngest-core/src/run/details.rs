//! What a step asked for. The waits and the work of a step go when it ends; this stays for people to see.

use sha1::{Digest, Sha1};

use crate::{ids::StepId, json::Json, time::Timestamp};

/// What an app says of a step besides what it asks for, for people to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepTold {
    /// The id that the code gives it, where that does not follow from its name.
    pub code_id: Option<CodeId>,
    /// The arguments of its code; none when there are none, or they are longer than [`crate::limits::DETAIL_BYTES`].
    pub input: Option<Json>,
}

impl StepTold {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.code_id.is_none() && self.input.is_none()
    }
}

/// The id that code gives a step, of which its hashed id is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeId {
    /// The id.
    pub id: String,
    /// Which use of this id in the run it is, from 0; none when the app has not said so and it is not the first.
    pub index: Option<u32>,
}

impl CodeId {
    /// The first use of the name as an id, if that is what the hashed id is made of.
    pub fn of_name(name: &str, step: &StepId) -> Option<Self> {
        let hash = Sha1::digest(name.as_bytes());
        let hex = step.as_str().as_bytes().chunks(2);
        let is_it = step.as_str().len() == 2 * hash.len()
            && hex.zip(hash).all(|(digits, byte)| {
                let digits = std::str::from_utf8(digits).ok();
                digits.and_then(|it| u8::from_str_radix(it, 16).ok()) == Some(byte)
            });
        is_it.then(|| Self {
            id: name.to_owned(),
            index: Some(0),
        })
    }
}

/// What a step asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepDetails {
    /// To run code of this sort, as the SDK calls it; code that it has no name for has no details.
    Code {
        /// For example `step.sendEvent`.
        sort: String,
    },
    /// To sleep.
    Sleep {
        /// When it ends.
        until: Timestamp,
    },
    /// To wait for an event.
    Event {
        /// Its name.
        name: String,
        /// The condition; none when there is none, or it is longer than [`crate::limits::DETAIL_BYTES`].
        expression: Option<String>,
        /// When it gives up.
        until: Timestamp,
    },
    /// To wait for a signal.
    Signal {
        /// Its name.
        name: String,
        /// When it gives up.
        until: Timestamp,
    },
    /// To run another function.
    Invoke {
        /// Its slug, as the app gave it, cut to [`crate::limits::DETAIL_BYTES`].
        function: String,
        /// When it gives up.
        until: Timestamp,
    },
    /// To make an HTTP request for it.
    Fetch {
        /// The target without credentials, query and fragment, which may hold secrets.
        url: String,
        /// The method, in capitals.
        method: String,
    },
}

impl StepDetails {
    /// When the step moves at the latest, if it has such a time.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Sleep { until }
            | Self::Event { until, .. }
            | Self::Signal { until, .. }
            | Self::Invoke { until, .. } => Some(*until),
            Self::Code { .. } | Self::Fetch { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_the_id_where_the_hash_says_so() {
        let step = StepId::parse("86f7e437faa5a7fce15d1ddcb9eaeaea377667b8").unwrap();
        let first = CodeId::of_name("a", &step);
        assert_eq!(
            first,
            Some(CodeId {
                id: "a".to_owned(),
                index: Some(0)
            })
        );
        assert_eq!(CodeId::of_name("b", &step), None);
        // Other dialects have hashes of their own, and SDKs may have other ids.
        assert_eq!(CodeId::of_name("a", &StepId::parse("a").unwrap()), None);
        assert_eq!(CodeId::of_name("a", &StepId::parse("86f7").unwrap()), None);
    }
}
