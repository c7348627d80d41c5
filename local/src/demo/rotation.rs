//! `regions rotate`, given as an operator gives it. What it says goes into the timeline, and what it came to is kept.

use std::fs;
use std::future::pending;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::Instant;

use super::catalogue::{Catalogue, ENVIRONMENT};
use super::region::Region;
use super::timeline::Timeline;

/// The exit code of a run that is to be given again.
const INCOMPLETE: i32 = 4;
/// How long a pod may take to use a document, before the rotation is stopped and the demo fails.
const ADOPT_WITHIN: &str = "30s";

/// What a run of the command came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rotation {
    pub(crate) secret: String,
    /// Its own report.
    pub(crate) report: Value,
    pub(crate) exit_code: Option<i32>,
    pub(crate) seconds: f64,
}

/// A run that goes on.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    timeline: &'a Timeline,
    secret: &'static str,
    child: Child,
    said: ChildStderr,
    reported: ChildStdout,
    begun: Instant,
    log: PathBuf,
    tokens: Vec<PathBuf>,
}

impl<'a> Running<'a> {
    /// Begins or continues the rotation `<secret>-1` in these regions. The document comes from standard input where one
    /// is given.
    ///
    /// # Errors
    /// The command cannot be started.
    pub(crate) async fn start(
        timeline: &'a Timeline,
        (catalogue, regions): (&Catalogue, &[Region]),
        secret: &'static str,
        further: &[&str],
        document: Option<&Value>,
    ) -> Result<Self> {
        let mut words = vec!["rotate".to_owned(), secret.to_owned(), format!("--env={ENVIRONMENT}")];
        words.push(format!("--rotation={secret}-1"));
        words.extend(further.iter().map(|word| (*word).to_owned()));
        if document.is_some() {
            words.push("--from-stdin".to_owned());
        }
        timeline.say("operator", &format!("regions {}", words.join(" ")));
        let mut command = catalogue.command();
        command.args(["--output", "json"]).args(words);
        command.arg(format!("--adopt-within={ADOPT_WITHIN}"));
        command.arg("--vault-ca").arg(catalogue.authorities());
        let mut tokens = Vec::new();
        for region in regions {
            let token = catalogue.token(&region.name, region.rotator().token())?;
            command.arg(format!("--vault-token={}={}", region.name, token.display()));
            tokens.push(token);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start regions rotate {secret}"))?;
        let input = document.map(Value::to_string).unwrap_or_default();
        // Closed when it is dropped, which is what tells the command that it has all.
        let mut stdin = child.stdin.take().context("its standard input")?;
        stdin.write_all(input.as_bytes()).await.context("give regions rotate its document")?;
        let said = child.stderr.take().context("its standard error")?;
        let reported = child.stdout.take().context("its standard output")?;
        let log = catalogue.log().to_owned();
        Ok(Running { timeline, secret, child, said, reported, begun: Instant::now(), log, tokens })
    }

    /// Waits for its end, which must be a good one.
    ///
    /// # Errors
    /// It ended in another way; what it said is in the error.
    pub(crate) async fn done(self) -> Result<Rotation> {
        let rotation = self.end(pending()).await?;
        if rotation.exit_code != Some(0) {
            bail!("{}", rotation.told());
        }
        Ok(rotation)
    }

    /// Waits for a condition, and ends it then as Ctrl-C does (SIGINT). It must say that it is to be given again.
    ///
    /// # Errors
    /// The condition does not come about, or the run ended by itself or in another way.
    pub(crate) async fn stopped_when(self, condition: impl Future<Output = Result<()>>) -> Result<Rotation> {
        let rotation = self.end(condition).await?;
        if rotation.exit_code != Some(INCOMPLETE) {
            bail!("it was to be stopped halfway: {}", rotation.told());
        }
        Ok(rotation)
    }

    async fn end(mut self, condition: impl Future<Output = Result<()>>) -> Result<Rotation> {
        let (timeline, child) = (self.timeline, &mut self.child);
        let ended = async {
            tokio::select! {
                status = child.wait() => return anyhow::Ok(status?),
                due = condition => due?,
            }
            // It was not waited for to its end, so the id is still its own.
            let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
            timeline.say("operator", "Ctrl-C");
            kill_process(pid.context("its process id")?, Signal::INT).context("stop regions rotate")?;
            anyhow::Ok(child.wait().await?)
        };
        let (status, said, report) = tokio::try_join!(ended, tell(timeline, self.said), read(self.reported))?;
        let rotation = Rotation {
            secret: self.secret.to_owned(),
            report: serde_json::from_slice(&report).unwrap_or_default(),
            exit_code: ExitStatus::code(&status),
            seconds: self.begun.elapsed().as_secs_f64(),
        };
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "regions rotate {}\n{said}{}", self.secret, String::from_utf8_lossy(&report))?;
        for token in self.tokens {
            fs::remove_file(token)?;
        }
        timeline.say("rotate", &rotation.told());
        Ok(rotation)
    }
}

/// Puts each line that the command says into the timeline. Gives all of them.
async fn tell(timeline: &Timeline, said: ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(said).lines();
    let mut all = String::new();
    while let Some(line) = lines.next_line().await? {
        timeline.say("rotate", line.trim());
        all.push_str(&line);
        all.push('\n');
    }
    Ok(all)
}

async fn read(mut reported: ChildStdout) -> Result<Vec<u8>> {
    let mut report = Vec::new();
    reported.read_to_end(&mut report).await?;
    Ok(report)
}

impl Rotation {
    /// How it ended, in a line.
    fn told(&self) -> String {
        let list = |key: &str| self.report[key].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let phases = list("phases").map(|phase| {
            let seconds = |key: &str| phase[key].as_f64().unwrap_or_default();
            let adopted = phase["adopted_s"].as_f64().map(|s| format!(", used by every pod after {s:.1} s"));
            format!(
                "; {} written in {:.1} s{}, {:.1} s in all",
                text(&phase["phase"]),
                seconds("written_s"),
                adopted.unwrap_or_default(),
                seconds("took_s")
            )
        });
        let errors = list("errors").chain(list("ways")).map(|error| format!("; {}", text(error)));
        let code = self.exit_code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        let details: String = phases.chain(errors).collect();
        format!("{}: {}, {code}{details}", self.secret, text(&self.report["outcome"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_end_is_told_with_its_phases_and_what_can_be_done() {
        let rotation = Rotation {
            secret: "config".to_owned(),
            report: json!({
                "outcome": "incomplete",
                "phases": [{"phase": "write", "written_s": 0.12, "took_s": 2.3}],
                "errors": ["eu: eu-1: its agent cannot be asked"],
                "ways": ["go on: regions rotate config"],
            }),
            exit_code: Some(INCOMPLETE),
            seconds: 2.5,
        };
        assert_eq!(
            rotation.told(),
            "config: incomplete, exit code 4; write written in 0.1 s, 2.3 s in all; eu: eu-1: its agent cannot be \
             asked; go on: regions rotate config"
        );
    }
}
