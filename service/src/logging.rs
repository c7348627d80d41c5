//! Log lines on standard error: JSON, or text for people.
//!
//! Only this service and the agent's client write lines. Other crates are off at every level, since
//! what they log was never checked for secrets.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{fmt, registry, reload};

use crate::configuration::{LogFormat, LogLevel};

/// Changes the level of a running process.
pub struct LevelHandle(Box<dyn Fn(Targets) + Send + Sync>);

impl LevelHandle {
    /// A handle that changes nothing, for tests.
    pub fn none() -> Self {
        LevelHandle(Box::new(|_| ()))
    }

    /// Logs what is at least this severe.
    pub fn set(&self, level: LogLevel) {
        self.0(targets(level));
    }
}

impl std::fmt::Debug for LevelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LevelHandle")
    }
}

/// Starts logging for the process. Does nothing but give a dead handle when that was done before.
pub fn start(format: LogFormat, level: LogLevel) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(targets(level));
    let subscriber = registry().with(lines(format).with_filter(filter));
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return LevelHandle::none();
    }
    LevelHandle(Box::new(move |targets| {
        // Fails only when the subscriber is gone, and then nobody logs.
        let _ = handle.reload(targets);
    }))
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let terminal = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Auto if terminal => layer.boxed(),
        LogFormat::Auto | LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    Targets::new().with_target("service", level).with_target("secrets_agent_client", level)
}
