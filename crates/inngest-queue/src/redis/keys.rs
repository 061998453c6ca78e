//! The names of everything that is kept in Redis. What each key holds is said in `lua/lib.lua`.

/// The keys of one schedule. All of them carry one hash tag, so that they are in one slot of a cluster and a script may use any of them.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    base: String,
}

impl Keys {
    /// The keys of the schedule of this name.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            base: format!("{{{prefix}}}:"),
        }
    }

    /// The generation; scripts derive the names of the other keys from it.
    pub(super) fn generation(&self) -> String {
        format!("{}gen", self.base)
    }

    /// The processes that know the present generation.
    pub(super) fn here(&self) -> String {
        format!("{}here", self.base)
    }

    /// The channel by which a process is told to look.
    pub(super) fn wake(&self, process: &str) -> String {
        format!("{}wake:{process}", self.base)
    }

    /// The channel of the hints of live views.
    pub(super) fn live(&self) -> String {
        format!("{}live", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_have_one_hash_tag() {
        let keys = Keys::new("inngest");
        assert_eq!(keys.generation(), "{inngest}:gen");
        assert_eq!(keys.wake("a1"), "{inngest}:wake:a1");
        assert_eq!(keys.live(), "{inngest}:live");
    }
}
