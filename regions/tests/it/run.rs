//! One run of the command.

#![allow(dead_code, reason = "two programs of tests share it, and neither needs all of it")]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// No run in these tests takes longer, or it hangs.
const HANGS: Duration = Duration::from_secs(120);

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// Its exit code, checked; gives itself back.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// Both outputs contain it, one or the other.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(said, "{text:?} is not in\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// Neither output contains it.
    #[track_caller]
    pub(crate) fn says_not(&self, text: &str) -> &Self {
        assert!(
            !self.out.contains(text) && !self.err.contains(text),
            "{text:?} is in\n{}{}",
            self.out,
            self.err
        );
        self
    }

    /// The JSON on its standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// The command with a catalogue and a kubeconfig, and nothing of the environment of the tests.
pub(crate) fn command(catalogue: &Path, kubeconfig: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(catalogue, kubeconfig.parent().unwrap(), arguments);
    command.arg("--kubeconfig").arg(kubeconfig);
    command
}

/// The command with a catalogue, and nothing of the environment of the tests.
pub(crate) fn bare(catalogue: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regions"));
    command.env_clear().arg("--catalogue").arg(catalogue).args(arguments);
    // A run that is killed leaves its temporary files: they go with the test's folder.
    command.env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Waits for a condition while a run goes on. A run that ends before is told with what it said.
pub(crate) async fn meanwhile<T>(child: &mut Child, awaited: impl Future<Output = T>) -> T {
    tokio::select! {
        value = awaited => value,
        status = child.wait() => {
            let (mut out, mut err) = (String::new(), String::new());
            child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
            child.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
            panic!("it ended too early, {}\n--- out\n{out}\n--- err\n{err}", status.unwrap())
        }
    }
}

/// Waits for a run's end.
pub(crate) async fn end(child: Child, started: Instant) -> Ran {
    let output: Output = timeout(HANGS, child.wait_with_output()).await.expect("it hangs").unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        took: started.elapsed(),
    }
}
