//! `silt cluster set`

use siltstone::control::{Request, Response};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::size::{self, Size};

/// Change settings of the whole cluster, at once and for good.
#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// catch-up-rate=SIZE|off: how many bytes a second each node sends at most to bring replicas up to date.
    #[arg(value_name = "SETTING=VALUE", value_parser = setting, required = true)]
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Setting {
    /// 0 for no limit.
    CatchUpRate(u64),
}

/// The slowest rate: what is asked at once must not take minutes.
const RATE_MIN: u64 = 64 << 10;

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("write SETTING=VALUE")?;
    match (name, value) {
        ("catch-up-rate", "off") => Ok(Setting::CatchUpRate(0)),
        ("catch-up-rate", value) => match value.parse::<Size>() {
            Ok(Size(rate_bytes)) if rate_bytes >= RATE_MIN => Ok(Setting::CatchUpRate(rate_bytes)),
            Ok(_) => Err(format!("the slowest rate is {}", size::human(RATE_MIN))),
            Err(error) => Err(error.to_string()),
        },
        _ => Err("the setting of a cluster is catch-up-rate".to_owned()),
    }
}

impl Set {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let Some(Setting::CatchUpRate(rate_bytes)) = self.settings.last().copied() else { return Ok(Exit::Ok) };
        let request = Request::ClusterSet { catch_up_rate_bytes: Some(rate_bytes) };
        match backend::ask(global, Access::Read, &request)? {
            Response::Done => {
                let document = serde_json::json!({ "catch_up_rate_bytes": rate_bytes });
                Output::new(global).done(&document, || text(rate_bytes))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(rate_bytes: u64) -> String {
    match rate_bytes {
        0 => "replicas are brought up to date as fast as possible".to_owned(),
        rate => format!("replicas are brought up to date at {} a second from each node", size::human(rate)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Setting, setting};

    #[test]
    fn a_rate_is_a_size_or_off() {
        assert_eq!(setting("catch-up-rate=50M"), Ok(Setting::CatchUpRate(50 << 20)));
        assert_eq!(setting("catch-up-rate=off"), Ok(Setting::CatchUpRate(0)));
        for wrong in ["catch-up-rate", "catch-up-rate=", "catch-up-rate=1K", "catch-up-rate=fast", "rate=1M"] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }
}
