//! The client's side of the handshake.

use std::io::IoSlice;

use super::replies::Source;
use super::{ClientError, ClientOptions, Loss, connect, send_all};
use crate::frontend::nbd::handshake::Context;
use crate::frontend::nbd::socket::Socket;
use crate::frontend::nbd::uri::Endpoint;
use crate::frontend::nbd::wire::negotiation::{
    BlockSizes, ContextRequest, ExportFacts, Greeting, InfoRequest, OptionHeader, OptionReplyHeader,
    decode_context_reply, decode_server_reply, split_info,
};
use crate::frontend::nbd::wire::{
    ClientFlags, HandshakeFlags, InfoType, OptionCode, OptionReply, PAYLOAD_BYTES_MAX, STRING_BYTES_MAX,
};

/// Bytes of one reply to an option: a string and some numbers.
const REPLY_BYTES_MAX: u32 = STRING_BYTES_MAX as u32 * 2 + 64;

/// Replies to one option; ends a server that never stops.
const REPLIES_MAX: usize = 1 << 20;

/// Zeros that follow an answer to EXPORT_NAME where they were not waived.
const EXPORT_NAME_PADDING_BYTES: usize = 124;

/// What the handshake came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Negotiated {
    pub(super) facts: ExportFacts,
    pub(super) block_sizes: BlockSizes,
    pub(super) structured: bool,
    /// The id of `base:allocation`.
    pub(super) allocation_context: Option<u32>,
}

/// Talks options with a server.
struct Haggling<'a> {
    socket: &'a Socket,
    source: Source,
    server: HandshakeFlags,
}

/// One reply to an option.
struct Answer {
    reply: OptionReply,
    data: Vec<u8>,
}

impl Answer {
    fn refused(self, export: &str) -> ClientError {
        let mut message = String::from_utf8_lossy(&self.data).into_owned();
        message.retain(|character| !character.is_control());
        ClientError::Refused { export: export.to_owned(), reply: self.reply, message }
    }
}

/// Opens `export` over `socket`.
pub(super) fn open(socket: &Socket, export: &str, structured: bool) -> Result<Negotiated, ClientError> {
    let mut haggling = Haggling::greet(socket)?;
    let structured = structured && haggling.ask_structured()?;
    let allocation_context = if structured { haggling.ask_context(export)? } else { None };
    let (facts, block_sizes) = haggling.go(export)?;
    Ok(Negotiated { facts, block_sizes, structured, allocation_context })
}

/// The names of a server's exports.
///
/// # Errors
/// As [`super::Client::connect`]; [`ClientError::Refused`] if the server does not tell.
pub fn list(endpoint: &Endpoint, options: ClientOptions) -> Result<Vec<String>, ClientError> {
    let socket = connect(endpoint, options)?;
    let mut haggling = Haggling::greet(&socket)?;
    haggling.send(OptionCode::LIST, &[])?;
    let mut names = Vec::new();
    let last = haggling.receive_all(OptionCode::LIST, |answer| {
        if answer.reply == OptionReply::SERVER {
            let name = decode_server_reply(&answer.data).map_err(|_| Loss::Protocol("a malformed name"))?;
            names.push(name.to_owned());
        }
        Ok(())
    })?;
    if last.reply.is_error() {
        return Err(last.refused(""));
    }
    haggling.send(OptionCode::ABORT, &[])?;
    Ok(names)
}

impl<'a> Haggling<'a> {
    fn greet(socket: &'a Socket) -> Result<Self, Loss> {
        let mut source = Source::default();
        source.fill(socket, Greeting::BYTES)?;
        let greeting = Greeting::decode(source.pending())?.ok_or(Loss::Protocol("a short greeting"))?;
        source.consume(Greeting::BYTES);
        if !greeting.flags.contains(HandshakeFlags::FIXED_NEWSTYLE) {
            return Err(Loss::Protocol("it does not speak fixed newstyle"));
        }
        let no_zeroes = greeting.flags.contains(HandshakeFlags::NO_ZEROES);
        let flags = ClientFlags::FIXED_NEWSTYLE | ClientFlags::NO_ZEROES.when(no_zeroes);
        send_all(socket, &mut [IoSlice::new(&flags.0.to_be_bytes())])?;
        Ok(Self { socket, source, server: greeting.flags })
    }

    fn send(&self, option: OptionCode, data: &[u8]) -> Result<(), Loss> {
        send_all(self.socket, &mut [IoSlice::new(&OptionHeader::encode_with(option, data))])
    }

    fn receive(&mut self, option: OptionCode) -> Result<Answer, Loss> {
        self.source.fill(self.socket, OptionReplyHeader::BYTES)?;
        let header = OptionReplyHeader::decode(self.source.pending())?.ok_or(Loss::Protocol("a short reply"))?;
        self.source.consume(OptionReplyHeader::BYTES);
        if header.option != option {
            return Err(Loss::Protocol("a reply to another option"));
        }
        if header.len > REPLY_BYTES_MAX {
            return Err(Loss::Protocol("a reply to an option is too long"));
        }
        let len = header.len as usize;
        self.source.fill(self.socket, len)?;
        let data = self.source.pending()[..len].to_vec();
        self.source.consume(len);
        Ok(Answer { reply: header.reply, data })
    }

    /// Hands every reply but the last, an ACK or an error, to `each`.
    fn receive_all(
        &mut self,
        option: OptionCode,
        mut each: impl FnMut(&Answer) -> Result<(), Loss>,
    ) -> Result<Answer, Loss> {
        for _ in 0..REPLIES_MAX {
            let answer = self.receive(option)?;
            if answer.reply == OptionReply::ACK || answer.reply.is_error() {
                return Ok(answer);
            }
            each(&answer)?;
        }
        Err(Loss::Protocol("replies to an option without end"))
    }

    fn ask_structured(&mut self) -> Result<bool, Loss> {
        self.send(OptionCode::STRUCTURED_REPLY, &[])?;
        let last = self.receive_all(OptionCode::STRUCTURED_REPLY, |_| Ok(()))?;
        Ok(last.reply == OptionReply::ACK)
    }

    fn ask_context(&mut self, export: &str) -> Result<Option<u32>, Loss> {
        let name = Context::Allocation.name();
        let request = ContextRequest { name: export, queries: vec![&name] };
        self.send(OptionCode::SET_META_CONTEXT, &request.encode())?;
        let mut id = None;
        let last = self.receive_all(OptionCode::SET_META_CONTEXT, |answer| {
            let context = decode_context_reply(&answer.data).map_err(|_| Loss::Protocol("a malformed context"))?;
            id = id.or((context.1 == name).then_some(context.0));
            Ok(())
        })?;
        Ok(id.filter(|_| last.reply == OptionReply::ACK))
    }

    fn go(&mut self, export: &str) -> Result<(ExportFacts, BlockSizes), ClientError> {
        let request = InfoRequest { name: export, wants: vec![InfoType::BLOCK_SIZE] };
        self.send(OptionCode::GO, &request.encode())?;
        let mut facts = None;
        let mut sizes = BlockSizes { minimum: 1, preferred: 4096, payload_max: PAYLOAD_BYTES_MAX };
        let last = self.receive_all(OptionCode::GO, |answer| {
            match split_info(&answer.data) {
                Some((InfoType::EXPORT, payload)) => facts = ExportFacts::decode(payload),
                Some((InfoType::BLOCK_SIZE, payload)) => sizes = BlockSizes::decode(payload).unwrap_or(sizes),
                _ => {}
            }
            Ok(())
        })?;
        if last.reply == OptionReply::ERR_UNSUP {
            return Ok((self.export_name(export)?, sizes));
        }
        if last.reply.is_error() {
            return Err(last.refused(export));
        }
        if sizes.payload_max == 0 {
            return Err(Loss::Protocol("payloads of no bytes").into());
        }
        Ok((facts.ok_or(Loss::Protocol("an export without a size"))?, sizes))
    }

    /// The old way in, for servers without GO; they hang up on a name they do not know.
    fn export_name(&mut self, export: &str) -> Result<ExportFacts, Loss> {
        self.send(OptionCode::EXPORT_NAME, export.as_bytes())?;
        let waived = self.server.contains(HandshakeFlags::NO_ZEROES);
        let len = ExportFacts::BYTES + if waived { 0 } else { EXPORT_NAME_PADDING_BYTES };
        self.source.fill(self.socket, len)?;
        let facts = ExportFacts::decode(self.source.pending()).ok_or(Loss::Protocol("an export without a size"))?;
        self.source.consume(len);
        Ok(facts)
    }
}
