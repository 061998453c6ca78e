//! Tokens: JWTs of a configured issuer, and those that the installation issues itself.
//!
//! Each key has its one algorithm, whatever a token says of itself; `iss`, `aud` and `exp` have to be there and right. Claims that
//! make the actor: `org` (its id), `envs` (names or ids, the first one counts unless another is asked for) and `role`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use inngest_core::{
    access::{Actor, Role},
    ids::{DEFAULT_ENV, DEFAULT_ORG, EnvId, OrgId},
    time::Timestamp,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Error, auth::jwks::Jwks, engine::Engine};

/// How far the clocks of issuer and server may differ.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);
/// Longest token in bytes.
const MAX_TOKEN: usize = 8 * 1024;
/// Most environments that a token may name.
const MAX_ENVS: usize = 100;
/// Longest subject, in bytes (RFC 7519 sets none; OpenID Connect says 255 characters).
const MAX_SUBJECT: usize = 1_024;
/// Shortest shared secret in bytes.
const MIN_SECRET: usize = 32;
/// Who issues the tokens of the installation itself, and for whom.
const OWN_ISSUER: &str = "inngest";

/// A key of a configured issuer.
#[derive(Clone)]
pub enum TokenKey {
    /// A secret shared with the issuer: HS256.
    Secret(String),
    /// A public key in PEM: RS256, ES256 or EdDSA, as the key is.
    PublicKey(String),
    /// Where the issuer publishes its keys (a JWK set).
    Jwks(String),
}

/// The issuer whose tokens are accepted beside the installation's own.
#[derive(Clone)]
pub struct TokenIssuer {
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be or to contain.
    pub audience: String,
    /// Its keys; a token made with any of them is good.
    pub keys: Vec<TokenKey>,
}

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// Too short to be a secret.
    #[error("the secret for tokens is shorter than {MIN_SECRET} bytes")]
    ShortSecret,
    /// Not a key in PEM of a kind that is supported.
    #[error("the public key for tokens is no RSA, P-256 or Ed25519 key in PEM")]
    PublicKey,
    /// Not a URL that can be asked.
    #[error("the URL of the key set must begin with https:// (or name this machine)")]
    Url,
}

/// The keys of the configured issuer, ready for use.
#[derive(Default)]
pub struct TokenKeys(Option<Issuer>);

struct Issuer {
    issuer: String,
    audience: String,
    fixed: Vec<(Algorithm, DecodingKey)>,
    published: Vec<Arc<Jwks>>,
}

impl Issuer {
    fn candidate<'a>(&'a self, algorithm: Algorithm, key: Cow<'a, DecodingKey>) -> Candidate<'a> {
        Candidate {
            algorithm,
            key,
            issuer: &self.issuer,
            audience: &self.audience,
        }
    }
}

impl TokenKeys {
    /// Reads the keys.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(issuer: &TokenIssuer) -> Result<Self, UnusableKey> {
        let (mut fixed, mut published) = (Vec::new(), Vec::new());
        for key in &issuer.keys {
            match key {
                TokenKey::Secret(secret) if secret.len() < MIN_SECRET => {
                    return Err(UnusableKey::ShortSecret);
                }
                TokenKey::Secret(secret) => fixed.push((
                    Algorithm::HS256,
                    DecodingKey::from_secret(secret.as_bytes()),
                )),
                TokenKey::PublicKey(pem) => fixed.push(public_key(pem)?),
                TokenKey::Jwks(url) => published.push(Jwks::at(url)?),
            }
        }
        Ok(Self(Some(Issuer {
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
            fixed,
            published,
        })))
    }
}

fn public_key(pem: &str) -> Result<(Algorithm, DecodingKey), UnusableKey> {
    let pem = pem.as_bytes();
    DecodingKey::from_rsa_pem(pem)
        .map(|key| (Algorithm::RS256, key))
        .or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key)))
        .or_else(|_| DecodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key)))
        .map_err(|_| UnusableKey::PublicKey)
}

/// All that is needed to judge a token.
pub(crate) struct Tokens {
    issuer: Option<Issuer>,
    own: Option<Own>,
}

struct Own {
    decoding: DecodingKey,
    encoding: EncodingKey,
}

#[derive(Serialize)]
struct OwnClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    org: String,
    envs: [String; 1],
    role: &'a str,
}

/// Claims, with the ones checked by the library left out.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    org: Option<String>,
    #[serde(default)]
    envs: Vec<String>,
    #[serde(default)]
    role: Option<String>,
}

impl Tokens {
    /// `secret` is the installation's.
    pub(crate) fn new(keys: TokenKeys, secret: Option<&[u8]>) -> Self {
        let own = secret.map(|secret| Own {
            decoding: DecodingKey::from_secret(secret),
            encoding: EncodingKey::from_secret(secret),
        });
        Self {
            issuer: keys.0,
            own,
        }
    }

    pub(crate) fn issue(
        &self,
        subject: &str,
        role: Role,
        valid_for: Duration,
        now: Timestamp,
    ) -> Result<String, Error> {
        let internal = |what: &str| Error::Internal {
            what: what.to_owned(),
        };
        let own = self
            .own
            .as_ref()
            .ok_or_else(|| internal("this installation has no secret for tokens"))?;
        let seconds = now.as_millis() / 1_000;
        let claims = OwnClaims {
            iss: OWN_ISSUER,
            aud: OWN_ISSUER,
            sub: subject,
            iat: seconds,
            nbf: seconds,
            exp: now.plus(valid_for).as_millis() / 1_000,
            jti: Uuid::new_v4().to_string(),
            org: DEFAULT_ORG.to_string(),
            envs: [DEFAULT_ENV.to_string()],
            role: role.as_str(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &own.encoding)
            .map_err(|_| internal("a token could not be made"))
    }

    /// Who bears this token. The error says why not, for the log.
    pub(crate) async fn verify(
        &self,
        token: &str,
        environment: Option<&str>,
        engine: &Engine,
    ) -> Result<Actor, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err("too long");
        }
        let header = decode_header(token).map_err(|_| "not a token")?;
        let claims = self.claims(token, &header, engine).await?;
        let actor = actor_of(&claims, environment, engine).await?;
        Ok(actor)
    }

    async fn claims(
        &self,
        token: &str,
        header: &Header,
        engine: &Engine,
    ) -> Result<Claims, &'static str> {
        let now = engine.clock.now();
        let mut reason = "signed by nobody we know";
        let mut try_key = |candidate: &Candidate<'_>| match judge(token, candidate, now) {
            Ok(claims) => Some(claims),
            Err(Refusal::Signature) => None,
            Err(Refusal::Claim(claim)) => {
                reason = claim;
                None
            }
        };
        if let Some(claims) = self.at_hand(header).iter().find_map(&mut try_key) {
            return Ok(claims);
        }
        // Asked for only when no key at hand fits: finding one may cost a request to the issuer.
        if let Some(issuer) = &self.issuer {
            for published in &issuer.published {
                let found = published
                    .find(header, &engine.client, &engine.tracker)
                    .await;
                let candidate =
                    found.map(|(algorithm, key)| issuer.candidate(algorithm, Cow::Owned(key)));
                if let Some(claims) = candidate.as_ref().and_then(&mut try_key) {
                    return Ok(claims);
                }
            }
        }
        Err(reason)
    }

    /// The keys that we hold and that a token with this header may have been made with: one that names another algorithm was not.
    fn at_hand(&self, header: &Header) -> Vec<Candidate<'_>> {
        let own = self.own.iter().map(|own| Candidate {
            algorithm: Algorithm::HS256,
            key: Cow::Borrowed(&own.decoding),
            issuer: OWN_ISSUER,
            audience: OWN_ISSUER,
        });
        let fixed = self.issuer.iter().flat_map(|issuer| {
            let keys = issuer.fixed.iter();
            keys.map(|(algorithm, key)| issuer.candidate(*algorithm, Cow::Borrowed(key)))
        });
        own.chain(fixed)
            .filter(|candidate| candidate.algorithm == header.alg)
            .collect()
    }
}

/// A key that a token may have been made with, and what the token then has to say.
struct Candidate<'a> {
    algorithm: Algorithm,
    key: Cow<'a, DecodingKey>,
    issuer: &'a str,
    audience: &'a str,
}

enum Refusal {
    Signature,
    Claim(&'static str),
}

/// Checks signature and claims. Times are judged by the database's clock, as everything is.
fn judge(token: &str, candidate: &Candidate<'_>, now: Timestamp) -> Result<Claims, Refusal> {
    let mut validation = Validation::new(candidate.algorithm);
    validation.algorithms = vec![candidate.algorithm];
    validation.set_issuer(&[candidate.issuer]);
    validation.set_audience(&[candidate.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_exp = false;
    let decoded = decode::<Map<String, Value>>(token, &candidate.key, &validation);
    let claims = decoded.map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidIssuer => Refusal::Claim("wrong issuer"),
        jsonwebtoken::errors::ErrorKind::InvalidAudience => Refusal::Claim("wrong audience"),
        jsonwebtoken::errors::ErrorKind::MissingRequiredClaim(_) => {
            Refusal::Claim("a required claim is missing")
        }
        _ => Refusal::Signature,
    })?;
    let claims: Claims = serde_json::from_value(Value::Object(claims.claims))
        .map_err(|_| Refusal::Claim("a claim has the wrong form"))?;
    let earliest = now.minus(LEEWAY);
    if millis(claims.exp) <= earliest {
        return Err(Refusal::Claim("expired"));
    }
    if claims.nbf.is_some_and(|nbf| millis(nbf) > now.plus(LEEWAY)) {
        return Err(Refusal::Claim("not valid yet"));
    }
    Ok(claims)
}

/// Seconds since the epoch as a time.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float becomes the nearest integer, which is what is wanted at the ends"
)]
fn millis(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1_000.0) as i64)
}

async fn actor_of(
    claims: &Claims,
    environment: Option<&str>,
    engine: &Engine,
) -> Result<Actor, &'static str> {
    let org = claims.org.as_deref().ok_or("no organization")?;
    let org: Uuid = org.parse().map_err(|_| "the organization is no id")?;
    let role = claims
        .role
        .as_deref()
        .and_then(Role::parse)
        .ok_or("no role")?;
    if claims
        .sub
        .as_ref()
        .is_some_and(|sub| sub.len() > MAX_SUBJECT || sub.contains('\0'))
    {
        return Err("the subject is too long, or no text");
    }
    if claims.envs.len() > MAX_ENVS {
        return Err("too many environments");
    }
    let first = claims.envs.first().ok_or("no environment")?;
    let wanted = environment.unwrap_or(first);
    let org = OrgId::from_raw(org);
    let (env, slug) = engine
        .find_environment(org, wanted)
        .await
        .map_err(|_| "the environments could not be read")?
        .ok_or("no such environment")?;
    let is_named = claims
        .envs
        .iter()
        .any(|named| *named == slug || named.parse() == Ok(env.raw()));
    if !is_named {
        return Err("not its environment");
    }
    let actor = Actor::token(org, env, role, millis(claims.exp));
    Ok(match &claims.sub {
        Some(subject) => actor.named(subject),
        None => actor,
    })
}

impl Engine {
    /// The environment of this name or id, with its name. Those that were found once are remembered: they do not move.
    async fn find_environment(
        &self,
        org: OrgId,
        name: &str,
    ) -> Result<Option<(EnvId, String)>, Error> {
        let key = (org, name.to_owned());
        let known = self.environments.read().await.get(&key).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.store.find_environment(org, name).await?;
        if let Some(found) = &found {
            self.environments.write().await.insert(key, found.clone());
        }
        Ok(found)
    }
}
