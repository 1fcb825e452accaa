//! `silt check`

use std::collections::HashMap;

use serde::Serialize;
use siltstone::catalog::Catalog;
use siltstone::control::Kind;
use siltstone::store::clock::SystemClock;
use siltstone::store::id::VolumeId;
use siltstone::store::store::{CheckReport, Damage, Store};

use crate::args::Global;
use crate::backend;
use crate::data_dir::{Access, DataDir};
use crate::exit::{Complaint, Exit};
use crate::output::{Output, table};
use crate::progress;
use crate::size;

/// Verify a stopped store from end to end and name what is damaged. Exit code 3 if anything is.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {}

/// What the check found, as `--json` prints it.
#[derive(Serialize)]
struct Document {
    damaged: bool,
    damage: Vec<DamageDocument>,
    segment_count: u64,
    run_count: u64,
    blocks_good: u64,
    bytes_read: u64,
}

#[derive(Serialize)]
struct DamageDocument {
    file: String,
    offset: u64,
    what: String,
    volumes: Vec<String>,
}

impl Check {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let dir = DataDir::new(&global.data)?;
        let bar = progress::bytes(global, "checking", Some(0));
        let mut watch = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let report = backend::await_lock(&dir, &SystemClock::new(), || match backend::connect(&dir)? {
            Some(daemon) => {
                let message = format!("the daemon (process {}) has the store: stop it first", daemon.pid());
                Err(Complaint::new(Kind::Busy, message).into())
            }
            None => Ok(Store::check(&dir.environment(true)?, &mut watch)?),
        });
        bar.finish_and_clear();
        let document = document(&dir, &report?);
        Output::new(global).answer(&document, || text(&document))?;
        Ok(if document.damaged { Exit::Damage } else { Exit::Ok })
    }
}

fn document(dir: &DataDir, report: &CheckReport) -> Document {
    let names = names(dir);
    let volume = |id: &VolumeId| names.get(id).cloned().unwrap_or_else(|| format!("id {id}"));
    let damage = |damage: &Damage| DamageDocument {
        file: damage.file.clone(),
        offset: damage.offset,
        what: damage.why.clone(),
        volumes: damage.volumes.iter().map(volume).collect(),
    };
    let damage: Vec<_> = report.damages.iter().map(damage).collect();
    Document {
        damaged: !damage.is_empty(),
        damage,
        segment_count: report.segment_count,
        run_count: report.run_count,
        blocks_good: report.blocks_good,
        bytes_read: report.bytes_read,
    }
}

/// Names by id, as far as the store can still be opened to ask.
fn names(dir: &DataDir) -> HashMap<VolumeId, String> {
    let opened = dir.open_store(Access::Read, 128 << 20, None);
    let catalog = opened.ok().and_then(|store| Catalog::decode(&store.records()).ok()).unwrap_or_default();
    let trash = catalog.trash().map(|(id, trashed)| (id, format!("{} in the trash", trashed.name)));
    catalog.exports().map(|(name, id)| (id, name.to_string())).chain(trash).collect()
}

fn text(document: &Document) -> String {
    if !document.damaged {
        let (blocks, bytes) = (document.blocks_good, size::human(document.bytes_read));
        return format!("no damage found: {blocks} blocks match their fingerprints, {bytes} read");
    }
    let row = |damage: &DamageDocument| {
        vec![damage.file.clone(), damage.offset.to_string(), damage.what.clone(), damage.volumes.join(", ")]
    };
    table(&["FILE", "OFFSET", "DAMAGE", "VOLUMES"], &["OFFSET"], document.damage.iter().map(row))
}
