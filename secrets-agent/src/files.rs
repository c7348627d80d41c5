//! Files for applications that do not speak the socket: one folder, replaced whole by one rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrets_agent_client::Version;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tracing::{error, info};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::{FileFormat, Files, OneFile};
use crate::jitter::Jitter;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::schedule;
use crate::store::{Document, Store};

/// The link that names the folder's present content, as kubelet's mounts do it: the files are links through
/// it, so that replacing this one link replaces them all.
const DATA: &str = "..data";
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The keeper of the files.
pub(crate) struct FileSink {
    config: Files,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    jitter: Jitter,
    /// Why the files are not as they should be.
    trouble: watch::Sender<Option<String>>,
}

impl FileSink {
    /// A keeper of these files. Nothing is written yet.
    pub(crate) fn new(config: Files, store: Arc<Store>, metrics: Arc<Metrics>, jitter: Jitter) -> Self {
        FileSink { config, store, metrics, jitter, trouble: watch::channel(None).0 }
    }

    /// Why the files are not as they should be, if they are not.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Keeps the files for as long as the agent runs. What could not be written is tried again from what is
    /// held then, so nothing piles up however long a folder cannot be written.
    pub(crate) async fn run(self) {
        let mut changes = self.store.changes();
        let mut notifier =
            self.config.notify.as_ref().and_then(|address| Notifier::new(address, Arc::clone(&self.store)));
        let mut failures = 0;
        let mut shown = BTreeMap::new();
        loop {
            changes.borrow_and_update();
            let outcome = match self.documents() {
                None => Ok(()),
                Some(documents) => self.show(&documents, &mut shown, notifier.as_mut()).await,
            };
            match outcome {
                Ok(()) => {
                    failures = 0;
                    self.trouble.send_replace(None);
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
                Err(reason) => {
                    failures += 1;
                    self.metrics.file_failures.inc();
                    if self.trouble.send_replace(Some(reason.clone())).as_ref() != Some(&reason) {
                        error!(reason, "the files are not as they should be; trying again");
                    }
                    let wait = schedule::retry_in(failures, LONGEST_RETRY, None, self.jitter.draw());
                    let _ = tokio::time::timeout(wait, changes.changed()).await;
                }
            }
        }
    }

    async fn show(
        &self,
        documents: &BTreeMap<String, Arc<Document>>,
        shown: &mut BTreeMap<String, Version>,
        notifier: Option<&mut Notifier>,
    ) -> Result<(), String> {
        let versions = documents.iter().map(|(name, document)| (name.clone(), document.version)).collect();
        if *shown != versions {
            self.replace(documents).map_err(|trouble| trouble.to_string())?;
            *shown = versions;
        }
        match notifier {
            Some(notifier) => notifier.tell(documents).await,
            None => Ok(()),
        }
    }

    /// The documents that the files show, or nothing until each of them was delivered.
    fn documents(&self) -> Option<BTreeMap<String, Arc<Document>>> {
        let mut documents = BTreeMap::new();
        for file in &self.config.file {
            documents.insert(file.secret.clone(), self.store.get(&file.secret, None)?);
        }
        Some(documents)
    }

    fn replace(&self, documents: &BTreeMap<String, Arc<Document>>) -> Result<(), Trouble> {
        let mut rendered = Vec::new();
        let mut size = 0;
        for file in &self.config.file {
            let Some(document) = documents.get(&file.secret) else { continue };
            let content = render(file, &document.data)?;
            size += content.len();
            rendered.push((file.name.as_str(), content));
        }
        if size > self.config.max_size.0 {
            return Err(Trouble::TooLarge { size, limit: self.config.max_size.to_string() });
        }
        let dir = &self.config.dir;
        let at = |source| Trouble::Folder { dir: dir.display().to_string(), source };
        prepare(dir, self.config.require_memory)?;
        swap(dir, &rendered).map_err(at)?;
        self.metrics.file_swaps.inc();
        let shown = documents.iter().map(|(name, document)| format!("{name} {}", document.version.version));
        info!(dir = %dir.display(), versions = shown.collect::<Vec<_>>().join(", "), "replaced the files");
        Ok(())
    }
}

/// Why the files could not be replaced. Holds names and never content.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("files.dir {dir}: {source}")]
    Folder { dir: String, source: io::Error },
    #[error(
        "files.dir {dir} is not on a memory-backed filesystem (tmpfs); mount one there, or set files.require_memory = false to write secrets to disk"
    )]
    NotMemory { dir: String },
    #[error(
        "files.dir {dir} is not this user's own, or others may write to it; the agent must own all of it"
    )]
    NotOwn { dir: String },
    #[error("the files together hold {size} bytes, more than files.max_size ({limit})")]
    TooLarge { size: usize, limit: String },
    #[error("file {file}: the document of {secret} {problem}")]
    Content { file: String, secret: String, problem: String },
}

fn prepare(dir: &Path, require_memory: bool) -> Result<(), Trouble> {
    let name = || dir.display().to_string();
    let at = |source| Trouble::Folder { dir: name(), source };
    match DirBuilder::new().mode(0o750).create(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o750)).map_err(at)?,
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(error)),
        Err(_) => {}
    }
    let metadata = fs::metadata(dir).map_err(at)?;
    // A mounted volume belongs to root with the pod's fsGroup; its group may then write, others never.
    let own = metadata.uid() == rustix::process::geteuid().as_raw() || metadata.uid() == 0;
    if !own || metadata.mode() & 0o002 != 0 {
        return Err(Trouble::NotOwn { dir: name() });
    }
    let kind = rustix::fs::statfs(dir).map_err(|error| at(error.into()))?.f_type;
    if require_memory && !matches!(u64::try_from(kind), Ok(TMPFS | RAMFS)) {
        return Err(Trouble::NotMemory { dir: name() });
    }
    Ok(())
}

/// Writes all files into a new folder beside the present one and makes it the present one by one rename.
fn swap(dir: &Path, files: &[(&str, Zeroizing<Vec<u8>>)]) -> io::Result<()> {
    let fresh = format!("..{}", Uuid::new_v4().simple());
    let folder = dir.join(&fresh);
    let written = (|| {
        DirBuilder::new().mode(0o700).create(&folder)?;
        for (name, content) in files {
            let mut file =
                File::options().write(true).create_new(true).mode(0o400).open(folder.join(name))?;
            file.write_all(content)?;
            // Whatever the umask: the group is the application's.
            file.set_permissions(Permissions::from_mode(0o440))?;
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o750))?;
        let link = dir.join(format!("{fresh}-link"));
        symlink(&fresh, &link)?;
        fs::rename(&link, dir.join(DATA))?;
        for (name, _) in files {
            match symlink(Path::new(DATA).join(name), dir.join(name)) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    })();
    // What is neither the present content nor a file of today goes: the former content, what an agent left
    // that was killed while it wrote, and what was written in vain just now.
    let present = fs::read_link(dir.join(DATA)).ok();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let keep = text == DATA
            || present.as_deref() == Some(Path::new(&name))
            || (!text.starts_with("..") && files.iter().any(|(file, _)| *file == text));
        if !keep {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
    written
}

/// What a file shows of a document.
fn render(file: &OneFile, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let problem =
        |problem: String| Trouble::Content { file: file.name.clone(), secret: file.secret.clone(), problem };
    if file.format == FileFormat::Json {
        return Ok(Zeroizing::new(data.to_vec()));
    }
    let keys: BTreeMap<String, &RawValue> =
        serde_json::from_slice(data).map_err(|_| problem("is no JSON object".to_owned()))?;
    if let Some(key) = &file.key {
        let value = keys.get(key).ok_or_else(|| problem(format!("has no key {key:?}")))?;
        let text = text(value).ok_or_else(|| problem(format!("has no text at {key:?}")))?;
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    let mut lines = Zeroizing::new(Vec::with_capacity(data.len() * 2 + 64));
    let mut names = BTreeSet::new();
    for (key, value) in keys {
        let name =
            variable(&key).ok_or_else(|| problem(format!("has the key {key:?}, which makes no variable")))?;
        if !names.insert(name.clone()) {
            return Err(problem(format!("has several keys that make the variable {name}")));
        }
        let value = scalar(value).ok_or_else(|| {
            problem(format!(
                "holds neither text nor a number nor a boolean at {key:?}, and dotenv takes nothing else"
            ))
        })?;
        lines.extend_from_slice(name.as_bytes());
        lines.push(b'=');
        quote(&value, &mut lines);
        lines.push(b'\n');
    }
    Ok(lines)
}

fn text(value: &RawValue) -> Option<Zeroizing<String>> {
    serde_json::from_str::<String>(value.get()).ok().map(Zeroizing::new)
}

fn scalar(value: &RawValue) -> Option<Zeroizing<String>> {
    match value.get().as_bytes().first()? {
        b'"' => text(value),
        b'{' | b'[' | b'n' => None,
        _ => Some(Zeroizing::new(value.get().to_owned())),
    }
}

/// `db-password` becomes `DB_PASSWORD`.
fn variable(key: &str) -> Option<String> {
    let name = key.to_ascii_uppercase().replace(['-', '.'], "_");
    let fits = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    (fits && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())).then_some(name)
}

/// Double quotes, with what a shell and the dotenv readers would take for something else escaped.
fn quote(value: &str, line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' | b'$' | b'`' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            _ => line.push(byte),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(format: FileFormat, key: Option<&str>) -> OneFile {
        OneFile { name: "f".to_owned(), secret: "config".to_owned(), format, key: key.map(str::to_owned) }
    }

    fn rendered(format: FileFormat, key: Option<&str>, data: &str) -> Result<String, String> {
        let content = render(&file(format, key), data.as_bytes()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(content.to_vec()).unwrap())
    }

    #[test]
    fn each_format_shows_a_document() {
        let data = r#"{"db-password":"a \"b\" $c\nd","port":5432,"on":true}"#;
        assert_eq!(rendered(FileFormat::Json, None, data).unwrap(), data);
        assert_eq!(rendered(FileFormat::Raw, Some("db-password"), data).unwrap(), "a \"b\" $c\nd");
        assert_eq!(
            rendered(FileFormat::Dotenv, None, data).unwrap(),
            "DB_PASSWORD=\"a \\\"b\\\" \\$c\\nd\"\nON=\"true\"\nPORT=\"5432\"\n"
        );
    }

    #[test]
    fn what_does_not_fit_is_named_without_its_value() {
        for (format, key, data, expected) in [
            (FileFormat::Raw, Some("a"), r#"{"b":"canary"}"#, r#"has no key "a""#),
            (FileFormat::Raw, Some("a"), r#"{"a":{"canary":1}}"#, r#"has no text at "a""#),
            (FileFormat::Dotenv, None, r#"{"a":["canary"]}"#, "neither text nor a number"),
            (FileFormat::Dotenv, None, r#"{"1a":"canary"}"#, "makes no variable"),
            (FileFormat::Dotenv, None, r#"{"a-b":"canary","a.b":"canary"}"#, "several keys"),
        ] {
            let said = rendered(format, key, data).unwrap_err();
            assert!(said.contains(expected) && !said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn a_swap_leaves_only_todays_content() {
        let folder = tempfile::tempdir().unwrap();
        let content = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        fs::create_dir(folder.path().join("..left-by-a-killed-agent")).unwrap();
        swap(folder.path(), &[("a", content("1")), ("b", content("1"))]).unwrap();
        swap(folder.path(), &[("a", content("2"))]).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "2");
        assert!(!folder.path().join("b").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the link, the content and the file");
        let mode = fs::metadata(folder.path().join("a")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o440);
    }
}
