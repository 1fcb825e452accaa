//! Making a log, and opening one: what was found is made durable, and a new file begins behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use lsm_store::device::{Access, DIRECT_ALIGNMENT, Device};
use net::id::{Lsn, VolumeId};
use net::replication::Standing;

use super::error::{LogError, Result};
use super::frame::Sequence;
use super::index::Index;
use super::place::{FileNumber, Place};
use super::recovery::{Chain, recover};
use super::shared::{Contents, Held, LogFile, Shared};
use super::state::State;
use super::tail::{Begin, Tail, adopt_spare};
use super::{BootId, Recovered, ReplicaLog, Sizes};

impl ReplicaLog {
    /// [`ReplicaLog::create`] with files of these sizes.
    pub(in crate::replica) fn create_sized(
        device: Arc<dyn Device>,
        volume: VolumeId,
        boot: BootId,
        standing: Standing,
        sizes: Sizes,
    ) -> Result<Self> {
        let place = Place::new(volume);
        let directory = &place.directory;
        device.create_directory(directory).map_err(|error| LogError::io("making", directory, error))?;
        if !place.numbers(&*device)?.is_empty() {
            return Err(LogError::Exists(place.directory));
        }
        let state = State::new(standing);
        let begin = Begin {
            boot,
            previous: 0,
            last: Sequence(0),
            synced: Sequence(0),
            is_install: false,
            may_use_spare: true,
            has_recycled: false,
            state: &state,
        };
        let tail = Tail::begin_durably(&*device, &place, FileNumber(1), sizes, &begin)?;
        let contents = Contents::new(VecDeque::from([tail.held()]), Index::new(Lsn(0)), Sequence(0));
        let shared = Arc::new(Shared::new(device, place, contents));
        let mut log = Self { shared, boot, sizes, state, tail, has_spare: false, has_recycled: false };
        log.keep_spare()?;
        Ok(log)
    }

    /// [`ReplicaLog::open`] with new files of these sizes.
    pub(in crate::replica) fn open_sized(
        device: Arc<dyn Device>,
        volume: VolumeId,
        boot: BootId,
        sizes: Sizes,
    ) -> Result<(Self, Recovered)> {
        let place = Place::new(volume);
        let numbers = place.numbers(&*device)?;
        if numbers.is_empty() {
            return Err(LogError::Missing(place.directory));
        }
        let chain = recover(&*device, &place, &numbers)?;
        let recovered = recovered(&chain, boot);
        let mut files = sync_chain(&*device, &place, &chain)?;
        for stray in &chain.strays {
            place.remove(&*device, &place.path(*stray))?;
        }
        let mut state = chain.state;
        state.is_doubted = !recovered.intact;
        let begin = Begin {
            boot,
            previous: chain.previous,
            last: chain.last,
            synced: chain.last,
            is_install: false,
            may_use_spare: true,
            has_recycled: false,
            state: &state,
        };
        // It may have been begun as the next file, and have got its name back with a power cut.
        place.remove(&*device, &place.recycled_path())?;
        let next = files.back().expect("a chain is in a file").file.number.next();
        let has_spare = adopt_spare(&*device, &place, sizes)?;
        let tail = Tail::begin_durably(&*device, &place, next, sizes, &begin)?;
        cut(files.back_mut().expect("a chain is in a file"), chain.end)?;
        files.push_back(tail.held());
        let contents = Contents::new(files, chain.index, chain.last);
        let shared = Arc::new(Shared::new(device, place, contents));
        let mut log = Self { shared, boot, sizes, state, tail, has_spare, has_recycled: false };
        log.note_origin()?;
        Ok((log, recovered))
    }
}

/// What a chain tells the replica.
fn recovered(chain: &Chain, boot: BootId) -> Recovered {
    let state = &chain.state;
    Recovered {
        standing: if state.is_torn { Standing::Outside } else { state.standing },
        intact: chain.is_intact(boot),
        history: state.history.clone(),
        synced: state.end(),
        floor: state.floor,
        start: chain.index.start(),
        is_torn: state.is_torn,
    }
}

/// Opens the files of a chain, and syncs those that may not be durable, and their names.
fn sync_chain(device: &dyn Device, place: &Place, chain: &Chain) -> Result<VecDeque<Held>> {
    let mut files = VecDeque::new();
    for (number, last) in &chain.files {
        let path = place.path(*number);
        let name = path.as_str();
        let fail = |doing| move |error| LogError::io(doing, name, error);
        let file = device.open(&path, Access::Buffered).map_err(fail("opening"))?;
        if *last >= chain.synced {
            file.sync_data().map_err(fail("syncing"))?;
        }
        let bytes = file.len().map_err(fail("reading"))?;
        files.push_back(Held { file: Arc::new(LogFile { number: *number, path, file }), bytes });
    }
    place.sync(device)?;
    Ok(files)
}

/// Gives back what was allocated behind the end of a chain.
fn cut(held: &mut Held, end: u64) -> Result<()> {
    let bytes = end.next_multiple_of(DIRECT_ALIGNMENT as u64);
    if bytes < held.bytes {
        held.file.file.set_len(bytes).map_err(|error| LogError::io("cutting", &held.file.path, error))?;
        held.bytes = bytes;
    }
    Ok(())
}
