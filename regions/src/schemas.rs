//! `regions schema`: the JSON schemas of the catalogue's files, written or checked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::catalogue::schema::{ENVIRONMENT, Published, REGION};
use crate::print;

/// Where schemas are.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of the schemas
    #[arg(long, value_name = "DIR", default_value = "regions/schema")]
    pub dir: PathBuf,
    /// Write nothing: say whether the files are current, with exit code 6 when they are not
    #[arg(long)]
    pub check: bool,
}

/// Writes the schemas, or checks them.
pub fn run(args: &Args, json: bool) -> ExitCode {
    let done: Result<Vec<_>, _> =
        [&ENVIRONMENT, &REGION].map(|schema| one(args, schema)).into_iter().collect();
    let files = match done {
        Ok(files) => files,
        Err(error) => {
            print::complaint(&error);
            return ExitCode::from(2);
        }
    };
    let stale = files.iter().any(|(_, state)| *state == State::Stale);
    if json {
        let files = files.iter().map(|(file, state)| json!({"file": file, "state": state.word()}));
        print::json(&json!({"files": files.collect::<Vec<_>>()}));
    } else {
        for (file, state) in &files {
            print::result(&format!("{}: {}\n", file.display(), state.word()));
        }
        if stale {
            print::complaint(&format!("write them with: regions schema --dir {}", args.dir.display()));
        }
    }
    ExitCode::from(if stale { 6 } else { 0 })
}

/// A schema's file, before or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Current,
    Written,
    Stale,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Written => "written",
            Self::Stale => "stale",
        }
    }
}

fn one(args: &Args, schema: &Published) -> Result<(PathBuf, State), String> {
    let file = args.dir.join(schema.file);
    let error = |what: &str, path: &Path, error: &io::Error| format!("{what} {}: {error}", path.display());
    let text = schema.text();
    let state = match fs::read(&file) {
        Ok(found) if found == text.as_bytes() => State::Current,
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(error("read", &file, &cause)),
        _ if args.check => State::Stale,
        _ => {
            fs::create_dir_all(&args.dir).map_err(|cause| error("make the folder", &args.dir, &cause))?;
            fs::write(&file, text).map_err(|cause| error("write", &file, &cause))?;
            State::Written
        }
    };
    Ok((file, state))
}
