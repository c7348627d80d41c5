//! From a verb's arguments to its exit code: the runtime, signals, and what is printed at the end.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use kube::config::Kubeconfig;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch::{Receiver, Sender, channel};

use crate::bootstrap;
use crate::catalogue::{self, region::Region};
use crate::cluster::access;
use crate::named::Read;
use crate::promote::targets::Environment;
use crate::promote::{self, Ending, rollback};
use crate::rotate;
use crate::status;
use crate::vault::apply;
use crate::{drift, history, logging, open_files, probe, traffic, watch};

/// Exit code of a run that a second signal ended wherever it was.
const INTERRUPTED: u8 = 4;

/// `regions promote`.
pub fn promote(args: &promote::Args, environment: &Environment, json: bool) -> ExitCode {
    carry_out(async |stop| promoted(&promote::run(args, environment, json, stop).await, json))
}

/// `regions rollback`.
pub fn rollback(args: &rollback::Args, environment: &Environment, json: bool) -> ExitCode {
    carry_out(async |stop| promoted(&rollback::run(args, environment, json, stop).await, json))
}

fn promoted(report: &promote::Report, json: bool) -> u8 {
    if json {
        print_json(report);
    } else if matches!(report.outcome, Ending::Done | Ending::NoChange | Ending::Planned) {
        print(&report.summary());
    } else {
        let _ = write!(std::io::stderr(), "{}", report.summary());
    }
    report.outcome.code()
}

/// `regions drain` and `regions restore`.
pub fn traffic(
    args: &traffic::Args,
    way: traffic::Way,
    environment: &Environment,
    region: &str,
    json: bool,
) -> ExitCode {
    carry_out(async |stop| {
        let report = traffic::run(args, way, environment, region, stop).await;
        if json {
            print_json(&report);
        } else if report.outcome.code() == 0 {
            print(&report.text());
        } else {
            let _ = write!(std::io::stderr(), "{}", report.text());
        }
        report.outcome.code()
    })
}

/// `regions probe`.
pub fn probe(args: &probe::report::Args, environment: &Environment, json: bool) -> ExitCode {
    carry_out(async |_| match probe::report::read(args, environment).await {
        Ok(probe) => shown(&probe, &probe.text(), probe.code(), json),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            2
        }
    })
}

/// `regions history`.
pub fn history(args: &history::Args, environment: &Environment, json: bool) -> ExitCode {
    reading(&args.regions, async |kubeconfig| {
        let history = history::read(environment, kubeconfig).await;
        shown(&history, &history.text(), history.code(), json)
    })
}

/// `regions diff`.
pub fn diff(args: &drift::Args, environment: &Environment, json: bool) -> ExitCode {
    reading(&args.regions, async |kubeconfig| {
        let drift = drift::read(environment, kubeconfig).await;
        shown(&drift, &drift.text(), drift.code(), json)
    })
}

/// Reads clusters with the caller's kubeconfig.
fn reading(regions: &Read, work: impl AsyncFnOnce(&Kubeconfig) -> u8) -> ExitCode {
    carry_out(async |_| match access::kubeconfig(regions.kubeconfig.as_deref()) {
        Ok(kubeconfig) => work(&kubeconfig).await,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            2
        }
    })
}

fn shown(value: &impl Serialize, text: &str, code: u8, json: bool) -> u8 {
    if json {
        print_json(value);
    } else {
        print(text);
    }
    code
}

/// `regions status`.
pub fn status(args: &status::Args, environment: &Environment, json: bool) -> ExitCode {
    carry_out(async |mut stop| {
        let reader = match status::Reader::new(args, environment) {
            Ok(reader) => reader,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{error}");
                return 2;
            }
        };
        loop {
            let status = reader.read().await;
            if json {
                print_json(&status);
            } else {
                let table = status.table(jiff::Timestamp::now());
                // On a terminal each look takes the place of the one before; elsewhere they follow each other.
                match (args.watch, std::io::stdout().is_terminal()) {
                    (true, true) => print(&format!("\u{1b}[H\u{1b}[2J{table}")),
                    (true, false) => print(&format!("{table}\n")),
                    (false, _) => print(&table),
                }
            }
            if !args.watch {
                return status.code();
            }
            tokio::select! {
                () = tokio::time::sleep(status::WATCH) => {}
                _ = stop.wait_for(|stop| *stop) => return status.code(),
            }
        }
    })
}

/// `regions vault apply`.
pub fn vault_apply(
    args: &apply::Args,
    environment: &catalogue::Environment,
    region: &Region,
    json: bool,
) -> ExitCode {
    carry_out(async |stop| {
        let report = match apply::run(args, environment, region, &stop).await {
            Ok(report) => report,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{error}");
                return if error.is_configuration() { 2 } else { 1 };
            }
        };
        if json {
            print_json(&report);
        } else if report.outcome.code() == 0 {
            print(&report.text());
        } else {
            let _ = write!(std::io::stderr(), "{}", report.text());
        }
        report.outcome.code()
    })
}

/// `regions rotate`.
pub fn rotate(args: &rotate::Args, environment: &catalogue::Environment, json: bool) -> ExitCode {
    carry_out(async |stop| {
        let report = rotate::run(args, environment, stop).await;
        if json {
            print_json(&report);
        } else if report.outcome.code() == 0 {
            print(&report.text());
        } else {
            let _ = write!(std::io::stderr(), "{}", report.text());
        }
        report.outcome.code()
    })
}

/// `regions watch`. It takes no catalogue: a pod is told what it needs.
pub fn watch(args: &watch::Args) -> ExitCode {
    logging::start(args.log);
    carry_out(async |stop| match watch::run(args, stop).await {
        Ok(()) => 0,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            match failure {
                watch::Failure::Misconfigured(_) => 2,
                watch::Failure::Listen(_) => 1,
            }
        }
    })
}

/// `regions bootstrap`.
pub fn bootstrap(
    args: &bootstrap::Args,
    environment: &catalogue::Environment,
    region: &Region,
    json: bool,
) -> ExitCode {
    carry_out(async |stop| {
        let report = bootstrap::run(args, environment, region, json, stop).await;
        if json {
            print_json(&report);
        } else if report.outcome.code() == 0 {
            print(&report.text());
        } else {
            let _ = write!(std::io::stderr(), "{}", report.text());
        }
        report.outcome.code()
    })
}

/// Runs a verb to its end. The first SIGINT or SIGTERM asks it to stop where that is safe, the second ends it
/// wherever it is.
fn carry_out<F, Fut>(verb: F) -> ExitCode
where
    F: FnOnce(Receiver<bool>) -> Fut,
    Fut: Future<Output = u8>,
{
    open_files::allow();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "start the runtime: {error}");
            return ExitCode::from(2);
        }
    };
    let (stop, stopped) = channel(false);
    let code = runtime.block_on(async {
        tokio::select! {
            code = verb(stopped) => code,
            () = second_signal(&stop) => INTERRUPTED,
        }
    });
    // A credential plugin, or a question on the terminal, may still block a thread.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Sets `stop` at the first signal and returns at the second.
async fn second_signal(stop: &Sender<bool>) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    let _ = writeln!(std::io::stderr(), "stopping after what is being written; a second signal ends at once");
    stop.send_replace(true);
    next().await;
}

fn print(text: &str) {
    // A reader that went away is no reason to fail.
    let _ = write!(std::io::stdout(), "{text}");
}

fn print_json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}
