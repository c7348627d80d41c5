//! The command, over environments that it leaves running.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use local_region::http::{Client, StatusCode, Target};
use local_region::programs::program;
use local_region::wait::wait_until;
use serde_json::{Value, json};

use crate::traces::traces;

const SOON: Duration = Duration::from_secs(60);

/// `local-region` over a catalogue with one environment.
struct Platform {
    folder: tempfile::TempDir,
}

impl Platform {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("catalogue/scratch");
        fs::create_dir_all(&own).unwrap();
        let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/catalogue/qa"));
        for file in ["_environment.yaml", "qa.yaml"] {
            let text = fs::read_to_string(from.join(file)).unwrap();
            let text =
                text.replace("../../../regions/schema", "../../schema").replace("10.64.0.0", "10.108.0.0");
            fs::write(own.join(file), text.replace("meridian-qa-qa", "meridian-scratch-qa")).unwrap();
        }
        let schemas = folder.path().join("schema");
        let made = Command::new(program("regions").unwrap()).arg("schema").arg("--dir").arg(schemas).output();
        assert!(made.unwrap().status.success());
        Self { folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("local-region").unwrap());
        command.args(arguments);
        if arguments[0] == "up" {
            command.arg("--without-vault").arg("--catalogue").arg(self.folder.path().join("catalogue"));
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32, text: &str) -> String {
        let ran = self.run(arguments);
        let said =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{text:?} is not in {said}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: make test-platform"]
async fn an_environment_is_brought_up_once_and_what_was_killed_is_cleaned_up() {
    let platform = Platform::new();
    let _ = platform.run(&["down", "scratch"]);
    platform.says(&["status", "scratch"], 2, "scratch is not up: local-region up scratch");
    platform.says(&["up", "other"], 2, "has no environment other (it has: scratch)");
    platform.says(&["up", "scratch"], 0, "qa: 1 nodes ready");
    platform.says(&["up", "scratch"], 2, "take it down first: local-region down scratch");
    let state: Value =
        serde_json::from_str(&platform.says(&["status", "scratch", "--output", "json"], 0, "")).unwrap();
    let region = &state["regions"][0];
    assert_eq!((&region["name"], &region["context"]), (&json!("qa"), &json!("meridian-scratch-qa")));
    assert!(region["resident_mib"].as_u64().unwrap() > 100, "{region}");
    let authority = fs::read_to_string(state["registry"]["authority"].as_str().unwrap()).unwrap();
    let registry = ([127, 0, 0, 1], u16::try_from(state["registry"]["port"].as_u64().unwrap()).unwrap());
    let registry = Client::new(Target::localhost(registry.into(), &authority).unwrap());
    registry.get("/v2/").await.unwrap().expect(StatusCode::OK).unwrap();
    let kubeconfig = platform.says(&["kubeconfig", "scratch"], 0, "kubeconfig");
    assert!(fs::read_to_string(kubeconfig.trim()).unwrap().contains("meridian-scratch-qa"));

    let holder = rustix::process::Pid::from_raw(i32::try_from(state["holder"].as_i64().unwrap()).unwrap());
    rustix::process::kill_process(holder.unwrap(), rustix::process::Signal::KILL).unwrap();
    let gone = async || !platform.run(&["status", "scratch"]).status.success();
    wait_until("the holder to be gone", SOON, gone).await.unwrap();
    platform.says(&["up", "scratch"], 0, "removed what a run that was killed had left: meridian-scratch");
    platform.says(&["down", "scratch"], 0, "scratch is down");
    assert_eq!(traces("scratch"), Vec::<String>::new());
    platform.says(&["kubeconfig", "scratch"], 2, "scratch is not up");
    platform.says(&["down", "scratch"], 0, "scratch is down");
}
