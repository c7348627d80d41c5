//! On what it was measured, and what.

use std::fs;
use std::path::Path;
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

/// The versions of both sides, and how ours were built.
pub(crate) fn versions(region: &Region) -> Result<Value> {
    let named = |program: &Path, error: std::io::Error| format!("{}: {error}", program.display());
    let said = |program: &Path, argument: &str| -> Result<String> {
        let output = Command::new(program).arg(argument).output();
        let output = output.map_err(|error| named(program, error))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
    };
    let linked = |program: &Path| -> Result<&str> {
        let program_bytes = fs::read(program).map_err(|error| named(program, error))?;
        let dynamic = asks_for_loader(&program_bytes);
        Ok(if dynamic.ok_or_else(|| format!("{} is no program", program.display()))? {
            "dynamic"
        } else {
            "static"
        })
    };
    let ours = |program: &Path| -> Result<Value> {
        let (version, bytes) = (
            said(program, "--version")?,
            fs::metadata(program).map_err(|error| named(program, error))?.len(),
        );
        Ok(json!({"version": version, "bytes": bytes, "linked": linked(program)?}))
    };
    Ok(json!({
        "commit": commit(),
        "vault": said(&region.vault_program, "version")?,
        "secrets-agent": ours(&region.agent_program)?,
        "service": ours(&region.service_program)?,
        "regions": ours(&region.regions_program)?,
        "bare hyper": {
            "version": "hyper 1.12 with tokio-rustls 0.26, as Cargo.lock pins them",
            "linked": linked(&region.bare_program)?,
        },
    }))
}

/// The commit of the sources, with a word on what was changed since; nothing outside a checkout.
fn commit() -> Option<String> {
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program names a dynamic loader (`PT_INTERP`), as those in images must not. `None` for what is no
/// 64-bit little-endian ELF file.
fn asks_for_loader(elf: &[u8]) -> Option<bool> {
    const INTERPRETER: usize = 3;
    let number = |at: usize, width: usize| {
        let bytes = elf.get(at..at.checked_add(width)?)?;
        Some(bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for header in 0..count {
        if number(start.checked_add(header * size)?, 4)? == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_what_is_no_program() {
        // Tests are never linked statically.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(asks_for_loader(&own), Some(true));
        assert_eq!(asks_for_loader(&own[..60]), None);
        assert_eq!(asks_for_loader(b"#!/bin/sh\n"), None);
    }
}
