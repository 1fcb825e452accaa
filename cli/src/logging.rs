//! The log: on stderr, level by `SILT_LOG`. It holds names and numbers, never content.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::args::Global;

/// Starts the log. The daemon tells what it does, other commands only what is wrong.
pub(crate) fn start(global: &Global, is_daemon: bool) {
    // The library that agreement is made with calls its everyday work news.
    let default = if is_daemon { "info,openraft=error" } else { "warn" };
    let wish = std::env::var("SILT_LOG").unwrap_or_default();
    let filter = if wish.is_empty() { EnvFilter::new(default) } else { EnvFilter::new(wish) };
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).with_target(false);
    let ansi = std::env::var_os("NO_COLOR").is_none() && io::IsTerminal::is_terminal(&io::stderr());
    if global.log_json {
        log.json().init();
    } else {
        log.with_ansi(ansi).init();
    }
}
