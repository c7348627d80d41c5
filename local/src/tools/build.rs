//! Building a pinned Go program into the cache, once for all who ask.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Error, GO_OLDEST, on_path, version_of};

/// The last so many lines of a failed build are shown.
const SHOWN: usize = 15;

/// How a program is built from a pinned Go module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe<'a> {
    /// The program's name, and its file's in the cache.
    pub(super) part: &'static str,
    /// The release that it belongs to, which names the folder in the cache: `<release>-<version>`.
    pub(super) release: &'static str,
    /// The release's version.
    pub(super) version: &'static str,
    /// The module's folder under `local/tools`.
    pub(super) module: &'static str,
    /// Build tags, with commas; those of the module's authors.
    pub(super) tags: &'static str,
    /// The package in it, or `.`.
    pub(super) package: &'static str,
    /// What the linker sets, beside leaving out symbols.
    pub(super) link: &'a str,
}

/// The built program in the cache. Whoever comes first builds it; others wait for the lock.
pub(super) fn cached(recipe: &Recipe<'_>) -> Result<PathBuf, Error> {
    let Recipe { part, release, version, .. } = *recipe;
    let folder = cache().join(format!("{release}-{version}"));
    let program = folder.join(part);
    if program.is_file() {
        return Ok(program);
    }
    let go = go(part)?;
    let fail = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Cache { operation, path, source }
    };
    fs::create_dir_all(&folder).map_err(fail("create the folder", &folder))?;
    let lock = folder.join("lock");
    let lock_file = File::create(&lock).map_err(fail("create the lock", &lock))?;
    if lock_file.try_lock().is_err() {
        say(&format!("waiting for another process that builds {part} {version}"));
        lock_file.lock().map_err(fail("lock", &lock))?;
    }
    if program.is_file() {
        return Ok(program);
    }
    let draft = folder.join("draft");
    build(recipe, &go, &draft)?;
    fs::rename(&draft, &program).map_err(fail("move the built program to", &program))?;
    Ok(program)
}

/// The folder of what is built once.
pub(crate) fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    caches.unwrap_or_else(env::temp_dir).join("meridian")
}

fn go(part: &'static str) -> Result<PathBuf, Error> {
    let usual = || Some(PathBuf::from("/usr/local/go/bin/go")).filter(|path| path.is_file());
    let go = on_path("go").or_else(usual).ok_or(Error::NoGo { part })?;
    match version_of(&go, "version") {
        Some((version, _)) if version >= GO_OLDEST => Ok(go),
        found => {
            let found = found.map_or_else(|| "of no known version".to_owned(), |(_, text)| text);
            Err(Error::OldGo { part, go, found })
        }
    }
}

fn build(recipe: &Recipe<'_>, go: &Path, draft: &Path) -> Result<(), Error> {
    let Recipe { part, version, module, tags, package, link, .. } = *recipe;
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools")).join(module);
    let started = Instant::now();
    say(&format!(
        "building {part} {version} from its Go module, once; this takes 5 to 10 minutes on 2 cores"
    ));
    let run = || {
        let mut child = Command::new(go)
            .args(["build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false", "-o"])
            .arg(draft)
            .arg(format!("-tags={tags}"))
            .arg(format!("-ldflags=-s -w {link}"))
            .arg(package)
            .current_dir(&source)
            .env("CGO_ENABLED", "0")
            // Each package's compiler ends within seconds, so it need not collect what it no longer uses: a twelfth less
            // processor time.
            .env("GOGC", "off")
            .env("GOMEMLIMIT", "2GiB")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = child.stderr.take().map(follow).unwrap_or_default();
        Ok((child.wait()?, output))
    };
    let failed = |source: io::Error| Error::Cache { operation: "run", path: go.to_owned(), source };
    let (status, output) = run().map_err(failed)?;
    if !status.success() {
        let output = output[output.len().saturating_sub(SHOWN)..].join("\n");
        return Err(Error::Build { part, folder: source, status, output });
    }
    say(&format!("built {part} {version} in {:.1} min", started.elapsed().as_secs_f64() / 60.0));
    Ok(())
}

/// Reads what `go build -v` writes, a line for each module fetched and each package compiled, and says now
/// and then how far it has come.
fn follow(output: ChildStderr) -> Vec<String> {
    let (mut modules, mut packages, mut lines) = (0, 0, Vec::new());
    let mut said = Instant::now();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if line.starts_with("go: downloading ") {
            modules += 1;
        } else if line.contains(' ') {
            lines.push(line);
        } else {
            packages += 1;
        }
        if said.elapsed() >= Duration::from_secs(15) {
            said = Instant::now();
            say(&format!("  {modules} modules fetched, {packages} packages compiled"));
        }
    }
    lines
}

/// Written past the capture of the test runner, since a silent test of ten minutes looks like one that hangs.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
