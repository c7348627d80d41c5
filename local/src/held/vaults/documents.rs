//! The first documents of an environment, as its first region's Vault gets them.

use anyhow::Result;
use local_region::documents::{self, KeyState, Rotation, SigningKey};
use local_region::pki::Ca;
use local_region::vault::Admin;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::held::Order;

/// Writes them with the rights of `admin`: keys, one client (`probe`) with its secret, the certificate that
/// `public` vouches for, and lives that the catalogue's ceilings allow.
pub(super) async fn write(admin: &Admin, order: &Order, public: &Ca) -> Result<()> {
    let first = Rotation::new("first", "write");
    let mut names = vec![order.domain.clone(), "localhost".into(), "127.0.0.1".into()];
    names.extend(order.plans.iter().map(|plan| format!("{}.{}", plan.name, order.domain)));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let certificate = public.issue(&names)?;
    let (key, secret) = (SigningKey::make(KeyState::Active)?, documents::client_secret()?);
    let config = json!({"oauth": order.ceilings});
    let documents = [
        ("service/config", config),
        ("service/tls", documents::tls(&first, public, &certificate)),
        ("service/clients", documents::clients(&first, &[(&secret, None)])),
        ("service/signing-keys", documents::signing_keys(&first, &[&key])),
        (&format!("client/{}", documents::CLIENT), json!({"secret": secret.expose_secret()})),
    ];
    for (path, document) in documents {
        admin.put("kv", path, &documents::unmarked(document), Some(0)).await?;
    }
    Ok(())
}
