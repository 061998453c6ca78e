//! Keys that an issuer publishes: read when a key is asked for that is not known, at most every so often, and kept when it cannot be read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use inngest_executor::AppClient;
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::auth::UnusableKey;

/// How long the keys count as fresh.
const FRESH: Duration = Duration::from_secs(600);
/// Shortest pause between two readings, so that tokens with made-up key ids cannot make us ask again and again.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest reading.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest key set in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Most keys of a set that are looked at.
const MAX_KEYS: usize = 100;

/// A published key set.
pub(super) struct Jwks {
    url: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Arc<[(Option<String>, Algorithm, DecodingKey)]>,
    asked_at: Option<Instant>,
    read_at: Option<Instant>,
    /// Closed when the reading ends that was begun last.
    reading: Option<watch::Receiver<()>>,
}

impl Known {
    fn is_being_read(&self) -> bool {
        let reading = self.reading.as_ref();
        reading.is_some_and(|reading| reading.has_changed().is_ok())
    }
}

impl Jwks {
    pub(super) fn at(url: &str) -> Result<Arc<Self>, UnusableKey> {
        let host = url.split("://").nth(1).unwrap_or_default();
        let is_local = ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|local| host.starts_with(local));
        if url.starts_with("https://") || (url.starts_with("http://") && is_local) {
            Ok(Arc::new(Self {
                url: url.to_owned(),
                known: Mutex::default(),
            }))
        } else {
            Err(UnusableKey::Url)
        }
    }

    /// The key that a token with this header was made with, if the set has it.
    ///
    /// A key that is known is good while the set is read again, however long that takes. Only whoever asks for one that is not known waits
    /// for the reading under way, which begins at most every [`PAUSE`]; in between the answer is that there is none.
    pub(super) async fn find(
        self: &Arc<Self>,
        header: &Header,
        client: &AppClient,
        tracker: &TaskTracker,
    ) -> Option<(Algorithm, DecodingKey)> {
        let reading = {
            let mut known = self.lock();
            let found = pick(&known.keys, header);
            let is_fresh = known.read_at.is_some_and(|at| at.elapsed() < FRESH);
            if found.is_some() && is_fresh {
                return found;
            }
            let may_ask = known.asked_at.is_none_or(|at| at.elapsed() >= PAUSE);
            if may_ask && !known.is_being_read() {
                let (ends, reading) = watch::channel(());
                known.asked_at = Some(Instant::now());
                known.reading = Some(reading);
                // On a task of its own, because whoever asks may hang up.
                let (this, client) = (self.clone(), client.clone());
                tracker.spawn(async move {
                    this.read(&client).await;
                    drop(ends);
                });
            }
            if found.is_some() {
                return found;
            }
            known.reading.clone()
        };
        // Nothing is ever sent: this returns when the reading has ended.
        let _ = reading?.changed().await;
        pick(&self.lock().keys, header)
    }

    /// Reads the set; keeps what was known if it cannot be read.
    async fn read(&self, client: &AppClient) {
        match client.read_document(&self.url, PATIENCE, MAX_BYTES).await {
            Ok(body) => match serde_json::from_slice::<JwkSet>(&body) {
                Ok(set) => {
                    let keys = set.keys.iter().take(MAX_KEYS).filter_map(usable).collect();
                    let mut known = self.lock();
                    known.keys = keys;
                    known.read_at = Some(Instant::now());
                }
                Err(_) => {
                    warn!("the key set for tokens is not one; the keys known before are kept")
                }
            },
            Err(error) => {
                warn!(error = %error, "the key set for tokens could not be read; the keys known before are kept");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pick(
    keys: &[(Option<String>, Algorithm, DecodingKey)],
    header: &Header,
) -> Option<(Algorithm, DecodingKey)> {
    let mut fitting = keys.iter().filter(|(id, algorithm, _)| {
        *algorithm == header.alg && (header.kid.is_none() || *id == header.kid)
    });
    let (_, algorithm, key) = fitting.next()?;
    // Without a key id the set must leave no choice.
    (header.kid.is_some() || fitting.next().is_none()).then(|| (*algorithm, key.clone()))
}

/// A key for signatures with its one algorithm. Secrets have no business in a published set.
fn usable(jwk: &Jwk) -> Option<(Option<String>, Algorithm, DecodingKey)> {
    let is_for_signatures = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(_) => Algorithm::EdDSA,
        _ => return None,
    };
    let named = jwk
        .common
        .key_algorithm
        .is_none_or(|named| named.to_string() == format!("{algorithm:?}"));
    (is_for_signatures && named)
        .then(|| DecodingKey::from_jwk(jwk).ok())
        .flatten()
        .map(|key| (jwk.common.key_id.clone(), algorithm, key))
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
