//! `status` and `kubeconfig`: what is up, and how it is reached.

use anyhow::Result;
use local_region::environment::Environment;
use local_region::platform;

use crate::cli::Output;

/// Shows what is up.
pub(crate) fn status(environment: &str, output: Output) -> Result<()> {
    let mut state = Environment::open(environment)?;
    for region in &mut state.regions {
        region.resident_mib = platform::resident(&region.nodes)? / 1024 / 1024;
    }
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&state)?);
        return Ok(());
    }
    for region in &state.regions {
        println!(
            "{:<12} {}  {} nodes  Services at {}  {} MiB",
            region.name,
            region.api,
            region.nodes.len(),
            region.addresses,
            region.resident_mib
        );
    }
    println!("\nexport KUBECONFIG={}", state.kubeconfig.display());
    println!("export IMAGE_REPOSITORY={}/meridian", state.registry.name());
    println!(
        "export SSL_CERT_FILE={}   # for who pushes to the registry or pulls from it",
        state.registry.authority.display()
    );
    if let Some(authority) = &state.public_authority {
        println!("export PUBLIC_CA={}   # vouches for what clients are shown", authority.display());
    }
    if let Some(authorities) = &state.vault_authorities {
        println!("export VAULT_CACERT={}", authorities.display());
    }
    Ok(())
}

/// Prints where the kubeconfig is.
pub(crate) fn kubeconfig(environment: &str) -> Result<()> {
    println!("{}", Environment::open(environment)?.kubeconfig.display());
    Ok(())
}
