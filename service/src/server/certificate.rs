//! TLS with the certificate of the snapshot in use.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

use crate::state::State;

/// Gives each handshake the certificate that is in use then. Before the first there is none, and
/// handshakes fail.
#[derive(Debug)]
struct InUse(Arc<State>);

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.0.snapshot();
        Some(Arc::clone(&snapshot.as_ref()?.tls.as_ref()?.certified))
    }
}

/// The TLS configuration of the public listener.
pub(super) fn configuration(state: Arc<State>) -> Result<ServerConfig, rustls::Error> {
    let mut configuration = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(InUse(state)));
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}
