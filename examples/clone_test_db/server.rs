//! A PostgreSQL server of one program's own: no port, a socket in a directory that only it knows.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::branch::run;

/// What the cluster's own configuration may say and a branch must not do: archive over what production archives, subscribe to what
/// production subscribes to, wait for its standbys, or write into its files.
const ON_A_BRANCH: [&str; 7] = [
    "archive_mode=off",
    "max_logical_replication_workers=0",
    "synchronous_standby_names=''",
    "external_pid_file=''",
    "logging_collector=off",
    "log_destination=stderr",
    "listen_addresses=''",
];

/// Ends when this does.
pub(crate) struct Server {
    cluster: PathBuf,
    dir: PathBuf,
    programs: Option<PathBuf>,
}

impl Server {
    /// Starts a server on a cluster that was copied from under another one, and waits until it has recovered.
    pub(crate) fn start(cluster: &Path, dir: &Path, programs: Option<&Path>) -> anyhow::Result<Self> {
        // The server that it was copied from runs, and the copy would be taken for its directory.
        match fs::remove_file(cluster.join("postmaster.pid")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let owner = fs::metadata(cluster).context("looking for the cluster on the branch")?;
        fs::create_dir(dir)?;
        chown(dir, Some(owner.uid()), Some(owner.gid()))?;
        let server = Self { cluster: cluster.into(), dir: dir.into(), programs: programs.map(Into::into) };
        let mut options = OsString::from(ON_A_BRANCH.map(|setting| format!("-c {setting} ")).concat());
        options.push("-c unix_socket_directories=");
        options.push(&server.dir);
        let mut start = server.program("pg_ctl")?;
        start.args(["start", "-w", "-t", "120", "-o"]).arg(options).arg("-l").arg(server.dir.join("log"));
        run(start.arg("-D").arg(&server.cluster)).with_context(|| server.log())?;
        Ok(server)
    }

    /// One of PostgreSQL's programs, as the owner of the cluster.
    fn program(&self, name: &str) -> anyhow::Result<Command> {
        let program = self.programs.as_ref().map_or(PathBuf::from(name), |dir| dir.join(name));
        let owner = fs::metadata(&self.cluster)?;
        let (uid, gid) = (owner.uid().to_string(), owner.gid().to_string());
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]).arg(program);
        command.current_dir("/").env("PGHOST", &self.dir);
        Ok(command)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Runs SQL as one transaction, which fails with its first error.
    pub(crate) fn run(&self, database: &str, sql: &[u8]) -> anyhow::Result<()> {
        let mut psql = self.program("psql")?;
        psql.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]);
        let psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut psql = psql.context("starting psql")?;
        // It may end without reading all of it; then its status says why.
        let written = psql.stdin.take().map(|mut stdin| stdin.write_all(sql));
        let output = psql.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(written.transpose().map(|_| ())?)
    }

    fn end(&self, mode: &str) -> anyhow::Result<()> {
        run(self.program("pg_ctl")?.args(["stop", "-w", "-m", mode, "-D"]).arg(&self.cluster))?;
        Ok(fs::remove_dir_all(&self.dir)?)
    }

    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.end("fast").context("stopping the server")?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The branch goes next, so nothing is lost if it does not stop in order.
        let _ = self.end("immediate");
        let _ = fs::remove_dir_all(&self.dir);
    }
}
