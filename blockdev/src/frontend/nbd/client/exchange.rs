//! Requests in flight on one connection, and whose turn it is to receive.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::replies::{Event, Expected, Reply, Source, Terms, Unanswered};
use super::{ClientError, Loss, send_all};
use crate::frontend::nbd::socket::Socket;
use crate::frontend::nbd::wire::transmission::Request;
use crate::frontend::nbd::wire::{Command, CommandFlags, Cookie, Errno};

type Outcome = Result<Reply, Errno>;

#[derive(Debug)]
enum Progress {
    /// Nothing, or a part, has come; `None` while a part is being received.
    Open(Option<Unanswered>),
    Done(Outcome),
}

#[derive(Debug)]
struct Call {
    progress: Progress,
    /// The caller sleeps on `wake`.
    is_waiting: bool,
    wake: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    last_cookie: u64,
    calls: BTreeMap<Cookie, Call>,
    /// A thread is receiving.
    receiving: bool,
    lost: Option<Arc<Loss>>,
}

#[derive(Debug)]
pub(super) struct Exchange {
    socket: Socket,
    terms: Terms,
    /// Held while a request is sent, so that requests do not mix.
    sending: Mutex<()>,
    state: Mutex<State>,
    /// Locked by the thread that receives.
    source: Mutex<Source>,
}

impl Exchange {
    pub(super) fn new(socket: Socket, terms: Terms) -> Self {
        let (sending, state, source) = Default::default();
        Self { socket, terms, sending, state, source }
    }

    /// Sends a request and waits for what it comes to.
    pub(super) fn call(&self, mut request: Request, payload: &[u8], expected: Expected) -> Result<Reply, ClientError> {
        request.cookie = self.enter(&request, expected)?;
        let sent = {
            let _turn = self.sending.lock();
            send_all(&self.socket, &mut [IoSlice::new(&request.encode()), IoSlice::new(payload)])
        };
        if let Err(loss) = sent {
            self.lose(loss);
        }
        self.wait(request.cookie)
    }

    /// Sends requests without payloads together and waits for what they come to.
    pub(super) fn call_all(&self, mut requests: Vec<Request>, expected: Expected) -> Result<Vec<Reply>, ClientError> {
        for request in &mut requests {
            request.cookie = self.enter(request, expected)?;
        }
        let bytes: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
        let sent = {
            let _turn = self.sending.lock();
            send_all(&self.socket, &mut [IoSlice::new(&bytes)])
        };
        if let Err(loss) = sent {
            self.lose(loss);
        }
        // All of them, also after a failure: a call stays until its outcome is taken.
        let outcomes: Vec<_> = requests.iter().map(|request| self.wait(request.cookie)).collect();
        outcomes.into_iter().collect()
    }

    fn enter(&self, request: &Request, expected: Expected) -> Result<Cookie, ClientError> {
        let mut state = self.state.lock();
        if let Some(loss) = &state.lost {
            return Err(ClientError::Disconnected(Arc::clone(loss)));
        }
        state.last_cookie += 1;
        let cookie = Cookie(state.last_cookie);
        let progress = Progress::Open(Some(Unanswered::new(expected, request.offset, request.len)));
        state.calls.insert(cookie, Call { progress, is_waiting: false, wake: Arc::default() });
        Ok(cookie)
    }

    /// Waits for the outcome, receiving for everybody while nobody else does.
    fn wait(&self, cookie: Cookie) -> Result<Reply, ClientError> {
        let mut state = self.state.lock();
        loop {
            let call = state.calls.get_mut(&cookie).expect("a call stays until its caller takes the outcome");
            if let Progress::Done(_) = call.progress {
                break;
            }
            if let Some(loss) = state.lost.clone() {
                state.calls.remove(&cookie);
                return Err(ClientError::Disconnected(loss));
            }
            if state.receiving {
                self.sleep(cookie, &mut state);
            } else {
                state.receiving = true;
                MutexGuard::unlocked(&mut state, || self.receive_until_done(cookie));
                state.receiving = false;
                wake_one(&mut state);
            }
        }
        match state.calls.remove(&cookie).map(|call| call.progress) {
            Some(Progress::Done(outcome)) => outcome.map_err(|error| ClientError::Server { error }),
            _ => unreachable!("the outcome was there"),
        }
    }

    fn sleep(&self, cookie: Cookie, state: &mut MutexGuard<'_, State>) {
        let call = state.calls.get_mut(&cookie).expect("a sleeping call is known");
        call.is_waiting = true;
        let wake = Arc::clone(&call.wake);
        wake.wait(state);
        if let Some(call) = state.calls.get_mut(&cookie) {
            call.is_waiting = false;
        }
    }

    /// Receives replies, whoever they are for, until the one to `cookie` is whole or the stream is lost.
    fn receive_until_done(&self, cookie: Cookie) {
        let mut source = self.source.lock();
        loop {
            match self.receive_one(&mut source) {
                Ok(Some(finished)) if finished == cookie => return,
                Ok(_) => {}
                Err(loss) => return self.lose(loss),
            }
        }
    }

    /// Receives one reply or chunk; the cookie of the request that it finished.
    fn receive_one(&self, source: &mut Source) -> Result<Option<Cookie>, Loss> {
        let head = source.head(&self.socket)?;
        let cookie = head.cookie();
        let mut unanswered = self.borrow(cookie)?;
        let event = unanswered.receive(head, &self.terms, source, &self.socket)?;
        let mut state = self.state.lock();
        let call = state.calls.get_mut(&cookie).ok_or(Loss::Closed)?;
        match event {
            Event::More => {
                call.progress = Progress::Open(Some(unanswered));
                Ok(None)
            }
            Event::Finished(outcome) => {
                call.progress = Progress::Done(outcome);
                call.wake.notify_one();
                Ok(Some(cookie))
            }
        }
    }

    /// What has come so far for a request; the receiver fills it without holding the lock.
    fn borrow(&self, cookie: Cookie) -> Result<Unanswered, Loss> {
        match self.state.lock().calls.get_mut(&cookie) {
            Some(Call { progress: Progress::Open(unanswered), .. }) => unanswered.take(),
            _ => None,
        }
        .ok_or(Loss::Protocol("a reply to nothing"))
    }

    fn lose(&self, loss: Loss) {
        let mut state = self.state.lock();
        state.lost.get_or_insert_with(|| Arc::new(loss));
        for call in state.calls.values() {
            call.wake.notify_one();
        }
        drop(state);
        self.socket.shutdown();
    }

    pub(super) fn close(&self) {
        if self.state.lock().lost.is_some() {
            return;
        }
        if let Some(_turn) = self.sending.try_lock() {
            let goodbye =
                Request { flags: CommandFlags::NONE, command: Command::DISC, cookie: Cookie(0), offset: 0, len: 0 };
            // The server learns of the end either way.
            let _ = send_all(&self.socket, &mut [IoSlice::new(&goodbye.encode())]);
        }
        self.lose(Loss::Closed);
    }
}

/// Hands the duty to receive to a sleeping caller. One that is still sending takes it by itself later; waiting for
/// it could wait for a server that in turn waits for its replies to be received.
fn wake_one(state: &mut State) {
    let open = |call: &&Call| call.is_waiting && matches!(call.progress, Progress::Open(_));
    if let Some(call) = state.calls.values().find(open) {
        call.wake.notify_one();
    }
}
