//! What an operator asks for on the command line.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::catalogue::Environment;
use crate::plan::rotation::Request;
use crate::plan::rotation::facts::Fingerprint;
use crate::plan::rotation::mark::is_id;
use crate::plan::rotation::times::Times;
use crate::vault::reach::Clusters;

/// What each ending means for this verb.
const ENDINGS: &str = "\
Examples:
  regions rotate signing-keys --env production --vault-ca vault-ca.pem --vault-jwt-file job.jwt --dry-run
  regions rotate signing-keys --env production --vault-ca vault-ca.pem --vault-jwt-file job.jwt
  regions rotate clients --env qa --client probe --vault-ca vault-ca.pem --vault-token europe-west4=eu.token
  regions rotate config --env qa --from-stdin --vault-ca vault-ca.pem --vault-token europe-west4=eu.token < config.json

The waits can be long: a run that is stopped or killed is given again, and goes on where it was.

Exit codes: 0 done, or nothing to do · 1 refused, nothing changed · 2 usage or configuration · 4 incomplete, run
again · 5 another is at it";

/// Which secret, where, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = ENDINGS)]
pub struct Args {
    /// The secret, as the catalogue names it
    #[arg(value_name = "SECRET")]
    pub secret: String,
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The rotation that is meant: it is begun under this id, or finished, and not made twice
    #[arg(long, value_name = "ID", value_parser = id)]
    pub rotation: Option<String>,
    /// Begin a new one although the last has only just ended
    #[arg(long)]
    pub again: bool,
    /// Take back the rotation that is under way
    #[arg(long, conflicts_with_all = ["again", "compromised", "from_stdin"])]
    pub abort: bool,
    /// End what is under way with what somebody wrote by hand into every region, once every pod uses that
    #[arg(long, conflicts_with_all = ["again", "abort", "compromised", "from_stdin", "rotation", "without", "overwrite"])]
    pub settle: bool,
    /// Take the new document from standard input, as JSON
    #[arg(long)]
    pub from_stdin: bool,
    /// A client whose secret changes [default: all of them]
    #[arg(long, value_name = "CLIENT")]
    pub client: Vec<String>,
    /// A region that is away and out of traffic, and is left out
    #[arg(long, value_name = "REGION")]
    pub without: Vec<String>,
    /// What was there before is known to others: skip the waits, after saying what breaks
    #[arg(long)]
    pub compromised: bool,
    /// A region in which the rotation's own document takes the place of what somebody else wrote; on the way back, one
    /// that keeps it where its former value is gone
    #[arg(long, value_name = "REGION")]
    pub overwrite: Vec<String>,
    /// A region whose Vault was restored from a snapshot, and is brought up to date
    #[arg(long, value_name = "REGION")]
    pub restored: Vec<String>,
    /// A key that is let go although pods of a restored region still show it, once none of its tokens is left: what is
    /// left stops verifying. Of clients, a rotation whose new secrets they may have found there
    #[arg(long, value_name = "KID|ROTATION")]
    pub give_up: Vec<String>,
    /// How long what was there before is kept once every pod uses the new one [default: as long as the kind of
    /// secret asks for]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub grace: Option<Duration>,
    /// How long pods may take to use a document
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub adopt_within: Duration,
    /// Do not ask before the waits are skipped
    #[arg(long, short)]
    pub yes: bool,
    /// PEM certificates of the authorities that vouch for the Vaults; no others do
    #[arg(long, value_name = "FILE")]
    pub vault_ca: PathBuf,
    /// A region and a file with a token for its Vault, with the policy rotator
    #[arg(long, value_name = "REGION=FILE", value_parser = crate::vault::logins::token_file)]
    pub vault_token: Vec<(String, PathBuf)>,
    /// File with the JWT by which to log in to the other Vaults (auth/jwt, role rotator)
    #[arg(long, value_name = "FILE")]
    pub vault_jwt_file: Option<PathBuf>,
    /// The regions' clusters
    #[command(flatten)]
    pub clusters: Clusters,
}

impl Args {
    /// What is asked for, once the environment is known.
    ///
    /// # Errors
    /// The environment has no such secret or region.
    pub fn request(
        &self,
        environment: &Environment,
        input: Option<Fingerprint>,
        fresh: String,
    ) -> Result<Request, String> {
        let secrets = &environment.settings.secrets;
        let found = secrets.iter().find(|(name, _)| name.as_str() == self.secret);
        let Some((_, secret)) = found else {
            let known: Vec<String> = secrets.keys().map(ToString::to_string).collect();
            return Err(format!(
                "{} has no secret {}; it has {}",
                environment.name,
                self.secret,
                known.join(", ")
            ));
        };
        let tokens = self.vault_token.iter().map(|(region, _)| region);
        let named = self.without.iter().chain(&self.overwrite).chain(&self.restored).chain(tokens);
        for region in named {
            environment.region(region).map_err(|unknown| unknown.to_string())?;
        }
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        Ok(Request {
            secret: self.secret.clone(),
            environment: environment.name.clone(),
            kind: secret.kind,
            generator: secret.generator,
            input,
            abort: self.abort,
            settle: self.settle,
            id: self.rotation.clone(),
            fresh,
            again: self.again,
            compromised: self.compromised,
            without: set(&self.without),
            overwrite: set(&self.overwrite),
            restored: set(&self.restored),
            give_up: set(&self.give_up),
            grace: self.grace,
            clients: set(&self.client),
            ceilings: Times::from(&environment.settings.ceilings),
            members: environment.regions.iter().map(|region| region.name.clone()).collect(),
        })
    }
}

fn id(text: &str) -> Result<String, String> {
    let what = "1 to 64 letters, digits, dots, underscores and hyphens";
    if is_id(text) { Ok(text.to_owned()) } else { Err(format!("a rotation's id is {what}")) }
}

/// A duration such as `90s` or `10m`, at most a week.
fn duration(text: &str) -> Result<Duration, String> {
    let read: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text} is not a duration such as 90s or 10m"))?;
    let read = Duration::try_from(read).map_err(|_| format!("{text} is below zero"))?;
    let most = Duration::from_secs(7 * 86_400);
    if read <= most { Ok(read) } else { Err(format!("{text} is longer than a week")) }
}
