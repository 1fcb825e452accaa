//! Schedules, and going back by time.

use siltstone::control::{Failure, Kind, Response, Rewind, Rewound, SetVolume};
use siltstone::name::VolumeName;
use siltstone::schedule::{InvalidSchedule, Schedule, rules_text};

use super::{NodeHandler, describe, failure, name};

impl NodeHandler {
    pub(super) fn rewind(&self, request: &Rewind) -> Result<Response, Failure> {
        let name: VolumeName = name(&request.name)?;
        let time_ms = self.time_ms(request)?;
        if let Some(replicated) = self.replicated(&name)? {
            let to = request.to.as_deref().map(super::name::<VolumeName>).transpose()?;
            to.iter().try_for_each(|to| self.check_not_of_node(to))?;
            return replicated.rewind(time_ms, to.as_ref());
        }
        let rewound = match &request.to {
            Some(new) => self.node.clone_from_time(&name, time_ms, &super::name(new)?),
            None => self.node.rewind(&name, time_ms),
        };
        let rewound = rewound.map_err(failure)?;
        Ok(Response::Rewound(Box::new(Rewound {
            volume: describe::volume(&rewound.volume),
            to: rewound.to.to_string(),
            before: rewound.before.map(|snapshot| snapshot.name.to_string()),
        })))
    }

    fn time_ms(&self, request: &Rewind) -> Result<u64, Failure> {
        match (request.ago_s, &request.at) {
            (Some(ago_s), None) => {
                let now_ms = u64::try_from(self.node.store().clock().wall().as_millis()).unwrap_or(u64::MAX);
                Ok(now_ms.saturating_sub(ago_s.saturating_mul(1000)))
            }
            (None, Some(at)) => match at.parse::<jiff::Timestamp>() {
                Ok(at) => Ok(u64::try_from(at.as_millisecond()).unwrap_or(0)),
                Err(error) => Err(Failure::from_chain(Kind::Invalid, &error)),
            },
            _ => Err(Failure::new(Kind::Invalid, "either how long ago or a time")),
        }
    }
}

/// The schedule that settings make of the present one.
pub(super) fn schedule(settings: &SetVolume, now: Option<&Schedule>) -> Result<Option<Schedule>, Failure> {
    let every = match settings.snap_every.as_deref() {
        Some("off") if settings.keep.is_some() => {
            return Err(Failure::new(Kind::Invalid, "snap-every=off keeps nothing: leave keep out"));
        }
        Some("off") => return Ok(None),
        Some(every) => Some(every.to_owned()),
        None => now.map(|schedule| schedule.every().to_string()),
    };
    let keep = settings.keep.clone().or_else(|| now.map(|schedule| rules_text(schedule.keep())));
    match (every, keep) {
        (Some(every), Some(keep)) => {
            let invalid = |error: InvalidSchedule| Failure::from_chain(Kind::Invalid, &error);
            Schedule::parse(&every, &keep).map(Some).map_err(invalid)
        }
        (None, _) => Err(Failure::new(Kind::Invalid, "say how often as well, for example snap-every=10s")),
        (_, None) => Err(Failure::new(Kind::Invalid, "say what to keep as well, for example keep=10s:1h,1m:1d")),
    }
}
