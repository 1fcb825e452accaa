//! The server's side of the handshake as a state machine: bytes in, bytes and demands out, no I/O.
//!
//! Invariants: nothing is kept of what a peer sends beyond 64 KiB of option data and the contexts it chose; an export
//! is asked for only when the peer names one in INFO, GO or EXPORT_NAME; at most [`OPTIONS_MAX`] options are answered;
//! an option that is unknown, refused or malformed changes nothing, and the next one is understood. Where TLS is
//! required nothing but STARTTLS and ABORT is served without it, and nothing that came in clear counts after it: neither
//! choices (CVE-2021-3716) nor bytes (CVE-2011-0411).

use std::collections::HashSet;

use super::wire::negotiation::{
    BadOption, BlockSizes, ContextRequest, ExportFacts, Greeting, InfoRequest, OptionHeader, OptionReplyHeader,
    decode_client_flags, decode_string,
};
use super::wire::{
    BadMagic, ClientFlags, HandshakeFlags, InfoType, OptionCode, OptionReply, PAYLOAD_BYTES_MAX, STRING_BYTES_MAX,
    TransmissionFlags,
};

#[cfg(test)]
mod tests;

/// Options a client may send before it has to be in transmission.
pub const OPTIONS_MAX: u32 = 64;

/// Bytes of data of one option; more is thrown away as it comes and answered with ERR_TOO_BIG.
pub const OPTION_DATA_BYTES_MAX: usize = 64 << 10;

/// Any offset and length is served, whole blocks are served best.
const BLOCK_SIZES: BlockSizes =
    BlockSizes { minimum: 1, preferred: lsm_store::id::BLOCK_BYTES as u32, payload_max: PAYLOAD_BYTES_MAX };

/// Zeros that follow an answer to EXPORT_NAME unless the client waived them.
const EXPORT_NAME_PADDING: [u8; 124] = [0; 124];

/// Contexts that wildcards list at most.
pub const CONTEXTS_LISTED_MAX: usize = 256;

/// Bytes of the answer to one LIST: it waits in memory for clients that nobody knows yet.
pub const LIST_BYTES_MAX: usize = 256 << 10;

/// Contexts that a client may choose at once: each is asked for every BLOCK_STATUS.
pub const CONTEXTS_CHOSEN_MAX: usize = 16;

/// A kind of block status that a client can choose by name.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Context {
    /// `base:allocation`: data, zeros, holes.
    Allocation,
    /// `qemu:dirty-bitmap:SNAPSHOT`: what changed since, as qemu's clients ask for it.
    DirtyBitmap(String),
    /// `x-siltstone:changed:SNAPSHOT`: the same.
    Changed(String),
}

impl Context {
    /// The name on the wire.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Allocation => "base:allocation".into(),
            Self::DirtyBitmap(snapshot) => format!("qemu:dirty-bitmap:{snapshot}"),
            Self::Changed(snapshot) => format!("x-siltstone:changed:{snapshot}"),
        }
    }
}

/// The wildcards that stand for a name among others: its beginnings that end in a colon.
fn wildcards(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(':').map(|(at, _)| &name[..=at])
}

/// A context that a client chose, with the id that stands for it in replies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChosenContext {
    /// Unique within the connection.
    pub id: u32,
    /// What is reported under it.
    pub context: Context,
}

/// What was agreed for the transmission phase.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Agreement {
    /// Replies to READ are structured.
    pub structured: bool,
    /// What BLOCK_STATUS reports; nothing unless chosen for the export that was opened.
    pub contexts: Vec<ChosenContext>,
}

/// What the server knows of an export in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Description {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Changes are refused.
    pub read_only: bool,
}

/// Why an export is not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is none of that name that this client may see.
    Unknown,
    /// There is, but it cannot be opened now.
    Unavailable,
    /// The server has all the connections it takes.
    Full,
    /// The server is going away.
    ShuttingDown,
}

impl Refusal {
    fn reply(self) -> (OptionReply, &'static str) {
        match self {
            Self::Unknown => (OptionReply::ERR_UNKNOWN, "no such export"),
            Self::Unavailable => (OptionReply::ERR_UNKNOWN, "the export cannot be opened now"),
            Self::Full => (OptionReply::ERR_POLICY, "the server has as many connections as it takes"),
            Self::ShuttingDown => (OptionReply::ERR_SHUTDOWN, "the server is going away"),
        }
    }
}

/// A peer that cannot be talked to any longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// The stream is not NBD.
    #[error(transparent)]
    Magic(#[from] BadMagic),
    /// Client flags the server never offered.
    #[error("unknown client flags {0:#x}")]
    Flags(u32),
    /// An export name too long, in an option that has no error reply.
    #[error("an export name of {0} bytes")]
    NameTooLong(u32),
    /// An export name that is no string, in an option that has no error reply.
    #[error("an export name that is no string")]
    NameMalformed,
    /// An export that is not given, in an option that has no error reply.
    #[error("the export was refused: {0:?}")]
    Refused(Refusal),
    /// More than [`OPTIONS_MAX`] options.
    #[error("too many options")]
    TooManyOptions,
    /// A peer that cannot or will not speak TLS where it has to, in an option that has no error reply.
    #[error("TLS is required here")]
    TlsRequired,
    /// Bytes in clear behind STARTTLS. They could be somebody else's, and would count as said under TLS.
    #[error("{0} bytes followed STARTTLS before TLS began")]
    InputBeforeTls(usize),
}

/// What the state machine needs to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Demand {
    /// More input: at least this many bytes in all, counted from the first not yet consumed.
    Input(usize),
    /// The names of the exports, by [`Handshake::give_names`].
    Names,
    /// The export of this name, to describe it, by [`Handshake::give_export`]; then it is not used further.
    Describe(String),
    /// The export of this name, to serve it, by [`Handshake::give_export`].
    Open(String),
    /// The contexts that the export of this name has, by [`Handshake::give_contexts`].
    Contexts(String),
    /// TLS, by [`Handshake::give_tls`]: once the output is sent, the next byte in either direction is TLS.
    Tls,
    /// The end: send what is in the output and hang up.
    Close,
}

/// An option whose answer waits for the driver.
#[derive(Clone, Debug)]
enum Asked {
    Names,
    Export { option: OptionCode, name: String, wants: Vec<InfoType> },
    Contexts { option: OptionCode, name: String, queries: Vec<String> },
}

#[derive(Clone, Debug)]
enum Phase {
    ClientFlags,
    Options,
    /// Throws this many bytes of an oversized option away.
    Discarding(u64),
    Waiting(Asked),
    StartingTls,
    Closed,
}

/// Where a handshake stands with TLS; the specification's NOTLS and FORCEDTLS modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tls {
    NotOffered,
    Required,
    Begun,
}

/// What the client chose so far; all of it is void after STARTTLS (CVE-2021-3716).
#[derive(Clone, Debug, Default)]
struct Choices {
    structured: bool,
    contexts: Vec<ChosenContext>,
    contexts_of: String,
}

/// The server's side of one handshake.
#[derive(Debug)]
pub struct Handshake {
    phase: Phase,
    tls: Tls,
    no_zeroes: bool,
    options_count: u32,
    choices: Choices,
    output: Vec<u8>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshake {
    /// A handshake without TLS, whose greeting is in the output.
    #[must_use]
    pub fn new() -> Self {
        Self::start(Tls::NotOffered)
    }

    /// A handshake that goes nowhere before TLS, whose greeting is in the output.
    #[must_use]
    pub fn requiring_tls() -> Self {
        Self::start(Tls::Required)
    }

    fn start(tls: Tls) -> Self {
        let greeting = Greeting { flags: HandshakeFlags::FIXED_NEWSTYLE | HandshakeFlags::NO_ZEROES };
        Self {
            phase: Phase::ClientFlags,
            tls,
            no_zeroes: false,
            options_count: 0,
            choices: Choices::default(),
            output: greeting.encode().to_vec(),
        }
    }

    /// Bytes to send, oldest first. The driver sends them before it reads on.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Handles at most one message at the front of `input`. Returns how many bytes were used up, and what is needed next.
    ///
    /// # Errors
    /// A [`Violation`] ends the connection; output made before it may still be sent.
    ///
    /// # Panics
    /// If an earlier demand is still unanswered.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<(usize, Demand), Violation> {
        match self.phase {
            Phase::ClientFlags => self.handle_client_flags(input),
            Phase::Options => self.handle_option(input),
            Phase::Discarding(left) => Ok(self.discard(input, left)),
            Phase::Closed => Ok((input.len(), Demand::Close)),
            Phase::Waiting(_) | Phase::StartingTls => panic!("an option is answered before the next one is read"),
        }
    }

    fn handle_client_flags(&mut self, input: &[u8]) -> Result<(usize, Demand), Violation> {
        let Some(flags) = decode_client_flags(input) else { return Ok((0, Demand::Input(4))) };
        if flags.without(ClientFlags::FIXED_NEWSTYLE | ClientFlags::NO_ZEROES) != ClientFlags::NONE {
            return Err(Violation::Flags(flags.0));
        }
        if self.tls == Tls::Required && !flags.contains(ClientFlags::FIXED_NEWSTYLE) {
            return Err(Violation::TlsRequired);
        }
        self.no_zeroes = flags.contains(ClientFlags::NO_ZEROES);
        self.phase = Phase::Options;
        Ok((4, Demand::Input(OptionHeader::BYTES)))
    }

    fn discard(&mut self, input: &[u8], left: u64) -> (usize, Demand) {
        let here = left.min(input.len() as u64);
        let left = left - here;
        self.phase = if left == 0 { Phase::Options } else { Phase::Discarding(left) };
        (here as usize, Demand::Input(1))
    }

    fn handle_option(&mut self, input: &[u8]) -> Result<(usize, Demand), Violation> {
        let Some(header) = OptionHeader::decode(input)? else { return Ok((0, Demand::Input(OptionHeader::BYTES))) };
        let len = header.len as usize;
        if header.option == OptionCode::EXPORT_NAME && len > STRING_BYTES_MAX {
            return Err(Violation::NameTooLong(header.len));
        }
        let whole = OptionHeader::BYTES + len.min(OPTION_DATA_BYTES_MAX);
        if len <= OPTION_DATA_BYTES_MAX && input.len() < whole {
            return Ok((0, Demand::Input(whole)));
        }
        self.options_count += 1;
        if self.options_count > OPTIONS_MAX {
            return Err(Violation::TooManyOptions);
        }
        if len > OPTION_DATA_BYTES_MAX {
            match self.tls {
                Tls::Required => self.reply_tls_required(header.option),
                _ => self.reply_error(header.option, OptionReply::ERR_TOO_BIG, "more than 64 KiB of data"),
            }
            self.phase = Phase::Discarding(u64::from(header.len));
            return Ok((OptionHeader::BYTES, Demand::Input(1)));
        }
        let demand = match self.tls {
            Tls::Required => self.handle_option_in_clear(header.option, &input[OptionHeader::BYTES..whole])?,
            _ => self.handle_whole_option(header.option, &input[OptionHeader::BYTES..whole])?,
        };
        match (&demand, input.len() - whole) {
            (Demand::Tls, rest @ 1..) => Err(Violation::InputBeforeTls(rest)),
            _ => Ok((whole, demand)),
        }
    }

    /// An option of a client that has to begin TLS first.
    fn handle_option_in_clear(&mut self, option: OptionCode, data: &[u8]) -> Result<Demand, Violation> {
        match option {
            OptionCode::EXPORT_NAME => return Err(Violation::TlsRequired),
            OptionCode::ABORT => return self.handle_whole_option(option, data),
            OptionCode::STARTTLS if data.is_empty() => {
                self.reply(option, OptionReply::ACK, &[]);
                self.phase = Phase::StartingTls;
                return Ok(Demand::Tls);
            }
            OptionCode::STARTTLS => self.reply_error(option, OptionReply::ERR_INVALID, "the option takes no data"),
            _ => self.reply_tls_required(option),
        }
        Ok(Demand::Input(OptionHeader::BYTES))
    }

    /// Answers [`Demand::Tls`], once TLS is up.
    ///
    /// # Panics
    /// If that was not demanded.
    pub fn give_tls(&mut self) {
        assert!(matches!(self.phase, Phase::StartingTls), "TLS was not asked for");
        self.phase = Phase::Options;
        self.tls = Tls::Begun;
        self.choices = Choices::default();
    }

    fn handle_whole_option(&mut self, option: OptionCode, data: &[u8]) -> Result<Demand, Violation> {
        match option {
            OptionCode::EXPORT_NAME => {
                let name = decode_string(data).map_err(|_| Violation::NameMalformed)?.to_owned();
                return Ok(self.ask(Asked::Export { option, name, wants: Vec::new() }));
            }
            OptionCode::ABORT => {
                self.reply(option, OptionReply::ACK, &[]);
                self.phase = Phase::Closed;
                return Ok(Demand::Close);
            }
            OptionCode::INFO | OptionCode::GO => return Ok(self.handle_info(option, data)),
            OptionCode::LIST_META_CONTEXT | OptionCode::SET_META_CONTEXT => {
                return Ok(self.handle_contexts(option, data));
            }
            OptionCode::LIST | OptionCode::STARTTLS | OptionCode::STRUCTURED_REPLY if !data.is_empty() => {
                self.reply_error(option, OptionReply::ERR_INVALID, "the option takes no data");
            }
            OptionCode::LIST => return Ok(self.ask(Asked::Names)),
            OptionCode::STARTTLS if self.tls == Tls::Begun => {
                self.reply_error(option, OptionReply::ERR_INVALID, "TLS has begun already");
            }
            OptionCode::STARTTLS => self.reply_error(option, OptionReply::ERR_POLICY, "there is no TLS here"),
            OptionCode::STRUCTURED_REPLY => {
                self.choices.structured = true;
                self.reply(option, OptionReply::ACK, &[]);
            }
            _ => self.reply_error(option, OptionReply::ERR_UNSUP, "unknown option"),
        }
        Ok(Demand::Input(OptionHeader::BYTES))
    }

    fn handle_info(&mut self, option: OptionCode, data: &[u8]) -> Demand {
        match InfoRequest::decode(data) {
            Ok(request) => self.ask(Asked::Export { option, name: request.name.to_owned(), wants: request.wants }),
            Err(bad) => self.refuse(option, bad),
        }
    }

    fn handle_contexts(&mut self, option: OptionCode, data: &[u8]) -> Demand {
        if option == OptionCode::SET_META_CONTEXT {
            // The specification voids the earlier choice even if this option fails.
            self.choices.contexts.clear();
        }
        if !self.choices.structured {
            self.reply_error(option, OptionReply::ERR_INVALID, "contexts need structured replies");
            return Demand::Input(OptionHeader::BYTES);
        }
        match ContextRequest::decode(data) {
            Ok(request) => {
                let queries = request.queries.iter().map(|&query| query.to_owned()).collect();
                self.ask(Asked::Contexts { option, name: request.name.to_owned(), queries })
            }
            Err(bad) => self.refuse(option, bad),
        }
    }

    fn ask(&mut self, asked: Asked) -> Demand {
        let demand = match &asked {
            Asked::Names => Demand::Names,
            Asked::Export { option: OptionCode::INFO, name, .. } => Demand::Describe(name.clone()),
            Asked::Export { name, .. } => Demand::Open(name.clone()),
            Asked::Contexts { name, .. } => Demand::Contexts(name.clone()),
        };
        self.phase = Phase::Waiting(asked);
        demand
    }

    fn refuse(&mut self, option: OptionCode, bad: BadOption) -> Demand {
        self.reply(option, bad.reply(), &[bad.to_string().as_bytes()]);
        Demand::Input(OptionHeader::BYTES)
    }

    fn take_asked(&mut self) -> Asked {
        match std::mem::replace(&mut self.phase, Phase::Options) {
            Phase::Waiting(asked) => asked,
            other => panic!("nothing was asked in {other:?}"),
        }
    }

    /// Answers [`Demand::Names`]. Of more names than [`LIST_BYTES_MAX`] takes the first are listed; the others can be opened
    /// all the same.
    ///
    /// # Panics
    /// If that was not demanded.
    pub fn give_names(&mut self, names: Result<&[String], Refusal>) {
        let Asked::Names = self.take_asked() else { panic!("names were not asked for") };
        match names {
            Err(refusal) => self.reply_refusal(OptionCode::LIST, refusal),
            Ok(names) => {
                let mut listed_bytes = 0;
                let fits = |name: &&String| {
                    listed_bytes += OptionReplyHeader::BYTES + 4 + name.len();
                    listed_bytes <= LIST_BYTES_MAX
                };
                for name in names.iter().take_while(fits) {
                    let len = (name.len() as u32).to_be_bytes();
                    self.reply(OptionCode::LIST, OptionReply::SERVER, &[&len, name.as_bytes()]);
                }
                self.reply(OptionCode::LIST, OptionReply::ACK, &[]);
            }
        }
    }

    /// Answers [`Demand::Describe`] and [`Demand::Open`]. After `Ok` for the latter, transmission begins with the first
    /// byte of input not yet consumed, on the terms returned.
    ///
    /// # Errors
    /// A refusal of EXPORT_NAME can only be told by hanging up.
    ///
    /// # Panics
    /// If neither was demanded.
    pub fn give_export(&mut self, export: Result<Description, Refusal>) -> Result<Option<Agreement>, Violation> {
        let Asked::Export { option, name, wants } = self.take_asked() else { panic!("no export was asked for") };
        match export {
            Err(refusal) if option == OptionCode::EXPORT_NAME => return Err(Violation::Refused(refusal)),
            Err(refusal) => {
                self.reply_refusal(option, refusal);
                return Ok(None);
            }
            Ok(description) => self.describe(option, &name, &wants, description),
        }
        if option == OptionCode::INFO {
            return Ok(None);
        }
        self.phase = Phase::Closed;
        let Choices { structured, contexts, contexts_of } = std::mem::take(&mut self.choices);
        let contexts = if contexts_of == name { contexts } else { Vec::new() };
        Ok(Some(Agreement { structured, contexts }))
    }

    fn describe(&mut self, option: OptionCode, name: &str, wants: &[InfoType], description: Description) {
        let flags = transmission_flags(description.read_only, self.choices.structured);
        let facts = ExportFacts { size_bytes: description.size_bytes, flags }.encode();
        if option == OptionCode::EXPORT_NAME {
            self.output.extend_from_slice(&facts);
            if !self.no_zeroes {
                self.output.extend_from_slice(&EXPORT_NAME_PADDING);
            }
            return;
        }
        self.reply_info(option, InfoType::EXPORT, &facts);
        if wants.contains(&InfoType::NAME) {
            self.reply_info(option, InfoType::NAME, name.as_bytes());
        }
        if wants.contains(&InfoType::BLOCK_SIZE) {
            self.reply_info(option, InfoType::BLOCK_SIZE, &BLOCK_SIZES.encode());
        }
        self.reply(option, OptionReply::ACK, &[]);
    }

    /// Answers [`Demand::Contexts`] with all contexts that the export has; ids are their places in it, from 1. Of those
    /// that wildcards ask for, the first [`CONTEXTS_LISTED_MAX`] are listed.
    ///
    /// # Panics
    /// If that was not demanded.
    pub fn give_contexts(&mut self, available: &[Context]) {
        let Asked::Contexts { option, name, queries } = self.take_asked() else {
            panic!("contexts were not asked for")
        };
        let listing = option == OptionCode::LIST_META_CONTEXT;
        let queries: HashSet<&str> = queries.iter().map(String::as_str).collect();
        let is_wanted = |name: &str, count: usize| {
            let by_wildcard = || queries.is_empty() || wildcards(name).any(|wildcard| queries.contains(wildcard));
            queries.contains(name) || (listing && count < CONTEXTS_LISTED_MAX && by_wildcard())
        };
        let mut chosen: Vec<(String, ChosenContext)> = Vec::new();
        for (id, context) in (1_u32..).zip(available) {
            let name = context.name();
            if is_wanted(&name, chosen.len()) {
                chosen.push((name, ChosenContext { id, context: context.clone() }));
            }
        }
        if !listing && chosen.len() > CONTEXTS_CHOSEN_MAX {
            self.reply_error(option, OptionReply::ERR_TOO_BIG, "more contexts than can be chosen at once");
            return;
        }
        for (name, ChosenContext { id, .. }) in &chosen {
            let id_on_wire = if listing { 0 } else { *id };
            self.reply(option, OptionReply::META_CONTEXT, &[&id_on_wire.to_be_bytes(), name.as_bytes()]);
        }
        if !listing {
            self.choices.contexts = chosen.into_iter().map(|(_, chosen)| chosen).collect();
            self.choices.contexts_of = name;
        }
        self.reply(option, OptionReply::ACK, &[]);
    }

    fn reply(&mut self, option: OptionCode, reply: OptionReply, parts: &[&[u8]]) {
        OptionReplyHeader::encode_with(option, reply, parts, &mut self.output);
    }

    fn reply_error(&mut self, option: OptionCode, reply: OptionReply, message: &str) {
        self.reply(option, reply, &[message.as_bytes()]);
    }

    fn reply_tls_required(&mut self, option: OptionCode) {
        self.reply_error(option, OptionReply::ERR_TLS_REQD, "nothing is served here without TLS");
    }

    fn reply_refusal(&mut self, option: OptionCode, refusal: Refusal) {
        let (reply, message) = refusal.reply();
        self.reply_error(option, reply, message);
    }

    fn reply_info(&mut self, option: OptionCode, info: InfoType, payload: &[u8]) {
        self.reply(option, OptionReply::INFO, &[&info.0.to_be_bytes(), payload]);
    }
}

/// What an export can do. Changes are not offered where they would be refused; FUA always is, since clients set it on
/// anything.
fn transmission_flags(read_only: bool, structured: bool) -> TransmissionFlags {
    use TransmissionFlags as F;
    let changes = F::SEND_TRIM | F::SEND_WRITE_ZEROES | F::SEND_FAST_ZERO;
    F::HAS_FLAGS
        | F::SEND_FLUSH
        | F::SEND_FUA
        | F::CAN_MULTI_CONN
        | F::SEND_CACHE
        | F::SEND_DF.when(structured)
        | F::READ_ONLY.when(read_only)
        | changes.when(!read_only)
}
