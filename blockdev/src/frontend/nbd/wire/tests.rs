//! Golden bytes of every message, and round trips. The bytes were written down from the specification by hand.

use proptest::prelude::*;

use super::negotiation::*;
use super::transmission::*;
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn greeting_golden() {
    let greeting = Greeting { flags: HandshakeFlags::FIXED_NEWSTYLE | HandshakeFlags::NO_ZEROES };
    assert_eq!(hex(&greeting.encode()), "4e42444d4147494349484156454f50540003");
    assert_eq!(Greeting::decode(&greeting.encode()), Ok(Some(greeting)));
}

#[test]
fn an_oldstyle_greeting_is_refused() {
    let mut bytes = Greeting { flags: HandshakeFlags::NONE }.encode();
    bytes[8..16].copy_from_slice(&0x0000_4202_8186_1253_u64.to_be_bytes());
    assert!(Greeting::decode(&bytes).is_err());
}

#[test]
fn option_golden() {
    let data = InfoRequest { name: "vol", wants: vec![InfoType::BLOCK_SIZE] }.encode();
    let bytes = OptionHeader::encode_with(OptionCode::GO, &data);
    assert_eq!(hex(&bytes), "49484156454f5054000000070000000b00000003766f6c00010003");
    let header = OptionHeader::decode(&bytes).unwrap().unwrap();
    assert_eq!(header, OptionHeader { option: OptionCode::GO, len: 11 });
    assert_eq!(
        InfoRequest::decode(&bytes[16..]).unwrap(),
        InfoRequest { name: "vol", wants: vec![InfoType::BLOCK_SIZE] }
    );
}

#[test]
fn context_request_golden() {
    let request = ContextRequest { name: "v", queries: vec!["base:", "x-a:b"] };
    let bytes = request.encode();
    assert_eq!(hex(&bytes), "00000001760000000200000005626173653a00000005782d613a62");
    assert_eq!(ContextRequest::decode(&bytes), Ok(request));
}

#[test]
fn option_reply_golden() {
    let mut bytes = Vec::new();
    OptionReplyHeader::encode_with(OptionCode::LIST, OptionReply::ERR_UNSUP, &[b"no"], &mut bytes);
    assert_eq!(hex(&bytes), "0003e889045565a90000000380000001000000026e6f");
    let header = OptionReplyHeader { option: OptionCode::LIST, reply: OptionReply::ERR_UNSUP, len: 2 };
    assert_eq!(OptionReplyHeader::decode(&bytes), Ok(Some(header)));
}

#[test]
fn facts_and_sizes_golden() {
    let facts =
        ExportFacts { size_bytes: 0x1_0000, flags: TransmissionFlags::HAS_FLAGS | TransmissionFlags::SEND_FLUSH };
    assert_eq!(hex(&facts.encode()), "00000000000100000005");
    assert_eq!(ExportFacts::decode(&facts.encode()), Some(facts));
    let sizes = BlockSizes { minimum: 1, preferred: 4096, payload_max: PAYLOAD_BYTES_MAX };
    assert_eq!(hex(&sizes.encode()), "000000010000100002000000");
    assert_eq!(BlockSizes::decode(&sizes.encode()), Some(sizes));
}

#[test]
fn request_golden() {
    let request = Request {
        flags: CommandFlags::FUA,
        command: Command::WRITE,
        cookie: Cookie(0x0102_0304_0506_0708),
        offset: 0x1000,
        len: 0x200,
    };
    assert_eq!(hex(&request.encode()), "25609513000100010102030405060708000000000000100000000200");
    assert_eq!(Request::decode(&request.encode()), Ok(Some(request)));
}

#[test]
fn simple_reply_golden() {
    let reply = SimpleReply { error: Some(Errno::INVAL), cookie: Cookie(9) };
    assert_eq!(hex(&reply.encode()), "67446698000000160000000000000009");
    assert_eq!(Reply::decode(&reply.encode()), Ok(Some((Reply::Simple(reply), 16))));
}

#[test]
fn chunk_golden() {
    let header = ChunkHeader { flags: ChunkFlags::DONE, kind: ChunkType::OFFSET_HOLE, cookie: Cookie(7), len: 12 };
    assert_eq!(hex(&header.encode()), "668e33ef0001000200000000000000070000000c");
    assert_eq!(Reply::decode(&header.encode()), Ok(Some((Reply::Chunk(header), 20))));
    let hole = HolePayload { offset: 512, len: 1024 };
    assert_eq!(hex(&hole.encode()), "000000000000020000000400");
    assert_eq!(HolePayload::decode(&hole.encode()), Some(hole));
}

#[test]
fn error_chunks_golden() {
    let mut bytes = Vec::new();
    ErrorPayload { error: Errno::IO, message: "bad", offset: None }.encode_chunk(Cookie(1), &mut bytes);
    assert_eq!(hex(&bytes), "668e33ef00018001000000000000000100000009000000050003626164");
    bytes.clear();
    let payload = ErrorPayload { error: Errno::NOSPC, message: "", offset: Some(4096) };
    payload.encode_chunk(Cookie(1), &mut bytes);
    assert_eq!(hex(&bytes), "668e33ef0001800200000000000000010000000e0000001c00000000000000001000");
    assert_eq!(ErrorPayload::decode(ChunkType::ERROR_OFFSET, &bytes[20..]), Some(payload));
}

#[test]
fn status_golden() {
    let extents = [StatusDescriptor { len: 4096, flags: 0 }, StatusDescriptor { len: 8192, flags: 3 }];
    let mut bytes = Vec::new();
    encode_status(1, &extents, &mut bytes);
    assert_eq!(hex(&bytes), "0000000100001000000000000000200000000003");
    assert_eq!(decode_status(&bytes), Some((1, extents.to_vec())));
    assert_eq!(decode_status(&bytes[..4]), None, "a status without an extent says nothing");
}

#[test]
fn codes_have_readable_names() {
    assert_eq!(format!("{:?}", Command::WRITE_ZEROES), "WRITE_ZEROES");
    assert_eq!(format!("{:?}", Command(99)), "Command(0x63)");
}

proptest! {
    #[test]
    fn requests_round_trip(flags: u16, command: u16, cookie: u64, offset: u64, len: u32) {
        let request = Request {
            flags: CommandFlags(flags), command: Command(command), cookie: Cookie(cookie), offset, len,
        };
        prop_assert_eq!(Request::decode(&request.encode()), Ok(Some(request)));
    }

    #[test]
    fn info_requests_round_trip(name in "[^\0]{0,40}", wants: Vec<u16>) {
        let request = InfoRequest { name: &name, wants: wants.into_iter().map(InfoType).collect() };
        let bytes = request.encode();
        prop_assert_eq!(InfoRequest::decode(&bytes), Ok(request.clone()));
    }

    #[test]
    fn context_requests_round_trip(name in "[^\0]{0,40}", queries in prop::collection::vec("[^\0]{0,20}", 0..6)) {
        let request = ContextRequest { name: &name, queries: queries.iter().map(String::as_str).collect() };
        let bytes = request.encode();
        prop_assert_eq!(ContextRequest::decode(&bytes), Ok(request.clone()));
    }

    #[test]
    fn replies_round_trip(error: u32, cookie: u64, flags: u16, kind: u16, len: u32) {
        let simple = SimpleReply { error: (error != 0).then_some(Errno(error)), cookie: Cookie(cookie) };
        prop_assert_eq!(Reply::decode(&simple.encode()), Ok(Some((Reply::Simple(simple), SimpleReply::BYTES))));
        let chunk = ChunkHeader { flags: ChunkFlags(flags), kind: ChunkType(kind), cookie: Cookie(cookie), len };
        prop_assert_eq!(Reply::decode(&chunk.encode()), Ok(Some((Reply::Chunk(chunk), ChunkHeader::BYTES))));
    }

    #[test]
    fn nothing_panics_on_random_bytes(bytes: Vec<u8>, kind: u16) {
        let _ = (Greeting::decode(&bytes), OptionHeader::decode(&bytes), OptionReplyHeader::decode(&bytes));
        let _ = (InfoRequest::decode(&bytes), ContextRequest::decode(&bytes), Request::decode(&bytes));
        let _ = (Reply::decode(&bytes), decode_status(&bytes), HolePayload::decode(&bytes));
        let _ = (ErrorPayload::decode(ChunkType(kind), &bytes), decode_context_reply(&bytes));
        let _ = (decode_server_reply(&bytes), split_info(&bytes), decode_client_flags(&bytes));
    }
}
