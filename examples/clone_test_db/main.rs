//! Tries a migration on a branch of a PostgreSQL volume, while the database goes on, and throws the branch away.
//!
//! ```text
//! clone_test_db /var/lib/silt db migration.sql --cluster main
//! ```
//!
//! The branch is a clone of the volume at this moment: it copies nothing, and PostgreSQL recovers on it as after a power cut. The
//! volume has a file system with the database cluster in a directory of it. Needs root, for the device and the mount, and a daemon.

mod branch;
mod server;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use siltstone::Store;

use branch::{Branch, Mounted};
use server::Server;

/// Runs a migration on a branch of a database's volume.
#[derive(Parser)]
struct Arguments {
    /// The daemon's data directory.
    data: PathBuf,
    /// The volume that has the database.
    volume: String,
    /// What psql is to run.
    migration: PathBuf,
    /// The database cluster's directory on the volume.
    #[arg(long, default_value = ".")]
    cluster: PathBuf,
    /// The database to migrate.
    #[arg(long, default_value = "postgres")]
    database: String,
    /// The directory of PostgreSQL's programs, if they are not on the PATH.
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let migration = std::fs::read(&arguments.migration);
    let migration = migration.with_context(|| format!("reading {}", arguments.migration.display()))?;
    let scratch = std::env::temp_dir().join(format!("clone_test_db-{}", std::process::id()));
    std::fs::create_dir(&scratch)?;
    let tried = try_on_branch(&arguments, &migration, &scratch);
    // What could not be ended is still in it, and why counts more.
    let removed = std::fs::remove_dir(&scratch);
    tried?;
    Ok(removed?)
}

/// What is made here goes in the opposite order, whether the migration succeeds or not.
fn try_on_branch(arguments: &Arguments, migration: &[u8], scratch: &Path) -> anyhow::Result<()> {
    let store = Store::connect(&arguments.data)?;
    let branch = Branch::of(&store, &arguments.volume)?;
    say(&format!("{} branches off {}", branch.name(), arguments.volume));
    let mounted = Mounted::new(&arguments.data, branch.name(), &scratch.join("mount"))?;
    let cluster = mounted.path().join(&arguments.cluster);
    let server = Server::start(&cluster, &scratch.join("server"), arguments.programs.as_deref())?;
    let migrated = server.run(&arguments.database, migration);
    server.stop()?;
    mounted.end()?;
    say(&format!("{} KiB are other than in {}", branch.changed_bytes()? >> 10, arguments.volume));
    branch.remove()?;
    migrated.context("the migration failed, on the branch only")?;
    say("the migration succeeds");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn say(line: &str) {
    println!("{line}");
}
