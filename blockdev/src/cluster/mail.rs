//! What comes for a client's thread from others, and what wakes it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use lsm_store::Error;
use net::envelope::Message;
use net::transport::RequestError;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, epoll, eventfd};

/// One thing that has come.
pub(super) enum Letter {
    /// Another node has answered for a piece of a read: which attempt, and which piece.
    ReadAnswered(u64, usize, Result<Message, RequestError>),
    /// Another node has answered one of a change's questions: the change's token, and which attempt.
    ChangeAnswered(u64, u64, Result<Message, RequestError>),
    /// The replica here has ended a change: its token, and which attempt.
    Changed(u64, u64),
}

/// Letters for one thread.
pub(super) struct Mail {
    letters: Mutex<Vec<Letter>>,
    wake: OwnedFd,
}

impl Mail {
    pub(super) fn new() -> Result<Arc<Self>, Error> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| Error::Io {
            action: "making",
            file: "an event counter".into(),
            source: Arc::new(error.into()),
        })?;
        Ok(Arc::new(Self { letters: Mutex::default(), wake }))
    }

    pub(super) fn put(&self, letter: Letter) {
        let mut letters = self.letters.lock();
        letters.push(letter);
        let is_first = letters.len() == 1;
        drop(letters);
        if is_first {
            // Fails only if the counter is full, and then it wakes as well.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// True if nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.letters.lock().is_empty()
    }

    /// Takes what has come.
    pub(super) fn take(&self) -> Vec<Letter> {
        let mut count = [0; 8];
        // Fails if nothing has come, which is as good. Before the letters are taken, or a wake for a later one would be lost.
        let _ = rustix::io::read(&self.wake, &mut count);
        std::mem::take(&mut *self.letters.lock())
    }

    /// Readable while something may have come.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// A socket and a mail as one thing to wait for, for those who wait for one.
pub(super) struct Both {
    epoll: OwnedFd,
    socket: RawFd,
}

impl Both {
    pub(super) fn new(socket: BorrowedFd<'_>, mail: &Mail) -> Result<Self, Error> {
        let make = || -> rustix::io::Result<OwnedFd> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            epoll::add(&epoll, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
            epoll::add(&epoll, mail.wake(), epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
            Ok(epoll)
        };
        let epoll = make().map_err(|error| Error::Io {
            action: "making",
            file: "a set of files to wait for".into(),
            source: Arc::new(error.into()),
        })?;
        Ok(Self { epoll, socket: socket.as_raw_fd() })
    }

    /// True if it waits for this socket.
    pub(super) fn is_of(&self, socket: BorrowedFd<'_>) -> bool {
        self.socket == socket.as_raw_fd()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
