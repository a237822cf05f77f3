//! Certificates as Java reads them: it trusts a key store of its own, and neither the system's bundle nor a variable.
//!
//! The form is JKS, which all versions of Java read. The store's password is Java's default, and protects nothing.

use std::{
    io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// Where distributions keep the key store that the installed Java trusts: Debian, Fedora.
const STORES: [&str; 2] = ["/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts"];

/// Where a Java has its own, below its home directory.
const IN_HOME: &str = "lib/security/cacerts";

const PASSWORD: &str = "changeit";

/// What the format hashes with the password, so that the hash is no hash of the password alone.
const WHITENER: &[u8] = b"Mighty Aphrodite";

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;

/// The key stores that are here.
pub(super) fn stores(java_home: Option<&Path>) -> Vec<PathBuf> {
    let own = java_home.map(|home| home.join(IN_HOME));
    let mut stores: Vec<_> =
        STORES.into_iter().map(PathBuf::from).chain(own).filter_map(|store| store.canonicalize().ok()).collect();
    stores.sort();
    stores.dedup();
    stores
}

/// A key store of the certificates of a bundle. Fails where one of them is not Base64.
pub(super) fn key_store(bundle: &str) -> io::Result<Vec<u8>> {
    let certificates = bundle.split("-----BEGIN CERTIFICATE-----").skip(1).map(decode).collect::<io::Result<Vec<_>>>()?;
    let mut store = Vec::new();
    for number in [MAGIC, VERSION, length(certificates.len())?] {
        store.extend(number.to_be_bytes());
    }
    for (number, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        put_text(&mut store, &format!("certificate-{number}"))?;
        // When it was made: nobody asks.
        store.extend(0_u64.to_be_bytes());
        put_text(&mut store, "X.509")?;
        store.extend(length(certificate.len())?.to_be_bytes());
        store.extend(certificate);
    }
    let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let digest = Sha1::new().chain_update(password).chain_update(WHITENER).chain_update(&store).finalize();
    store.extend(digest);
    Ok(store)
}

/// The certificate that a text in PEM begins with, after its first line.
fn decode(pem: &str) -> io::Result<Vec<u8>> {
    let body = pem.split("-----END").next().unwrap_or_default();
    let base64: String = body.split_whitespace().collect();
    BASE64.decode(base64.as_bytes()).map_err(io::Error::other)
}

fn put_text(store: &mut Vec<u8>, text: &str) -> io::Result<()> {
    store.extend(u16::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes());
    store.extend(text.as_bytes());
    Ok(())
}

fn length(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_holds_each_certificate_of_the_bundle() {
        let bundle = "x\n-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n# y\n-----BEGIN CERTIFICATE-----\r\nR0g=\r\n-----END CERTIFICATE-----\n";
        let store = key_store(bundle).unwrap();
        assert_eq!(store[..12], [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 2]);
        for certificate in [&b"\0\0\0\x06ABCDEF"[..], b"\0\0\0\x02GH"] {
            assert!(store.windows(certificate.len()).any(|window| window == certificate));
        }
        let entry = |alias: &str, certificate: usize| 4 + 2 + alias.len() + 8 + 2 + "X.509".len() + 4 + certificate;
        assert_eq!(store.len(), 12 + entry("certificate-0", 6) + entry("certificate-1", 2) + 20);
        assert!(key_store("-----BEGIN CERTIFICATE-----\n%\n-----END").is_err());
    }

    #[test]
    fn a_store_below_the_home_of_java_is_found_once() {
        let home = tempfile::tempdir().unwrap();
        let store = home.path().join(IN_HOME);
        std::fs::create_dir_all(store.parent().unwrap()).unwrap();
        std::fs::write(&store, "").unwrap();
        let found = stores(Some(home.path()));
        assert_eq!(found.iter().filter(|found| **found == store.canonicalize().unwrap()).count(), 1);
        assert!(!stores(None).contains(&store));
    }
}
