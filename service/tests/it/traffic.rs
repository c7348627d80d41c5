//! Drained and serving, as the mounted folder says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use local_region::http::StatusCode;
use local_region::wait::wait_until;
use tempfile::TempDir;

use crate::pod::{Pod, SOON};

/// Writes the folder as kubelet does: a new folder, and one symlink swapped.
fn mount(folder: &Path, content: &[(&str, &str)]) {
    let version = tempfile::Builder::new().prefix("..").tempdir_in(folder).unwrap().keep();
    for (key, value) in content {
        fs::write(version.join(key), value).unwrap();
        let link = folder.join(key);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(key), link).unwrap();
        }
    }
    let draft = folder.join("..data_tmp");
    symlink(version.file_name().unwrap(), &draft).unwrap();
    fs::rename(draft, folder.join("..data")).unwrap();
}

async fn pod(folder: &TempDir) -> Pod {
    Pod::development().configured(&format!("[traffic]\ndir = {:?}", folder.path())).start().await
}

async fn becomes(pod: &Pod, status: StatusCode, text: &str) {
    wait_until(format!("/trafficz to answer {status} with {text}"), SOON, async || {
        let answer = pod.public.get("/trafficz").await.unwrap();
        if answer.status == status && answer.text().contains(text) { Ok(()) } else { Err(answer.text()) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_region_is_drained_and_restored_and_serves_all_the_while() {
    let folder = tempfile::tempdir().unwrap();
    let pod = pod(&folder).await;
    becomes(&pod, StatusCode::OK, "serving").await;
    mount(folder.path(), &[("state", "drained: new disks\n")]);
    becomes(&pod, StatusCode::SERVICE_UNAVAILABLE, r#""reason":"new disks""#).await;
    assert_eq!(pod.metric("service_drained").await, Some(1.0));
    assert_eq!(pod.readiness().await.0, StatusCode::OK);
    assert_eq!(pod.public.get("/v1/region").await.unwrap().status, StatusCode::OK);
    mount(folder.path(), &[("state", "serving")]);
    becomes(&pod, StatusCode::OK, "serving").await;
    assert_eq!(pod.metric("service_drained").await, Some(0.0));
}

#[tokio::test]
async fn a_new_process_in_a_drained_region_starts_drained() {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), &[("state", "drained")]);
    let pod = pod(&folder).await;
    let first = pod.public.get("/trafficz").await.unwrap();
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_cannot_be_read_keeps_the_last_state_and_is_told_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), &[("state", "drained")]);
    let pod = pod(&folder).await;
    mount(folder.path(), &[("state", "drianed")]);
    let told = pod.degraded("neither `serving` nor `drained`; the region stays drained").await;
    assert!(!told.contains("drianed"), "{told}");
    becomes(&pod, StatusCode::SERVICE_UNAVAILABLE, "drained").await;
    mount(folder.path(), &[("state", "serving")]);
    becomes(&pod, StatusCode::OK, "serving").await;
    pod.healed().await;
}
