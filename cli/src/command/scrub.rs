//! `silt scrub`

use std::time::Duration;

use siltstone::control::{
    DamageDescription, Kind, NoTransfer, Request, Response, Scrub as Asked, ScrubAction, ScrubDescription,
    ScrubbedVolume,
};
use siltstone::name::ExportName;
use siltstone::store::clock::{Clock, SystemClock};

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::{Complaint, Exit};
use crate::output::{Output, table};
use crate::progress;
use crate::size::{self, Size};

/// Between two looks at how far the scrub has come.
const POLL: Duration = Duration::from_millis(200);

/// Verify at rest what is stored, while it is in use, and name what is damaged. Exit code 3 if anything is.
///
/// A running daemon does so by itself every 30 days. Without a volume everything is verified; a scrub that is under way, or
/// was interrupted, goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Scrub {
    /// Verify only what this volume, or snapshot VOLUME@NAME, sees: here and now, in the order of its blocks.
    #[arg(value_parser = super::export_name, conflicts_with_all = ["no_wait", "status", "pause", "resume", "rate", "every"])]
    name: Option<ExportName>,
    /// With a volume: its snapshots too.
    #[arg(long, requires = "name")]
    snapshots: bool,
    /// Return at once, and let the daemon go on.
    #[arg(long)]
    no_wait: bool,
    /// Only show where scrubs stand, and the damage that is known.
    #[arg(long, conflicts_with_all = ["no_wait", "pause", "resume"])]
    status: bool,
    /// Let the scrub wait, also after a restart.
    #[arg(long, conflicts_with_all = ["no_wait", "resume"])]
    pause: bool,
    /// Let it go on.
    #[arg(long, conflicts_with = "no_wait")]
    resume: bool,
    /// From now on, read at most so much in a second, for example 50M.
    #[arg(long, value_name = "SIZE")]
    rate: Option<Size>,
    /// From now on, have the daemon verify everything so often (30d), or only when it is told to (off). Begins nothing.
    #[arg(long, value_name = "TIME")]
    every: Option<String>,
}

impl Scrub {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        if let Some(name) = &self.name {
            return self.run_volume(global, name);
        }
        let action = self.action();
        let asked = Asked { action, rate_bytes: self.rate.map(|size| size.0), every: self.every.clone() };
        let looks_only = asked == Asked::default();
        let access = if looks_only { Access::Read } else { Access::Write };
        let mut backend = Backend::open(&DataDir::new(&global.data)?, access)?;
        let told = self.ask(global, &mut backend, asked);
        let closed = backend.close();
        let told = told?;
        closed?;
        Output::new(global).answer(&told, || summary(&told) + "\n" + &damage(&told))?;
        Ok(match told.state.as_str() {
            "stopped" => Exit::Failure,
            _ if told.damage.is_empty() => Exit::Ok,
            _ => Exit::Damage,
        })
    }

    fn action(&self) -> ScrubAction {
        match (self.pause, self.resume) {
            (true, _) => ScrubAction::Pause,
            (_, true) => ScrubAction::Resume,
            _ if self.status || self.every.is_some() => ScrubAction::Status,
            _ => ScrubAction::Start,
        }
    }

    fn ask(&self, global: &Global, backend: &mut Backend, asked: Asked) -> anyhow::Result<ScrubDescription> {
        let is_start = asked.action == ScrubAction::Start;
        if is_start && self.no_wait && matches!(backend, Backend::Local(_)) {
            let message = "no daemon runs that could go on: start one, or leave out --no-wait";
            return Err(Complaint::new(Kind::Unavailable, message).into());
        }
        let told = call(backend, asked)?;
        if is_start && !self.no_wait { wait(global, backend, told) } else { Ok(told) }
    }

    fn run_volume(&self, global: &Global, name: &ExportName) -> anyhow::Result<Exit> {
        let request = Request::ScrubVolume { name: name.to_string(), snapshots: self.snapshots };
        let mut watcher = progress::Watcher { bar: progress::bytes(global, "scrubbing", Some(0)) };
        let answer = backend::transfer(global, Access::Write, &request, &mut watcher);
        watcher.bar.finish_and_clear();
        match answer? {
            Response::ScrubbedVolumes { volumes } => {
                let document = serde_json::json!({ "volumes": volumes });
                Output::new(global).answer(&document, || volumes_text(&volumes))?;
                let is_damaged = volumes.iter().any(|volume| volume.blocks_damaged > 0);
                Ok(if is_damaged { Exit::Damage } else { Exit::Ok })
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn call(backend: &mut Backend, asked: Asked) -> anyhow::Result<ScrubDescription> {
    match backend.call(&Request::Scrub(asked), &mut NoTransfer)? {
        Response::Scrub(told) => Ok(*told),
        other => Err(backend::unexpected(&other)),
    }
}

/// Looks on until the pass has ended, or somebody has paused it.
fn wait(global: &Global, backend: &mut Backend, mut told: ScrubDescription) -> anyhow::Result<ScrubDescription> {
    let clock = SystemClock::new();
    let bar = progress::bytes(global, "scrubbing", Some(0));
    while told.state == "running" {
        bar.set_length(told.bytes_total);
        bar.set_position(told.bytes_done);
        clock.sleep(POLL);
        told = call(backend, Asked::default())?;
    }
    bar.finish_and_clear();
    Ok(told)
}

/// Where scrubs stand, in a line.
pub(super) fn summary(scrub: &ScrubDescription) -> String {
    let last = scrub.completed.as_ref().map_or("never completed".into(), |when| format!("completed {when}"));
    let pass = scrub.began.as_ref().map_or(String::new(), |began| {
        let (done, total) = (size::human(scrub.bytes_done), size::human(scrub.bytes_total));
        format!(", {done} of {total} since {began}")
    });
    let every = scrub.every.as_ref().map_or("not by itself".into(), |every| format!("every {every}"));
    let found = match scrub.damage.len() as u64 + scrub.damage_left_out {
        0 => "no damage known".to_owned(),
        1 => "1 damaged place".to_owned(),
        count => format!("{count} damaged places"),
    };
    format!("{}{pass}; {last}; {every}, {}/s; {found}", scrub.state, size::human(scrub.rate_bytes))
}

/// The damage that is known, a place a line; nothing if there is none.
pub(super) fn damage(scrub: &ScrubDescription) -> String {
    if scrub.damage.is_empty() {
        return String::new();
    }
    let columns = ["FILE", "OFFSET", "FOUND", "DAMAGE", "TOUCHES"];
    let row = |place: &DamageDescription| {
        vec![place.file.clone(), place.offset.to_string(), place.found.clone(), place.what.clone(), touches(place)]
    };
    let more = match scrub.damage_left_out {
        0 => String::new(),
        count => format!("and {count} more\n"),
    };
    table(&columns, &["OFFSET"], scrub.damage.iter().map(row)) + &more
}

fn touches(place: &DamageDescription) -> String {
    let Some(touched) = &place.touched else { return "not known yet".into() };
    let range =
        |range: &siltstone::control::TouchedDescription| format!("{} {}+{}", range.name, range.offset, range.length);
    let mut parts: Vec<_> = touched.iter().map(range).collect();
    match (parts.is_empty(), place.complete) {
        (true, true) => parts.push("nobody".into()),
        (_, false) => parts.push("perhaps more".into()),
        _ => {}
    }
    parts.join(", ")
}

fn volumes_text(volumes: &[ScrubbedVolume]) -> String {
    let line = |volume: &ScrubbedVolume| match volume.blocks_damaged {
        0 => format!("{}: no damage found, {} blocks match their fingerprints\n", volume.name, volume.blocks_good),
        damaged => format!("{}: {damaged} blocks damaged, {} good\n", volume.name, volume.blocks_good),
    };
    let rows = volumes.iter().flat_map(|volume| volume.damage.iter().map(move |range| (&volume.name, range)));
    let rows: Vec<_> = rows
        .map(|(name, range)| {
            let (offset, length) = (range.offset.to_string(), range.length.to_string());
            vec![name.clone(), offset, length, range.what.clone(), range.file.clone()]
        })
        .collect();
    let lines: String = volumes.iter().map(line).collect();
    if rows.is_empty() {
        return lines;
    }
    lines + &table(&["NAME", "OFFSET", "LENGTH", "DAMAGE", "FILE"], &["OFFSET", "LENGTH"], rows)
}
