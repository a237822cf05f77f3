//! The one TLS configuration of HTTP and WebSocket.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::{Error, Result};

/// A configuration that trusts what the system trusts, or nobody where it is not to be used. `SSL_CERT_FILE` and `SSL_CERT_DIR` name other
/// certificates.
pub(crate) fn configuration(is_used: bool) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if is_used {
        // A store may hold a few certificates that rustls does not read; the others are enough.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if is_used && roots.is_empty() {
        return Err(Error::Invalid("this system has no certificates of authorities to trust: set SSL_CERT_FILE".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| Error::Invalid(format!("TLS cannot be set up: {error}")))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
