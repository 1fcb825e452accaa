//! `silt objects ls`

use siltstone::control::{NoTransfer, ObjectDescription, Request, Response, UploadDescription};

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::size;

/// List objects by name.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {
    /// What their names begin with, for example `pg/`.
    #[arg(default_value = "")]
    prefix: String,
    /// List not objects but those that are not complete: being put, or kept to be resumed.
    #[arg(long, conflicts_with = "prefix")]
    uploads: bool,
}

impl Ls {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        if self.uploads { Self::uploads(global) } else { self.objects(global) }
    }

    fn uploads(global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::ListUploads)? {
            Response::Uploads { uploads } => {
                Output::new(global).answer(&serde_json::json!({ "uploads": uploads }), || uploads_text(&uploads))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }

    fn objects(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Read)?;
        let mut objects = Vec::new();
        let mut after = None;
        loop {
            let request = Request::ListObjects { prefix: self.prefix.clone(), after };
            match backend.call(&request, &mut NoTransfer)? {
                Response::Objects(page) => {
                    objects.extend(page.objects);
                    after = page.next;
                }
                other => return Err(backend::unexpected(&other)),
            }
            if after.is_none() {
                break;
            }
        }
        backend.close()?;
        Output::new(global).answer(&serde_json::json!({ "objects": objects }), || text(&objects))?;
        Ok(Exit::Ok)
    }
}

fn text(objects: &[ObjectDescription]) -> String {
    if objects.is_empty() {
        return String::new();
    }
    let row = |object: &ObjectDescription| {
        let expires = object.expires.clone().unwrap_or_default();
        vec![object.name.clone(), size::human(object.size_bytes), object.created.clone(), expires]
    };
    table(&["NAME", "SIZE", "CREATED", "EXPIRES"], &["SIZE"], objects.iter().map(row))
}

fn uploads_text(uploads: &[UploadDescription]) -> String {
    if uploads.is_empty() {
        return String::new();
    }
    let row = |upload: &UploadDescription| {
        vec![upload.name.clone(), upload.began.clone(), upload.expires.clone().unwrap_or_default()]
    };
    table(&["NAME", "BEGAN", "EXPIRES"], &[], uploads.iter().map(row))
}
