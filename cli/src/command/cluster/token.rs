//! `silt cluster token`

use siltstone::control::{Request, Response};
use siltstone::span::Span;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Print a token with which one node can join: `silt serve --join TOKEN`. It is a secret until it is used.
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// For how long it is good, for example 10m or 1d.
    #[arg(long, value_parser = crate::command::span, default_value = "1h", value_name = "TIME")]
    valid: Span,
}

impl Token {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let request = Request::ClusterToken { validity_s: self.valid.seconds() };
        match backend::ask(global, Access::Read, &request)? {
            Response::Token { token } => {
                let output = Output::new(global);
                let document = serde_json::json!({ "token": token, "valid_s": self.valid.seconds() });
                output.answer(&document, || token.clone())?;
                output.note(&format!("good for one node, for {}: silt serve --join", self.valid));
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
