//! Files for applications that do not speak the socket.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use local_region::wait::wait_until;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::scenario::{Outcome, SOON, Scenario, Settings};

/// A folder on a memory-backed filesystem, which every Linux has at this place.
fn memory_folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("meridian-test-").tempdir_in("/dev/shm")
}

fn with_files(scenario: &Scenario, dir: &std::path::Path, more: &str) -> Settings {
    let mut settings = scenario.settings();
    settings.more = format!(
        r#"
[files]
dir = "{}"
{more}
[[files.file]]
name = "config.json"
secret = "config"
format = "json"
[[files.file]]
name = "value"
secret = "config"
format = "raw"
key = "value"
"#,
        dir.display()
    );
    settings
}

#[tokio::test]
async fn files_are_swapped_together_and_a_reader_never_sees_a_mixture() -> Outcome {
    let scenario = Scenario::new().await?;
    let memory = memory_folder()?;
    let dir = memory.path().join("secrets");
    let agent = with_files(&scenario, &dir, "").start()?;
    let file: PathBuf = dir.join("value");
    wait_until("the files", SOON, async || std::fs::read_to_string(&file).is_ok_and(|text| text == "one"))
        .await?;
    assert_eq!(std::fs::metadata(&dir)?.mode() & 0o777, 0o750);
    assert_eq!(std::fs::metadata(&file)?.mode() & 0o777, 0o440);

    let (stop, torn, reads) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let reader = {
        let (dir, stop, torn, reads) =
            (dir.clone(), Arc::clone(&stop), Arc::clone(&torn), Arc::clone(&reads));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // One resolution of the link is one version of everything.
                let Ok(present) = std::fs::canonicalize(dir.join("..data")) else { continue };
                let (Ok(whole), Ok(value)) = (
                    std::fs::read_to_string(present.join("config.json")),
                    std::fs::read_to_string(present.join("value")),
                ) else {
                    continue;
                };
                reads.fetch_add(1, Ordering::Relaxed);
                let expected = json!({"value": value}).to_string();
                if whole != expected {
                    torn.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    for round in 0..30 {
        let text = format!("value {round} {}", "x".repeat(1000));
        let version = scenario.write(&text).await?;
        agent.nudge(Some(version)).await?;
        wait_until("the swap", SOON, async || std::fs::read_to_string(&file).is_ok_and(|seen| seen == text))
            .await?;
    }
    stop.store(true, Ordering::Relaxed);
    reader.join().map_err(|_| "the reader panicked")?;
    assert_eq!(torn.load(Ordering::Relaxed), 0);
    assert!(reads.load(Ordering::Relaxed) >= 30, "{reads:?} reads");
    assert!(agent.secret().await?.adopted.is_empty(), "files alone prove no use");
    Ok(())
}

#[tokio::test]
async fn a_folder_on_disk_is_refused_and_the_agent_serves_on() -> Outcome {
    let scenario = Scenario::new().await?;
    let dir = scenario.path("on-disk");
    if rustix_is_memory(&scenario) {
        return Ok(());
    }
    let agent = with_files(&scenario, &dir, "").start()?;
    agent.delivered(1).await?;
    let ready = wait_until("the trouble to be told", SOON, async || {
        let text = agent.admin.get("/readyz").await.map(|answer| answer.text()).unwrap_or_default();
        if text.contains("files.dir") { Ok(text) } else { Err(text) }
    });
    let ready = ready.await?;
    assert!(
        ready.contains("is not on a memory-backed filesystem") && ready.contains("files.require_memory"),
        "{ready}"
    );
    assert!(!dir.join("value").exists());
    assert_eq!(agent.value().await?, "one");
    Ok(())
}

/// Whether temporary folders are in memory on this machine, where the test has nothing to show.
fn rustix_is_memory(scenario: &Scenario) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let path = scenario.folder.path();
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = fields.next()?;
            path.starts_with(point).then_some((point.len(), fields.next()?))
        })
        .max_by_key(|(length, _)| *length);
    mount.is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}

#[tokio::test]
async fn what_is_too_large_leaves_the_files_as_they_were() -> Outcome {
    let scenario = Scenario::new().await?;
    let memory = memory_folder()?;
    let dir = memory.path().join("secrets");
    let agent = with_files(&scenario, &dir, "max_size = \"1KiB\"").start()?;
    let file = dir.join("value");
    wait_until("the files", SOON, async || std::fs::read_to_string(&file).is_ok_and(|text| text == "one"))
        .await?;
    let version = scenario.write(&"x".repeat(2000)).await?;
    agent.nudge(Some(version)).await?;
    agent.delivered(version).await?;
    wait_until("the trouble to be told", SOON, async || {
        agent
            .admin
            .get("/readyz")
            .await
            .is_ok_and(|answer| answer.text().contains("more than files.max_size (1KiB)"))
    })
    .await?;
    assert_eq!(std::fs::read_to_string(&file)?, "one");
    let version = scenario.write("small again").await?;
    agent.nudge(Some(version)).await?;
    wait_until("the swap", SOON, async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text == "small again")
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_heals_and_costs_no_memory() -> Outcome {
    let scenario = Scenario::new().await?;
    let memory = memory_folder()?;
    let dir = memory.path().join("secrets");
    // Root writes everywhere, so the folder's place is taken by a file.
    std::fs::write(&dir, "in the way")?;
    let agent = with_files(&scenario, &dir, "").start()?;
    agent.delivered(1).await?;
    wait_until("the trouble to be told", SOON, async || {
        agent.admin.get("/readyz").await.is_ok_and(|answer| answer.text().contains("files.dir"))
    })
    .await?;
    // Pages of the program itself count as private only while no other agent runs, so they are left out.
    let anonymous = || -> Result<u64, Box<dyn std::error::Error>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.process.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    };
    let before = anonymous()?;
    for round in 0..100 {
        let version = scenario.write(&format!("{round}{}", "x".repeat(100_000))).await?;
        agent.nudge(Some(version)).await?;
        agent.delivered(version).await?;
    }
    let grown = anonymous()?.saturating_sub(before);
    assert!(grown < 4 << 20, "10 MB of documents that could not be written left {grown} bytes behind");
    std::fs::remove_file(&dir)?;
    wait_until("the files", SOON, async || {
        std::fs::read_to_string(dir.join("value")).is_ok_and(|text| text.starts_with("99x"))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_folder_that_others_may_write_is_refused() -> Outcome {
    let scenario = Scenario::new().await?;
    let memory = memory_folder()?;
    let dir = memory.path().join("secrets");
    std::fs::create_dir(&dir)?;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777))?;
    let agent = with_files(&scenario, &dir, "").start()?;
    wait_until("the trouble to be told", SOON, async || {
        agent.admin.get("/readyz").await.is_ok_and(|answer| answer.text().contains("others may write to it"))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_application_that_answers_its_notice_has_adopted() -> Outcome {
    let scenario = Scenario::new().await?;
    let memory = memory_folder()?;
    let dir = memory.path().join("secrets");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answers = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&answers);
    let application = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let status = if well.load(Ordering::Relaxed) { "204 No Content" } else { "500 Broken" };
            let _ =
                stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        }
    });
    let agent = with_files(&scenario, &dir, &format!("notify = \"http://{address}/reload\"")).start()?;
    wait_until("the failed notice to be told", SOON, async || {
        agent.admin.get("/readyz").await.is_ok_and(|answer| answer.text().contains("it answered 500"))
    })
    .await?;
    assert!(agent.secret().await?.adopted.is_empty());
    wait_until("three failed notices", SOON, async || {
        agent.metric("secrets_agent_file_failures_total").await.is_ok_and(|count| count >= 3.0)
    })
    .await?;
    assert_eq!(agent.metric("secrets_agent_file_swaps_total").await?, 1.0, "the files are right as they are");
    answers.store(true, Ordering::Relaxed);
    wait_until("the adoption", SOON, async || {
        agent.secret().await.is_ok_and(|secret| secret.adopted.iter().any(|adopted| adopted.version == 1))
    })
    .await?;
    let version = scenario.write("two").await?;
    agent.nudge(Some(version)).await?;
    wait_until("the next adoption", SOON, async || {
        agent
            .secret()
            .await
            .is_ok_and(|secret| secret.adopted.iter().any(|adopted| adopted.version == version))
    })
    .await?;
    application.abort();
    Ok(())
}
