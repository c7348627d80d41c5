//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// An OAuth 2.0 token issuer for machines that works the same in every region.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// The configuration file (TOML). Without it, the defaults and the environment are used.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Check the configuration, tell everything that is wrong, and change nothing.
    CheckConfig,
    /// Print the OpenAPI description of the public interface.
    Openapi,
}

const EXAMPLES: &str = "\
Development, on a fresh clone (plain HTTP on loopback, a key made at the start, one client):
  service &
  curl -u development:development-only -d grant_type=client_credentials http://127.0.0.1:8080/oauth2/token
  curl http://127.0.0.1:8080/.well-known/jwks.json

In a pod (TLS on 8443, admin on 9090; secrets come from secrets-agent):
  [identity]
  environment = \"production\"
  region = \"europe-west4\"
  zone = \"europe-west4-a\"   # empty where it is not known
  pod = \"service-6d5f-x2x\"
  release = \"sha256:…\"
  [agent]
  socket = \"/run/meridian/agent.sock\"
  [traffic]
  dir = \"/etc/meridian/traffic\"
  [ceilings]            # the most that the document kv/service/config may say under [oauth]
  token_life = \"1h\"
  jwks_max_age = \"5m\"

Also: [public] and [admin] listen; [http] handshake_timeout, header_timeout, idle_timeout, body_timeout,
body_limit, max_connections; [oauth] issuer, audience, token_life, jwks_max_age, leeway, skew; [ceilings] leeway, skew;
[shutdown] accept_for (8s), drain_for (4s); [log] level, format. Every key can be given as a variable of
the environment: SERVICE__SHUTDOWN__ACCEPT_FOR=2s. The environment wins over the file, and for [oauth]
and log.level the document kv/service/config wins over both, at any time.

Signals: SIGTERM ends in order: not ready at once, new connections for accept_for, closing for drain_for.
SIGINT skips the first of these. A second signal ends at once.

Exit codes:
  0    ended in order; the configuration is valid
  1    a listener could not be opened or stopped, or the system refused something at the start
  2    the command line or the configuration is wrong
  130  ended at once by a second SIGINT
  143  ended at once by a second SIGTERM";
