//! Images of one static program, made without a container engine, as archives that containerd imports.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest;
use serde_json::{Value, json};
use tar::{Builder, Header};

use super::Error;
use super::node::PAUSE;
use crate::tools;

/// The process that holds a pod's namespaces: it waits to be told to end.
const HOLDS: &str = "\
#include <signal.h>
int main(void) {
    sigset_t ends;
    int received;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, 0);
    return sigwait(&ends, &received);
}
";

/// The image in which Vault runs.
pub const VAULT: &str = "localhost/vault:1.21.0";

/// The archive of the image that holds a pod's namespaces, made once.
///
/// # Errors
/// There is no C compiler, or the cache cannot be used.
pub fn pause() -> Result<PathBuf, Error> {
    made("pause-image-1", |folder| {
        let (source, program) = (folder.join("pause.c"), folder.join("pause"));
        fs::write(&source, HOLDS)?;
        let mut compiler = Command::new("cc");
        let built = compiler.args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&source).status()?;
        if !built.success() {
            return Err(io::Error::other("cc failed; it needs libc6-dev"));
        }
        archive(PAUSE, &program, &json!({"Entrypoint": ["/bin/pause"], "User": "65535:65535"}), folder)
    })
}

/// The archive of the image in which Vault runs, made once.
///
/// # Errors
/// Vault has to be built and cannot be, or the cache cannot be used.
pub fn vault() -> Result<PathBuf, Error> {
    let program = tools::vault()?;
    made("vault-image-1.21.0", |folder| {
        archive(VAULT, &program, &json!({"Entrypoint": ["/bin/vault"], "User": "100:1000"}), folder)
    })
}

/// The archive of an image with a shell and what goes with it, for applications of tests, made once.
///
/// # Errors
/// Debian's busybox cannot be had, or the cache cannot be used.
pub fn shell() -> Result<PathBuf, Error> {
    let busybox = super::unpacked("busybox-static", "bin/busybox")?;
    made("shell-image-1", |folder| {
        // By this name it is a shell, which finds its other names in itself.
        let shell = folder.join("sh");
        fs::copy(&busybox, &shell)?;
        archive(
            "localhost/shell:1",
            &shell,
            &json!({"Entrypoint": ["/bin/sh"], "User": "65532:65532"}),
            folder,
        )?;
        fs::remove_file(shell)
    })
}

/// An archive in the cache, made where it is missing.
fn made(name: &str, make: impl Fn(&Path) -> io::Result<()>) -> Result<PathBuf, Error> {
    let folder = tools::cache().join(name);
    let file = folder.join("image.tar");
    let system = |source| Error::System { operation: format!("make {}", file.display()), source };
    if !file.is_file() {
        fs::create_dir_all(&folder).map_err(system)?;
        make(&folder).map_err(system)?;
    }
    Ok(file)
}

/// Writes `image.tar`: an image that is one program in an otherwise empty file system.
fn archive(reference: &str, program: &Path, config: &Value, folder: &Path) -> io::Result<()> {
    let name = Path::new("bin").join(program.file_name().unwrap_or_default());
    let layer = folder.join("layer.tar");
    let mut layers = Builder::new(File::create(&layer)?);
    for (directory, mode) in [("bin", 0o755), ("tmp", 0o1777), ("vault", 0o755), ("vault/data", 0o1777)] {
        let mut header = header(0, mode);
        header.set_entry_type(tar::EntryType::Directory);
        layers.append_data(&mut header, directory, io::empty())?;
    }
    layers.append_data(&mut header(fs::metadata(program)?.len(), 0o755), &name, File::open(program)?)?;
    layers.into_inner()?.sync_all()?;
    let hash = digest::digest(&digest::SHA256, &fs::read(&layer)?);
    let id = hash.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [id]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]);
    let draft = folder.join("draft.tar");
    let mut image = Builder::new(File::create(&draft)?);
    for (name, content) in [("manifest.json", manifest), ("config.json", config)] {
        let content = content.to_string();
        image.append_data(&mut header(content.len() as u64, 0o644), name, content.as_bytes())?;
    }
    image.append_data(&mut header(fs::metadata(&layer)?.len(), 0o644), "layer.tar", File::open(&layer)?)?;
    image.into_inner()?.sync_all()?;
    fs::remove_file(layer)?;
    fs::rename(draft, folder.join("image.tar"))
}

fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
