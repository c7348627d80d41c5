//! On what it was measured, and what.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::region::Region;

/// The machine's processor, memory and kernel.
pub(crate) fn describe() -> Value {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    json!({
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    })
}

/// The versions of both sides.
pub(crate) fn versions(region: &Region) -> Result<Value> {
    let said = |program: &std::path::Path, argument: &str| -> Result<String> {
        let output = Command::new(program).arg(argument).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
    };
    let size = |program: &std::path::Path| -> Result<u64> { Ok(fs::metadata(program)?.len()) };
    Ok(json!({
        "vault": said(&region.vault_program, "version")?,
        "secrets-agent": said(&region.agent_program, "--version")?,
        "secrets-agent bytes": size(&region.agent_program)?,
        "service bytes": size(&region.service_program)?,
        "bare hyper": "1.12 with tokio-rustls 0.26, as Cargo.lock pins them",
    }))
}
