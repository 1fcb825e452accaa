//! `silt iostat`

use std::io;
use std::time::Duration;

use serde::Serialize;
use siltstone::control::{Counters, NoTransfer, OperationCounters, Request, Response, VolumeCounters};
use siltstone::name::ExportName;
use siltstone::store::clock::{Clock, SystemClock};

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::size;

/// Show what clients do to volumes, as rates. Without an interval: since the daemon started.
#[derive(Debug, clap::Args)]
pub(crate) struct Iostat {
    /// Seconds between two reports.
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    interval: Option<u32>,
    /// Reports to print; without an end if absent.
    #[arg(requires = "interval")]
    count: Option<u32>,
    /// Only this volume or snapshot; can be given several times.
    #[arg(long = "volume", value_name = "NAME", value_parser = super::export_name)]
    volumes: Vec<ExportName>,
}

/// One report, as `--json` prints it: a document a line.
#[derive(Serialize)]
struct Report {
    message_type: &'static str,
    interval_us: u64,
    volumes: Vec<VolumeRates>,
}

#[derive(Serialize)]
struct VolumeRates {
    name: String,
    connections: u64,
    read: Rates,
    write: Rates,
    zero: Rates,
    flush: Rates,
}

/// What one kind of request came to in an interval.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
struct Rates {
    requests_per_second: f64,
    bytes_per_second: f64,
    latency_us_mean: f64,
    errors: u64,
}

impl Iostat {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Read)?;
        let mut before = Counters { uptime_us: 0, volumes: Vec::new() };
        let mut left = if self.interval.is_some() { self.count.unwrap_or(u32::MAX) } else { 1 };
        if let Some(interval) = self.interval {
            before = counters(&mut backend)?;
            pause(interval);
        }
        while left > 0 {
            let now = counters(&mut backend)?;
            self.print(global, &before, &now)?;
            before = now;
            left -= 1;
            if let (Some(interval), true) = (self.interval, left > 0) {
                pause(interval);
            }
        }
        Ok(Exit::Ok)
    }

    fn print(&self, global: &Global, before: &Counters, now: &Counters) -> io::Result<()> {
        let wanted =
            |name: &str| self.volumes.is_empty() || self.volumes.iter().any(|volume| volume.to_string() == name);
        let interval_us = now.uptime_us.saturating_sub(before.uptime_us).max(1);
        let volumes = now.volumes.iter().filter(|volume| wanted(&volume.name));
        let volumes = volumes.map(|volume| volume_rates(before, volume, interval_us)).collect();
        let report = Report { message_type: "iostat", interval_us, volumes };
        Output::new(global).answer(&report, || text(&report))
    }
}

fn pause(seconds: u32) {
    SystemClock::new().sleep(Duration::from_secs(seconds.into()));
}

fn counters(backend: &mut Backend) -> anyhow::Result<Counters> {
    match backend.call(&Request::Counters, &mut NoTransfer)? {
        Response::Counters(counters) => Ok(counters),
        other => Err(backend::unexpected(&other)),
    }
}

fn volume_rates(before: &Counters, now: &VolumeCounters, interval_us: u64) -> VolumeRates {
    let before = before.volumes.iter().find(|volume| volume.name == now.name).cloned().unwrap_or_default();
    VolumeRates {
        name: now.name.clone(),
        connections: now.connections,
        read: rates(before.read, now.read, interval_us),
        write: rates(before.write, now.write, interval_us),
        zero: rates(before.zero, now.zero, interval_us),
        flush: rates(before.flush, now.flush, interval_us),
    }
}

/// Counters that went back belong to a new volume of an old name: it starts from zero.
fn rates(before: OperationCounters, now: OperationCounters, interval_us: u64) -> Rates {
    let before = if now.requests_total < before.requests_total { OperationCounters::default() } else { before };
    let requests = now.requests_total - before.requests_total;
    let bytes = now.bytes_total.saturating_sub(before.bytes_total);
    let latency_us = now.latency_us_total.saturating_sub(before.latency_us_total);
    let per_second = |amount: u64| amount as f64 * 1e6 / interval_us as f64;
    Rates {
        requests_per_second: per_second(requests),
        bytes_per_second: per_second(bytes),
        latency_us_mean: if requests == 0 { 0.0 } else { latency_us as f64 / requests as f64 },
        errors: now.errors_total.saturating_sub(before.errors_total),
    }
}

fn text(report: &Report) -> String {
    let columns =
        ["VOLUME", "READ/s", "BYTES/s", "us", "WRITE/s", "BYTES/s", "us", "FLUSH/s", "us", "ZERO/s", "ERRORS"];
    let row = |volume: &VolumeRates| {
        let count = |rates: Rates| format!("{:.0}", rates.requests_per_second);
        let bytes = |rates: Rates| size::human(rates.bytes_per_second as u64);
        let latency = |rates: Rates| format!("{:.0}", rates.latency_us_mean);
        let errors = volume.read.errors + volume.write.errors + volume.zero.errors + volume.flush.errors;
        vec![
            volume.name.clone(),
            count(volume.read),
            bytes(volume.read),
            latency(volume.read),
            count(volume.write),
            bytes(volume.write),
            latency(volume.write),
            count(volume.flush),
            latency(volume.flush),
            count(volume.zero),
            errors.to_string(),
        ]
    };
    table(&columns, &columns[1..], report.volumes.iter().map(row))
}

#[cfg(test)]
mod tests;
