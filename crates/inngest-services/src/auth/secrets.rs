//! Secrets of the installation: random, made once by whoever starts first, and kept in the database under a key that is not in it.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use inngest_core::time::Timestamp;
use inngest_state::{SealedSecret, Store};
use tracing::info;

use crate::Error;

/// Length of a secret and of the key that seals it.
const LEN: usize = 32;
/// Shortest configured secret in bytes.
const MIN_CONFIGURED: usize = 16;

/// A configured secret, from which the key is derived that seals the others.
#[derive(Clone)]
pub struct SecretKey([u8; LEN]);

/// A configured secret that is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret key is shorter than {MIN_CONFIGURED} bytes")]
pub struct WeakSecret;

impl SecretKey {
    /// Derives the key.
    ///
    /// # Errors
    /// When the secret is too short.
    pub fn derive(configured: &str) -> Result<Self, WeakSecret> {
        if configured.len() < MIN_CONFIGURED {
            return Err(WeakSecret);
        }
        let mut key = [0; LEN];
        Salt::new(HKDF_SHA256, b"inngest installation")
            .extract(configured.as_bytes())
            .expand(&[b"seal secrets, version 1"], HKDF_SHA256)
            .and_then(|material| material.fill(&mut key))
            .map_err(|_| WeakSecret)?;
        Ok(Self(key))
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.0)
            .ok()
            .map(LessSafeKey::new)
    }

    fn seal(&self, purpose: &str, secret: &[u8]) -> Option<SealedSecret> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = secret.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .ok()?;
        Some(SealedSecret {
            nonce: nonce.to_vec(),
            ciphertext: sealed,
        })
    }

    fn open(&self, purpose: &str, sealed: &SealedSecret) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(&sealed.nonce).ok()?;
        let mut bytes = sealed.ciphertext.clone();
        let opened = self
            .cipher()?
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut bytes)
            .ok()?;
        Some(opened.to_vec())
    }
}

/// The secret of the installation for this purpose; made if there is none. `keys` are the configured one and those it had before: what
/// an older one opens is sealed anew with the first.
pub(crate) async fn find_or_make(
    store: &Store,
    keys: &[SecretKey],
    purpose: &'static str,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, Error> {
    let Some(first) = keys.first() else {
        return Ok(None);
    };
    let failed = || Error::Internal {
        what: "a secret could not be sealed".to_owned(),
    };
    let fresh: [u8; LEN] = rand::random();
    let sealed = first.seal(purpose, &fresh).ok_or_else(failed)?;
    // Of several processes that start at once the first one's counts.
    let kept = store.keep_secret(purpose, &sealed, now).await?;
    if let Some(secret) = first.open(purpose, &kept) {
        return Ok(Some(secret));
    }
    let Some(secret) = keys[1..].iter().find_map(|key| key.open(purpose, &kept)) else {
        return Err(Error::Invalid {
            code: "secret_key_does_not_fit",
            message: "the secret key is not the one that this installation's secrets were sealed with; give that one as \
                      secret-key-fallback as well (without secret-key, the signing key takes its place)"
                .to_owned(),
        });
    };
    let sealed = first.seal(purpose, &secret).ok_or_else(failed)?;
    store.replace_secret(purpose, &kept, &sealed).await?;
    info!(
        purpose,
        "a secret of the installation was sealed with the new secret key"
    );
    Ok(Some(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_purpose_open_a_secret() {
        let key = |text: &str| SecretKey::derive(text).unwrap();
        let sealed = key("sixteen letters!").seal("tokens", b"secret").unwrap();
        assert_eq!(
            key("sixteen letters!").open("tokens", &sealed).as_deref(),
            Some(b"secret".as_slice())
        );
        assert!(key("sixteen letters?").open("tokens", &sealed).is_none());
        assert!(key("sixteen letters!").open("others", &sealed).is_none());
        assert!(SecretKey::derive("too short").is_err());
    }
}
