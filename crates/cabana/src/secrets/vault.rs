//! Seals values with a key of the Worker's, so that the database alone reveals none. Pure but for [`Vault::read`].
//!
//! AES-256-GCM, with a random nonce for each value. Tenant and name are authenticated with it: a row that is moved to another tenant or name
//! does not open.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use cabana_protocol::{Code, Error, Tenant, secret::SecretName};
use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use worker::Env;

use crate::{random, variables::variable};

/// The Worker's secret that values are sealed with.
const KEY_VARIABLE: &str = "CABANA_SECRETS_KEY";

/// An earlier one, with which values still open. What is stored anew is sealed with the other.
const PREVIOUS_VARIABLE: &str = "CABANA_SECRETS_KEY_PREVIOUS";

/// Shortest secret of the Worker's, in bytes.
const MIN_KEY: usize = 32;

/// What the key is for, so that one derived for something else opens nothing here.
const PURPOSE: &[u8] = b"cabana network secrets 1";

/// In bytes, as AES-GCM has it.
const NONCE: usize = 12;

/// The keys: the first seals, all of them open.
pub(super) struct Vault(Vec<Aes256Gcm>);

impl Vault {
    /// Takes the keys of the Worker's secrets.
    ///
    /// Fails with `not_implemented` where there is none, and with `unavailable` where it can be guessed.
    pub(super) fn read(env: &Env) -> Result<Self, Error> {
        Self::from_variables(|name| variable(env, name))
    }

    fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let present = |name: &str| lookup(name).filter(|value| !value.is_empty());
        if present(KEY_VARIABLE).is_none() {
            return Err(Error::new(Code::NotImplemented, format!("secrets need the Worker's secret {KEY_VARIABLE}")));
        }
        let mut keys = Vec::new();
        for name in [KEY_VARIABLE, PREVIOUS_VARIABLE] {
            match present(name) {
                Some(key) if key.len() < MIN_KEY => {
                    let message = format!(
                        "the Worker's secret {name} must have at least {MIN_KEY} bytes: set one from `openssl rand -hex 32`"
                    );
                    return Err(Error { retryable: false, ..Error::new(Code::Unavailable, message) });
                }
                Some(key) => keys.push(derive(&key)),
                None => {}
            }
        }
        Ok(Self(keys))
    }

    /// Encrypts a value.
    pub(super) fn seal(&self, tenant: &Tenant, name: &SecretName, value: &str) -> String {
        let nonce: [u8; NONCE] = random::bytes();
        let bound = bind(tenant, name);
        let sealed = self.0[0].encrypt(&nonce.into(), Payload { msg: value.as_bytes(), aad: &bound });
        let sealed = sealed.expect("AES-GCM encrypts messages of up to 64 GiB");
        BASE64.encode(&[&nonce[..], &sealed].concat())
    }

    /// Decrypts a value. `None` where it was sealed with another key, for another secret, or changed.
    pub(super) fn open(&self, tenant: &Tenant, name: &SecretName, sealed: &str) -> Option<String> {
        let bytes = BASE64.decode(sealed.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let bound = bind(tenant, name);
        let payload = || Payload { msg: sealed, aad: &bound };
        let opened = self.0.iter().find_map(|key| key.decrypt(nonce.into(), payload()).ok())?;
        String::from_utf8(opened).ok()
    }
}

fn derive(secret: &str) -> Aes256Gcm {
    let mut hash = <Hmac<Sha256> as Mac>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    hash.update(PURPOSE);
    Aes256Gcm::new(&hash.finalize().into_bytes())
}

/// Neither a tenant nor a name holds the byte between them.
fn bind(tenant: &Tenant, name: &SecretName) -> Vec<u8> {
    [tenant.as_str().as_bytes(), b"\0", name.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn vault(variables: &[(&str, &str)]) -> Result<Vault, Error> {
        Vault::from_variables(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_value_opens_for_its_own_tenant_and_name_alone() {
        let (tenant, name): (Tenant, SecretName) = ("acme".parse().unwrap(), "github".parse().unwrap());
        let own = vault(&[(KEY_VARIABLE, KEY)]).unwrap();
        let sealed = own.seal(&tenant, &name, "hunter2-hunter2");
        assert!(!sealed.contains("hunter2") && sealed != own.seal(&tenant, &name, "hunter2-hunter2"));
        assert_eq!(own.open(&tenant, &name, &sealed).as_deref(), Some("hunter2-hunter2"));
        assert_eq!(own.open(&"other".parse().unwrap(), &name, &sealed), None);
        assert_eq!(own.open(&tenant, &"gitlab".parse().unwrap(), &sealed), None);
        assert_eq!(vault(&[(KEY_VARIABLE, OTHER)]).unwrap().open(&tenant, &name, &sealed), None);
        let mut changed = BASE64.decode(sealed.as_bytes()).unwrap();
        changed[NONCE] ^= 1;
        for odd in [BASE64.encode(&changed), String::new(), "AAAA".to_owned(), "%".to_owned()] {
            assert_eq!(own.open(&tenant, &name, &odd), None, "{odd}");
        }
    }

    #[test]
    fn values_of_the_previous_key_still_open() {
        let (tenant, name): (Tenant, SecretName) = ("acme".parse().unwrap(), "github".parse().unwrap());
        let sealed = vault(&[(KEY_VARIABLE, KEY)]).unwrap().seal(&tenant, &name, "hunter2-hunter2");
        let rotated = vault(&[(KEY_VARIABLE, OTHER), (PREVIOUS_VARIABLE, KEY)]).unwrap();
        assert_eq!(rotated.open(&tenant, &name, &sealed).as_deref(), Some("hunter2-hunter2"));
        let anew = rotated.seal(&tenant, &name, "hunter2-hunter2");
        assert!(vault(&[(KEY_VARIABLE, OTHER)]).unwrap().open(&tenant, &name, &anew).is_some());
    }

    #[test]
    fn without_a_good_key_nothing_is_sealed() {
        let code = |variables: &[(&str, &str)]| vault(variables).err().map(|error| error.code);
        assert_eq!(code(&[]), Some(Code::NotImplemented));
        assert_eq!(code(&[(KEY_VARIABLE, "")]), Some(Code::NotImplemented));
        assert_eq!(code(&[(KEY_VARIABLE, "short")]), Some(Code::Unavailable));
        assert_eq!(code(&[(KEY_VARIABLE, KEY), (PREVIOUS_VARIABLE, "short")]), Some(Code::Unavailable));
    }
}
