//! Log lines of the watcher on standard error, one JSON object each: this program's own, and no other crate's.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Starts logging. The crates that speak HTTP and Vault print what they carry at some levels, so they are off at every
/// level.
pub(crate) fn start(level: Level) {
    let level = LevelFilter::from_level(level);
    let own = Targets::new().with_target("regions", level).with_default(LevelFilter::OFF);
    let layer = fmt::layer().with_writer(std::io::stderr).json().flatten_event(true).with_current_span(false);
    tracing_subscriber::registry().with(layer.with_filter(own)).init();
}
