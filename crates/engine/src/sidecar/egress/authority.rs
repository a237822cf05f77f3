//! The certificate authority of one sandbox, by which workerd reads what the sandbox sends over TLS to intercepted hosts.
//!
//! Names, curves and lifetimes are those of Cloudflare's sidecar. The key exists only in the engine's memory.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

const COMMON_NAME: &str = "Cloudflare TLS proxy-everything Intercept CA";

const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
const LEAF_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How far a clock may be behind.
const SKEW: Duration = Duration::from_secs(3600);

/// How long a leaf is used: its clients must not see it end.
const LEAF_USE: Duration = Duration::from_secs(12 * 3600);

/// Leaves that are kept. When there are more, all are made anew.
const LEAVES: usize = 256;

/// A certificate authority and the certificates that it has issued.
pub(in crate::sidecar) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    leaves: Mutex<HashMap<String, Leaf>>,
}

#[derive(Clone)]
struct Leaf {
    config: Arc<ServerConfig>,
    made_at: SystemTime,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a key and a certificate.
    pub(in crate::sidecar) fn new() -> io::Result<Self> {
        let mut params = params(COMMON_NAME, LIFETIME, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate, leaves: Mutex::default() })
    }

    /// Its certificate, in PEM.
    pub(in crate::sidecar) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// What a server of this name answers TLS with.
    pub(super) fn server_config(&self, name: &str) -> io::Result<Arc<ServerConfig>> {
        let now = SystemTime::now();
        let is_fresh = |leaf: &&Leaf| now.duration_since(leaf.made_at).is_ok_and(|age| age < LEAF_USE);
        let known = self.leaves.lock().unwrap_or_else(PoisonError::into_inner).get(name).filter(is_fresh).cloned();
        if let Some(leaf) = known {
            return Ok(leaf.config);
        }
        let config = Arc::new(self.issue(name)?);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if leaves.len() >= LEAVES {
            leaves.clear();
        }
        leaves.insert(name.to_owned(), Leaf { config: config.clone(), made_at: now });
        Ok(config)
    }

    fn issue(&self, name: &str) -> io::Result<ServerConfig> {
        let mut params = params(name, LEAF_LIFETIME, vec![name.to_owned()])?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone(), self.certificate.der().clone()], key)
            .map_err(io::Error::other)?;
        // workerd reads HTTP/1.1. A client that speaks nothing else is told so, instead of being misunderstood.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn params(common_name: &str, lifetime: Duration, names: Vec<String>) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + lifetime).into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // RFC 5280 bounds common names to 64 characters. Clients read the alternative names.
    params.distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    Ok(params)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    /// A handshake in memory; what the client says of it.
    fn handshake(authority: &Authority, trusted: &Authority, name: &str, alpn: &[&str]) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let mut client = ClientConnection::new(config.into(), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        let mut server = ServerConnection::new(authority.server_config(name).unwrap()).unwrap();
        while client.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut &bytes[..]).unwrap();
            let refused = server.process_new_packets().err();
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets()?;
            if let Some(error) = refused {
                return Err(error);
            }
        }
        Ok(())
    }

    #[test]
    fn clients_that_trust_the_authority_accept_its_leaves_and_others_do_not() {
        let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        let long = format!("{}.example", ["a"; 60].join("."));
        for name in ["a.example", "A.Example", &long] {
            handshake(&authority, &authority, name, &[]).unwrap();
            assert!(handshake(&authority, &other, name, &[]).is_err(), "{name}");
        }
        handshake(&authority, &authority, "a.example", &["h2", "http/1.1"]).unwrap();
        assert!(handshake(&authority, &authority, "a.example", &["h2"]).is_err());
        assert!(authority.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn leaves_are_reused_and_bounded() {
        let authority = Authority::new().unwrap();
        let first = authority.server_config("a.example").unwrap();
        assert!(Arc::ptr_eq(&first, &authority.server_config("a.example").unwrap()));
        for number in 0..2 * LEAVES {
            authority.server_config(&format!("n{number}.example")).unwrap();
        }
        assert!(authority.leaves.lock().unwrap().len() <= LEAVES);
    }
}
