//! An issuer of JWTs, with fresh keys of every kind, for a service that is to trust it.

mod publication;

use std::net::{Ipv4Addr, TcpListener};

use data_encoding::BASE64URL_NOPAD as BASE64;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rsa::{
    pkcs1::EncodeRsaPrivateKey,
    rand_core::{OsRng, RngCore},
    traits::PublicKeyParts,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use publication::Publication;

/// The keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issuer {
    /// Signs with HS256.
    pub secret: String,
    /// Sign with the algorithms of public keys.
    pub keys: Vec<PrivateKey>,
    /// Where on this machine it publishes their other halves.
    port: u16,
}

/// A key that the issuer publishes one half of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PrivateKey {
    /// What it signs with.
    pub algorithm: Algorithm,
    /// As `jsonwebtoken` takes it, in base64.
    der: String,
    /// What is published, its `kid` included.
    pub jwk: Value,
}

impl Issuer {
    /// Who issues.
    pub const NAME: &str = "https://issuer.test";
    /// For whom.
    pub const AUDIENCE: &str = "cabana-tests";

    /// An issuer that nobody has ever seen.
    pub fn generate() -> Self {
        Self { secret: secret(), keys: vec![rs256(), es256(), eddsa()], port: port() }
    }

    /// The same with a key for this algorithm alone.
    pub fn generate_for(algorithm: Algorithm) -> Self {
        let keys = match algorithm {
            Algorithm::RS256 => vec![rs256()],
            Algorithm::ES256 => vec![es256()],
            Algorithm::EdDSA => vec![eddsa()],
            _ => vec![],
        };
        Self { secret: secret(), keys, port: 0 }
    }

    /// The one that the service under test trusts, which a file that `CABANA_TEST_ISSUER` names holds. Its keys are published by then.
    pub fn of_service() -> Option<Self> {
        let file = std::env::var_os("CABANA_TEST_ISSUER")?;
        let issuer: Self = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        issuer.publication();
        Some(issuer)
    }

    /// What it publishes.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() })
    }

    /// Where the service finds that.
    pub fn jwks_url(&self) -> String {
        format!("http://{}:{}/jwks.json", Ipv4Addr::LOCALHOST, self.port)
    }

    /// What is found there.
    pub fn publication(&self) -> &'static Publication {
        Publication::on(self.port, self.keys.iter().map(|key| key.jwk.clone()))
    }

    /// Its key for an algorithm.
    pub fn key(&self, algorithm: Algorithm) -> &PrivateKey {
        self.keys.iter().find(|key| key.algorithm == algorithm).expect("a key of this algorithm")
    }

    /// A token with these claims, signed as the algorithm's key does.
    pub fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        if algorithm == Algorithm::HS256 {
            return encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(self.secret.as_bytes())).unwrap();
        }
        let key = self.key(algorithm);
        let header = Header { kid: key.jwk["kid"].as_str().map(str::to_owned), ..Header::new(algorithm) };
        key.sign(&header, claims)
    }
}

impl PrivateKey {
    /// A token with this header.
    pub fn sign(&self, header: &Header, claims: &Value) -> String {
        let der = BASE64.decode(self.der.as_bytes()).unwrap();
        let key = match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_der(&der),
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_ed_der(&der),
        };
        encode(header, claims, &key).unwrap()
    }
}

/// A port that is free, and stays so until it is used: the kernel gives none below 32,768 away by itself.
fn port() -> u16 {
    let ports = std::iter::repeat_with(|| 20_000 + u16::try_from(OsRng.next_u32() % 10_000).unwrap());
    ports.take(100).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).expect("a free port")
}

fn secret() -> String {
    let mut secret = [0; 32];
    OsRng.fill_bytes(&mut secret);
    BASE64.encode(&secret)
}

fn rs256() -> PrivateKey {
    let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    let [n, e] = [key.n(), key.e()].map(|number| BASE64.encode(&number.to_bytes_be()));
    let jwk = json!({ "kty": "RSA", "kid": "rsa-1", "use": "sig", "alg": "RS256", "n": n, "e": e });
    PrivateKey { algorithm: Algorithm::RS256, der: BASE64.encode(key.to_pkcs1_der().unwrap().as_bytes()), jwk }
}

fn es256() -> PrivateKey {
    let key = p256::SecretKey::random(&mut OsRng);
    let point = p256::EncodedPoint::from(key.public_key());
    let [x, y] = [point.x(), point.y()].map(|coordinate| BASE64.encode(coordinate.unwrap()));
    let jwk = json!({ "kty": "EC", "kid": "ec-1", "crv": "P-256", "x": x, "y": y });
    PrivateKey { algorithm: Algorithm::ES256, der: BASE64.encode(key.to_pkcs8_der().unwrap().as_bytes()), jwk }
}

fn eddsa() -> PrivateKey {
    let key = ed25519_dalek::SigningKey::generate(&mut OsRng);
    let jwk = json!({ "kty": "OKP", "kid": "ed-1", "crv": "Ed25519", "x": BASE64.encode(key.verifying_key().as_bytes()) });
    PrivateKey { algorithm: Algorithm::EdDSA, der: BASE64.encode(key.to_pkcs8_der().unwrap().as_bytes()), jwk }
}
