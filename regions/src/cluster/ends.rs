//! When the credentials of a context end, as far as the kubeconfig shows: a plugin's are made anew by themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::ExposeSecret as _;

use crate::probe::door::certificate_end;
use crate::vault::secrets::jwt_ends;

/// What of a context's credentials ends, and when. Nothing where nothing is known to.
pub fn of(kubeconfig: &Kubeconfig, context: &str) -> Option<(String, Timestamp)> {
    let context_of = kubeconfig.contexts.iter().find(|known| known.name == context)?.context.as_ref()?;
    let user = context_of.user.as_ref()?;
    let user = kubeconfig.auth_infos.iter().find(|known| known.name == *user)?.auth_info.as_ref()?;
    if user.exec.is_some() || user.auth_provider.is_some() {
        return None;
    }
    if let Some(token) = &user.token {
        return Some((format!("the token of context {context}"), jwt_ends(token.expose_secret())?));
    }
    let pem = match (&user.client_certificate_data, &user.client_certificate) {
        (Some(data), _) => STANDARD.decode(data).ok()?,
        (None, Some(file)) => std::fs::read(file).ok()?,
        (None, None) => return None,
    };
    let certificate = CertificateDer::pem_slice_iter(&pem).next()?.ok()?;
    Some((format!("the client certificate of context {context}"), certificate_end(&certificate)?))
}
