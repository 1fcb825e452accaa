//! Attaches and detaches the volumes of a running daemon: the least a program has to do to use [`blockdev::attach`].
//!
//! ```text
//! attach DATA-DIR attach NAME [auto|kernel|fuse] [ro] [TIMEOUT-SECONDS]
//! attach DATA-DIR detach NAME|DEVICE
//! attach DATA-DIR list
//! ```
//!
//! Prints what is attached as JSON. Exits with 10 if something is not found, 11 if it is busy, 1 for anything else.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use blockdev::attach::{self, AttachError, AttachOptions, Method};
use lsm_store::ErrorKind;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["attach-helper", rest @ ..] => attach::run_helper(rest.iter().map(Into::into)),
        [data, "attach", name, options @ ..] => attach::attach(Path::new(data), name, &parse(options)).map(print),
        [data, "detach", what] => attach::detach(Path::new(data), what),
        [data, "list"] => attach::list(Path::new(data)).map(print),
        _ => {
            eprintln!("usage: attach DATA-DIR attach NAME | detach NAME | list");
            return ExitCode::from(2);
        }
    };
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn parse(options: &[&str]) -> AttachOptions {
    let mut parsed = AttachOptions::default();
    for option in options {
        match *option {
            "auto" => parsed.method = Method::Auto,
            "kernel" => parsed.method = Method::Kernel,
            "fuse" => parsed.method = Method::Fuse,
            "ro" => parsed.read_only = true,
            seconds => parsed.timeout = seconds.parse().map_or(parsed.timeout, Duration::from_secs),
        }
    }
    parsed
}

fn print(value: impl serde::Serialize) {
    println!("{}", serde_json::to_string(&value).unwrap_or_default());
}

fn fail(error: &AttachError) -> ExitCode {
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        eprintln!("{error}");
        next = error.source();
    }
    ExitCode::from(match error.kind() {
        ErrorKind::NotFound => 10,
        ErrorKind::Busy => 11,
        _ => 1,
    })
}
