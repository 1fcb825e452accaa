//! Questions and answers: each on a stream of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::Shared;
use super::outbox::{Outbox, set_priority};
use super::stream::{ReadError, read_body, read_header, write_last};
use crate::envelope::{Error, HEADER_BYTES, Header, Message};
use crate::transport::{Channel, Class, Down, Link, OnAnswer, RequestError, Responder, SendError};

/// Most questions under way on a link in one direction, by [`lane`].
pub(super) const QUESTIONS_MAX: [u32; 2] = [32, 256];

/// Where questions of a class are counted: those of the agreement by themselves.
pub(super) fn lane(class: Class) -> usize {
    usize::from(class != Class::Control)
}

/// Asks, on the transport's thread.
pub(super) fn ask(runtime: &Handle, outbox: &Arc<Outbox>, message: Message, deadline: Duration, answer: OnAnswer) {
    let Some(class) = message.kind.family().and_then(Class::of) else {
        return answer(Err(SendError::Misplaced(message.kind.0).into()));
    };
    let header = match Header::encode(outbox.version(), message.kind, &message.body) {
        Ok(header) => header,
        Err(error) => return answer(Err(SendError::Message(error).into())),
    };
    let outbox = outbox.clone();
    runtime.spawn(async move {
        let exchange = exchange(&outbox, class, &header, &message);
        answer(timeout(deadline, exchange).await.unwrap_or(Err(RequestError::Deadline)));
    });
}

async fn exchange(
    outbox: &Outbox,
    class: Class,
    header: &[u8; HEADER_BYTES],
    message: &Message,
) -> Result<Message, RequestError> {
    let connection = outbox.connection(Channel { class, id: 0 });
    let ended = || if connection.close_reason().is_some() { RequestError::Down } else { RequestError::Refused };
    let failed = |error| match error {
        ReadError::Envelope(error) => RequestError::Garbled(error),
        ReadError::Ended => ended(),
    };
    let _under_way = outbox.questions(class).try_acquire().map_err(|_| SendError::Full)?;
    let (mut sender, mut receiver) = connection.open_bi().await.map_err(|_| RequestError::Down)?;
    set_priority(&sender, class);
    write_last(&mut sender, header, message).await.map_err(|_| ended())?;
    let header = read_header(&mut receiver, outbox.version()).await.map_err(failed)?.ok_or(RequestError::Refused)?;
    let bytes = header.body_bytes() as u32;
    let _room = outbox.answers.acquire_many(bytes).await.map_err(|_| RequestError::Down)?;
    read_body(&mut receiver, &header).await.map_err(failed)
}

/// A question that came.
pub(super) struct Question {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Link,
    pub(super) version: u16,
    pub(super) sender: quinn::SendStream,
    pub(super) receiver: quinn::RecvStream,
}

impl Question {
    /// Reads it once there is room for it, has it answered, sends the answer.
    pub(super) async fn serve(mut self, rooms: [Arc<Semaphore>; 2]) -> Result<(), Down> {
        let Some((message, held)) = self.read(rooms).await? else { return Ok(()) };
        let (responder, answered) = responder(held);
        self.shared.handler.handle_request(self.link, message, responder);
        // Without an answer the stream is finished as it is.
        if let Ok(answer) = answered.await {
            self.answer(&answer).await;
        }
        // Fails only if the asker has given up.
        let _ = self.sender.finish();
        Ok(())
    }

    async fn read(&mut self, rooms: [Arc<Semaphore>; 2]) -> Result<Option<(Message, OwnedSemaphorePermit)>, Down> {
        let header = match read_header(&mut self.receiver, self.version).await {
            Ok(Some(header)) => header,
            // The asker's deadline may have passed already.
            Ok(None) | Err(ReadError::Ended | ReadError::Envelope(Error::Short)) => return Ok(None),
            Err(ReadError::Envelope(error)) => return Err(error.into()),
        };
        let Some(class) = header.kind().family().and_then(Class::of) else {
            return Err(Down::Protocol("a question of a kind that asks nothing"));
        };
        set_priority(&self.sender, class);
        let [agreement, others] = rooms;
        let room = if class == Class::Control { agreement } else { others };
        let held = room.acquire_many_owned(header.body_bytes() as u32).await.map_err(|_| Down::Asked)?;
        match read_body(&mut self.receiver, &header).await {
            Ok(message) => Ok(Some((message, held))),
            Err(ReadError::Ended | ReadError::Envelope(Error::Short)) => Ok(None),
            Err(ReadError::Envelope(error)) => Err(error.into()),
        }
    }

    async fn answer(&mut self, answer: &Message) {
        match Header::encode(self.version, answer.kind, &answer.body) {
            // If the asker has given up, or the connection ended, nobody misses it.
            Ok(header) => drop(write_last(&mut self.sender, &header, answer).await),
            Err(error) => {
                tracing::error!(link = %self.link, kind = answer.kind.0, %error, "an answer cannot be sent");
            }
        }
    }
}

fn responder(held: OwnedSemaphorePermit) -> (Responder, oneshot::Receiver<Message>) {
    let (sender, receiver) = oneshot::channel();
    let answer = move |message| {
        drop(held);
        // Nobody listens if the link went down.
        let _ = sender.send(message);
    };
    (Responder::new(Box::new(answer)), receiver)
}
