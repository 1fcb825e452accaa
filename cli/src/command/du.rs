//! `silt du`

use siltstone::control::{NodeUsage, ObjectsUsage, Request, Response, Usage, VolumeUsage};
use siltstone::name::ExportName;

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::progress;
use crate::size;

/// Show what volumes and snapshots take: their data, what is left of it after dedupe and compression, whose it is alone, and
/// what its removal frees. Objects are counted together. What has come of a snapshot that is being received or was broken off is shown by the
/// volume it is for.
#[derive(Debug, clap::Args)]
pub(crate) struct Du {
    /// The volumes, and snapshots as VOLUME@NAME; all if none is named.
    #[arg(value_parser = super::export_name)]
    names: Vec<ExportName>,
}

impl Du {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Read)?;
        let mut watcher = progress::Watcher { bar: progress::steps(global, "du") };
        let usage = self.usage(&mut backend, &mut watcher);
        watcher.bar.finish_and_clear();
        let usage = usage?;
        backend.close()?;
        Output::new(global).answer(&usage, || text(&usage))?;
        Ok(Exit::Ok)
    }

    /// What is on all pages, and beside them what the last says.
    fn usage(&self, backend: &mut Backend, watcher: &mut progress::Watcher) -> anyhow::Result<Usage> {
        let (mut volumes, mut after) = (Vec::new(), String::new());
        loop {
            let names = self.names.iter().map(ToString::to_string).collect();
            match backend.call(&Request::Usage { names, after: Some(after) }, watcher)? {
                Response::Usage(mut page) => {
                    volumes.append(&mut page.volumes);
                    match page.next.take() {
                        Some(next) => after = next,
                        None => return Ok(Usage { volumes, ..page }),
                    }
                }
                other => return Err(backend::unexpected(&other)),
            }
        }
    }
}

fn text(usage: &Usage) -> String {
    let columns = ["NAME", "SIZE", "MAPPED", "STORED", "UNIQUE", "SHARED", "FREES", "DEDUPE", "COMPRESS"];
    let objects = usage.objects.iter().map(objects_row);
    let receptions = usage.receptions.iter().map(reception_row);
    let rows = usage.volumes.iter().map(row).chain(receptions).chain(objects).chain([total(&usage.node)]);
    let table = table(&columns, &columns[1..], rows);
    let coarse = if usage.node.coarse {
        "STORED and SHARED are upper bounds: too much is shared in too many ways\n"
    } else {
        ""
    };
    format!("{table}{coarse}on disk: {} (map, journal and garbage included)\n", size::human(usage.node.disk_bytes))
}

fn row(volume: &VolumeUsage) -> Vec<String> {
    vec![
        volume.name.clone(),
        size::human(volume.size_bytes),
        size::human(volume.mapped_bytes),
        size::human(volume.stored_bytes),
        size::human(volume.unique_bytes),
        size::human(volume.shared_bytes),
        size::human(volume.frees_bytes),
        format!("{:.2}", volume.dedupe_ratio),
        format!("{:.2}", volume.compression_ratio),
    ]
}

/// What has come of a snapshot, beside the volume that it is for.
fn reception_row(reception: &VolumeUsage) -> Vec<String> {
    row(&VolumeUsage { name: format!("(for {})", reception.name), ..reception.clone() })
}

fn objects_row(objects: &ObjectsUsage) -> Vec<String> {
    vec![
        format!("({} objects)", objects.count),
        size::human(objects.size_bytes),
        size::human(objects.mapped_bytes),
        size::human(objects.stored_bytes),
        size::human(objects.unique_bytes),
        size::human(objects.stored_bytes.saturating_sub(objects.unique_bytes)),
        String::new(),
        ratio(objects.mapped_bytes, objects.distinct_bytes),
        ratio(objects.distinct_bytes, objects.stored_bytes),
    ]
}

/// 1 where there is nothing to compare.
fn ratio(before_bytes: u64, after_bytes: u64) -> String {
    let ratio = if after_bytes == 0 { 1.0 } else { before_bytes as f64 / after_bytes as f64 };
    format!("{ratio:.2}")
}

fn total(node: &NodeUsage) -> Vec<String> {
    vec![
        "(node)".into(),
        size::human(node.size_bytes),
        size::human(node.mapped_bytes),
        size::human(node.stored_bytes),
        String::new(),
        String::new(),
        String::new(),
        format!("{:.2}", node.dedupe_ratio),
        format!("{:.2}", node.compression_ratio),
    ]
}
