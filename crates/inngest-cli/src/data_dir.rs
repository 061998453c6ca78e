//! The directory of an SQLite file: made at need, and used by one server at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::Path,
};

use anyhow::{Context, bail};

/// The right to use a directory. Ends with the process, however it ends.
pub(crate) struct DataDir {
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and claims it.
    ///
    /// # Errors
    /// When the directory cannot be made or written, or another server uses it: two schedules over one file would do work twice.
    pub(crate) fn claim(directory: &Path) -> anyhow::Result<Self> {
        let place = directory.display();
        fs::create_dir_all(directory).with_context(|| {
            format!("could not make the directory {place} for the database; choose another with --sqlite-dir")
        })?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("main.lock"))
            .with_context(|| {
                format!("could not write into {place}; choose another directory with --sqlite-dir")
            })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another inngest server uses the database in {place}; stop it or choose another directory with --sqlite-dir"
                )
            }
            // Some network file systems have no locks; the database's own locks are all there is then.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(error = %error, "could not lock the database's directory; make sure that only one server uses it");
                Ok(Self { _lock: lock })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_server_on_one_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a/b");
        let first = DataDir::claim(&data).unwrap();
        let refused = DataDir::claim(&data)
            .err()
            .expect("the directory is in use");
        assert!(
            refused.to_string().contains("another inngest server uses"),
            "{refused:#}"
        );
        drop(first);
        assert!(DataDir::claim(&data).is_ok());
    }

    #[test]
    fn directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = DataDir::claim(&file.join("data"))
            .err()
            .expect("a file is no directory");
        assert!(
            format!("{refused:#}").contains("--sqlite-dir"),
            "{refused:#}"
        );
    }
}
