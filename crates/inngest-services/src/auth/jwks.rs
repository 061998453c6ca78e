//! Keys that an issuer publishes: read when a key is asked for that is not known, at most every so often, and kept when it cannot be read.

use std::{sync::Arc, time::Duration};

use inngest_executor::AppClient;
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use tokio::{sync::Mutex, time::Instant};
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
}

impl Jwks {
    pub(super) fn at(url: &str) -> Result<Self, UnusableKey> {
        let host = url.split("://").nth(1).unwrap_or_default();
        let is_local = ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|local| host.starts_with(local));
        if url.starts_with("https://") || (url.starts_with("http://") && is_local) {
            Ok(Self {
                url: url.to_owned(),
                known: Mutex::default(),
            })
        } else {
            Err(UnusableKey::Url)
        }
    }

    /// The key that a token with this header was made with, if the set has it.
    pub(super) async fn find(
        &self,
        header: &Header,
        client: &AppClient,
    ) -> Option<(Algorithm, DecodingKey)> {
        // Whoever else asks meanwhile waits for the same reading.
        let mut known = self.known.lock().await;
        let found = pick(&known.keys, header);
        let is_fresh = known.read_at.is_some_and(|at| at.elapsed() < FRESH);
        let may_ask = known.asked_at.is_none_or(|at| at.elapsed() >= PAUSE);
        if (found.is_some() && is_fresh) || !may_ask {
            return found;
        }
        known.asked_at = Some(Instant::now());
        match client.read_document(&self.url, PATIENCE, MAX_BYTES).await {
            Ok(body) => match serde_json::from_slice::<JwkSet>(&body) {
                Ok(set) => {
                    known.keys = set.keys.iter().take(MAX_KEYS).filter_map(usable).collect();
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
        pick(&known.keys, header)
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
