//! `silt get`

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use siltstone::control::{Kind, NoTransfer, Request, Response};
use siltstone::name::ObjectName;

use super::export::{Taker, finish_sink, open_sink};
use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::{Complaint, Exit};
use crate::output::Output;
use crate::progress;
use crate::size::{self, Size};

/// Write an object, or a part of it, to stdout or a file. The file appears when it is complete.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The object.
    #[arg(value_parser = super::object_name)]
    name: ObjectName,
    /// A new file, a block device, or - for stdout.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Where to begin, in bytes or with K, M, G, T.
    #[arg(long, default_value = "0", value_name = "BYTES")]
    offset: Size,
    /// How much to write; all that is left by default.
    #[arg(long, value_name = "BYTES")]
    length: Option<Size>,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

impl Get {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let is_stdout = self.file == Path::new("-");
        if is_stdout && io::stdout().is_terminal() {
            let message = "an object is not written to a terminal: name a file, or pipe it";
            return Err(Complaint::new(Kind::Invalid, message).into());
        }
        let name = self.name.to_string();
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Read)?;
        let size_bytes = match backend.call(&Request::ObjectInfo { name: name.clone() }, &mut NoTransfer)? {
            Response::Object(object) => object.size_bytes,
            other => return Err(backend::unexpected(&other)),
        };
        let left = size_bytes.saturating_sub(self.offset.0);
        let total = self.length.map_or(left, |length| length.0.min(left));
        let bar = progress::bytes(global, &format!("getting {name}"), Some(total));
        let mut taker = Taker { sink: open_sink(&self.file, self.force)?, bar };
        let length = self.length.map(|length| length.0);
        let request = Request::GetObject { name, offset: self.offset.0, length };
        let answer = backend.call(&request, &mut taker);
        taker.bar.finish_and_clear();
        let done = match answer? {
            Response::Transferred(done) => done,
            other => return Err(backend::unexpected(&other)),
        };
        finish_sink(taker.sink, &self.file, done.size_bytes)?;
        backend.close()?;
        if !is_stdout {
            Output::new(global).done(&done, || format!("got {}, {}", done.name, size::human(done.size_bytes)))?;
        }
        Ok(Exit::Ok)
    }
}
