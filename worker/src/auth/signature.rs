//! What the gateway signs for itself: JWTs whose key is derived from a secret of the Worker for one purpose, so that they can be taken for
//! nothing else and nothing else for them. Pure.

use cabana_protocol::Error;
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use super::algorithms;

/// A key for one purpose.
pub(super) struct SigningKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl SigningKey {
    /// Derives the key from this secret.
    pub(super) fn derive(secret: &str, purpose: &[u8]) -> Self {
        algorithms::provide();
        let mut derivation = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        derivation.update(purpose);
        let key = derivation.finalize().into_bytes();
        Self { encoding: EncodingKey::from_secret(&key), decoding: DecodingKey::from_secret(&key) }
    }

    /// These claims, signed.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, Error> {
        let token = encode(&Header::new(Algorithm::HS256), claims, &self.encoding);
        token.map_err(|_| Error::internal("the token cannot be signed"))
    }

    /// The claims of a token, if it is ours. When it ends is the claims' own.
    pub(super) fn verify<T: DeserializeOwned + Clone>(&self, token: &str) -> Option<T> {
        let mut validation = Validation::new(Algorithm::HS256);
        // Claims have one of their own for that, and nothing here reads a clock.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Some(decode::<T>(token, &self.decoding, &validation).ok()?.claims)
    }
}
