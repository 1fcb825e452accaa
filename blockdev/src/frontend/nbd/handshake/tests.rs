//! The handshake without sockets, out of order, malformed and at random.

use proptest::prelude::*;

use super::*;
use crate::frontend::nbd::wire::negotiation::{decode_context_reply, split_info};

const DESCRIPTION: Description = Description { size_bytes: 1 << 20, read_only: false };

/// A handshake past the client flags.
fn started() -> Handshake {
    let mut handshake = Handshake::new();
    handshake.take_output();
    assert_eq!(handshake.handle_input(&3_u32.to_be_bytes()), Ok((4, Demand::Input(16))));
    handshake
}

fn option(option: OptionCode, data: &[u8]) -> Vec<u8> {
    OptionHeader::encode_with(option, data)
}

fn go(name: &str, wants: &[InfoType]) -> Vec<u8> {
    option(OptionCode::GO, &InfoRequest { name, wants: wants.to_vec() }.encode())
}

fn contexts(code: OptionCode, name: &str, queries: &[&str]) -> Vec<u8> {
    option(code, &ContextRequest { name, queries: queries.to_vec() }.encode())
}

/// Answers what is demanded as a server with the export `vol` would. True if transmission began.
fn answer(handshake: &mut Handshake, demand: &Demand) -> Option<Agreement> {
    let export = |name: &str| if name == "vol" { Ok(DESCRIPTION) } else { Err(Refusal::Unknown) };
    match demand {
        Demand::Names => handshake.give_names(Ok(&["vol".to_owned()])),
        Demand::Describe(name) | Demand::Open(name) => return handshake.give_export(export(name)).ok().flatten(),
        Demand::Contexts(_) => handshake.give_contexts(&[Context::Allocation]),
        Demand::Tls => handshake.give_tls(),
        Demand::Input(_) | Demand::Close => {}
    }
    None
}

/// The replies in a handshake's output, with their data.
fn replies(handshake: &mut Handshake) -> Vec<(OptionReply, Vec<u8>)> {
    let output = handshake.take_output();
    let mut left = output.as_slice();
    let mut replies = Vec::new();
    while let Some(header) = OptionReplyHeader::decode(left).unwrap() {
        let data = &left[OptionReplyHeader::BYTES..][..header.len as usize];
        replies.push((header.reply, data.to_vec()));
        left = &left[OptionReplyHeader::BYTES + data.len()..];
    }
    assert!(left.is_empty());
    replies
}

/// Hands in one option, answers it, and gives the types of the replies.
fn ask(handshake: &mut Handshake, bytes: &[u8]) -> Vec<OptionReply> {
    let (used, demand) = handshake.handle_input(bytes).unwrap();
    assert_eq!(used, bytes.len());
    answer(handshake, &demand);
    replies(handshake).into_iter().map(|(reply, _)| reply).collect()
}

#[test]
fn go_tells_size_flags_and_what_else_is_wanted() {
    let mut handshake = started();
    let bytes = go("vol", &[InfoType::BLOCK_SIZE, InfoType::NAME, InfoType::DESCRIPTION]);
    let (_, demand) = handshake.handle_input(&bytes).unwrap();
    assert_eq!(demand, Demand::Open("vol".into()));
    let agreement = handshake.give_export(Ok(DESCRIPTION)).unwrap().unwrap();
    assert_eq!(agreement, Agreement::default());
    let replies = replies(&mut handshake);
    let info = |index: usize| split_info(&replies[index].1).unwrap();
    assert_eq!(info(0).0, InfoType::EXPORT);
    let facts = ExportFacts::decode(info(0).1).unwrap();
    assert_eq!(facts.size_bytes, 1 << 20);
    assert!(facts.flags.contains(TransmissionFlags::CAN_MULTI_CONN | TransmissionFlags::SEND_FAST_ZERO));
    assert!(!facts.flags.contains(TransmissionFlags::SEND_DF), "DF needs structured replies");
    assert_eq!(info(1), (InfoType::NAME, b"vol".as_slice()));
    assert_eq!(info(2), (InfoType::BLOCK_SIZE, BLOCK_SIZES.encode().as_slice()));
    assert_eq!(replies[3].0, OptionReply::ACK);
}

#[test]
fn a_read_only_export_offers_no_changes() {
    let flags = transmission_flags(true, true);
    assert!(flags.contains(TransmissionFlags::READ_ONLY | TransmissionFlags::SEND_DF));
    assert_eq!(flags.without(TransmissionFlags::SEND_TRIM | TransmissionFlags::SEND_WRITE_ZEROES), flags);
}

#[test]
fn export_name_is_padded_unless_waived() {
    for (client_flags, len) in [(1_u32, 134), (3, 10)] {
        let mut handshake = Handshake::new();
        handshake.take_output();
        handshake.handle_input(&client_flags.to_be_bytes()).unwrap();
        let (_, demand) = handshake.handle_input(&option(OptionCode::EXPORT_NAME, b"vol")).unwrap();
        assert!(answer(&mut handshake, &demand).is_some());
        assert_eq!(handshake.take_output().len(), len);
    }
}

#[test]
fn an_unknown_export_ends_export_name_but_not_go() {
    let mut handshake = started();
    assert_eq!(ask(&mut handshake, &go("nope", &[])), [OptionReply::ERR_UNKNOWN]);
    handshake.handle_input(&option(OptionCode::EXPORT_NAME, b"nope")).unwrap();
    assert_eq!(handshake.give_export(Err(Refusal::Unknown)), Err(Violation::Refused(Refusal::Unknown)));
}

#[test]
fn unknown_options_are_refused_and_the_next_one_is_understood() {
    let mut handshake = started();
    let unknown = [OptionCode(4), OptionCode::EXTENDED_HEADERS, OptionCode(0xffff_ffff)];
    for code in unknown {
        assert_eq!(ask(&mut handshake, &option(code, b"whatever")), [OptionReply::ERR_UNSUP]);
    }
    assert_eq!(ask(&mut handshake, &option(OptionCode::LIST, &[])), [OptionReply::SERVER, OptionReply::ACK]);
    assert_eq!(ask(&mut handshake, &option(OptionCode::LIST, b"x")), [OptionReply::ERR_INVALID]);
}

#[test]
fn abort_is_acknowledged_with_data_or_without() {
    let mut handshake = started();
    let (_, demand) = handshake.handle_input(&option(OptionCode::ABORT, b"bye")).unwrap();
    assert_eq!(demand, Demand::Close);
    assert_eq!(replies(&mut handshake)[0].0, OptionReply::ACK);
}

/// CVE-2022-26496 (nbd-server): a name length near 2^32 overflowed a buffer.
#[test]
fn name_lengths_are_checked_before_they_are_used() {
    let mut header = option(OptionCode::EXPORT_NAME, &[]);
    header[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(started().handle_input(&header), Err(Violation::NameTooLong(u32::MAX)));

    let mut handshake = started();
    for code in [OptionCode::GO, OptionCode::INFO, OptionCode::LIST_META_CONTEXT, OptionCode::SET_META_CONTEXT] {
        handshake.choices.structured = true;
        for name_len in [5_u32, 4097, 0x7fff_ffff, 0xffff_fffa, u32::MAX] {
            let data = [&name_len.to_be_bytes()[..], b"vol\0\0\0"].concat();
            let reply = ask(&mut handshake, &option(code, &data));
            assert_eq!(reply, [OptionReply::ERR_INVALID], "{code:?} {name_len}");
            handshake.options_count = 0;
        }
    }
    let long = "x".repeat(4097);
    assert_eq!(ask(&mut handshake, &go(&long, &[])), [OptionReply::ERR_TOO_BIG]);
}

#[test]
fn oversized_options_are_thrown_away_as_they_come() {
    let mut handshake = started();
    let len = 3 << 20;
    let mut header = option(OptionCode::GO, &[]);
    header[12..16].copy_from_slice(&(len as u32).to_be_bytes());
    assert_eq!(handshake.handle_input(&header), Ok((16, Demand::Input(1))));
    assert_eq!(replies(&mut handshake)[0].0, OptionReply::ERR_TOO_BIG);
    let rubbish = vec![0xaa; 64 << 10];
    for _ in 0..len / rubbish.len() {
        assert_eq!(handshake.handle_input(&rubbish), Ok((rubbish.len(), Demand::Input(1))));
    }
    assert_eq!(ask(&mut handshake, &option(OptionCode::LIST, &[])).len(), 2);
}

/// CVE-2019-14850 (nbdkit): the backend was opened for anybody who connected.
#[test]
fn exports_are_asked_for_only_when_one_is_named_to_be_used() {
    let mut handshake = started();
    let harmless = [
        option(OptionCode::STARTTLS, &[]),
        option(OptionCode::STRUCTURED_REPLY, &[]),
        contexts(OptionCode::LIST_META_CONTEXT, "vol", &[]),
        contexts(OptionCode::SET_META_CONTEXT, "vol", &["base:allocation"]),
        option(OptionCode::LIST, &[]),
        option(OptionCode::GO, b"\0\0\0\x09vol"),
    ];
    for bytes in harmless {
        let (_, demand) = handshake.handle_input(&bytes).unwrap();
        assert!(!matches!(demand, Demand::Open(_) | Demand::Describe(_)), "{demand:?}");
        answer(&mut handshake, &demand);
    }
}

/// CVE-2019-14851 (nbdkit): options in an order nobody had thought of ended in an assertion.
#[test]
fn contexts_before_structured_replies_are_refused() {
    let mut handshake = started();
    let set = contexts(OptionCode::SET_META_CONTEXT, "vol", &["base:allocation"]);
    assert_eq!(ask(&mut handshake, &set), [OptionReply::ERR_INVALID]);
    assert_eq!(ask(&mut handshake, &option(OptionCode::STRUCTURED_REPLY, &[])), [OptionReply::ACK]);
    assert_eq!(ask(&mut handshake, &option(OptionCode::STRUCTURED_REPLY, &[])), [OptionReply::ACK]);
    assert_eq!(ask(&mut handshake, &set), [OptionReply::META_CONTEXT, OptionReply::ACK]);
}

#[test]
fn starttls_where_there_is_none_is_refused_and_never_taken_for_done() {
    let mut handshake = started();
    assert_eq!(ask(&mut handshake, &option(OptionCode::STARTTLS, &[])), [OptionReply::ERR_POLICY]);
    assert_eq!(ask(&mut handshake, &option(OptionCode::STARTTLS, b"data")), [OptionReply::ERR_INVALID]);
    // What is injected behind it is one more option in clear, with the same answer as before.
    let both = [option(OptionCode::STARTTLS, &[]), option(OptionCode::LIST, &[])].concat();
    let (used, demand) = handshake.handle_input(&both).unwrap();
    assert_eq!((used, demand), (16, Demand::Input(16)));
    assert_eq!(replies(&mut handshake)[0].0, OptionReply::ERR_POLICY);
    assert_eq!(ask(&mut handshake, &both[16..]), [OptionReply::SERVER, OptionReply::ACK]);
}

/// A handshake that requires TLS, past the client flags.
fn started_in_clear() -> Handshake {
    let mut handshake = Handshake::requiring_tls();
    handshake.take_output();
    assert_eq!(handshake.handle_input(&3_u32.to_be_bytes()), Ok((4, Demand::Input(16))));
    handshake
}

#[test]
fn nothing_is_served_in_clear_where_tls_is_required() {
    let mut handshake = started_in_clear();
    let refused = [
        option(OptionCode::LIST, &[]),
        option(OptionCode::LIST, b"x"),
        option(OptionCode::STRUCTURED_REPLY, &[]),
        go("vol", &[]),
        go("nope", &[]),
        option(OptionCode::INFO, b"?"),
        contexts(OptionCode::LIST_META_CONTEXT, "vol", &[]),
        contexts(OptionCode::SET_META_CONTEXT, "vol", &["base:allocation"]),
        option(OptionCode(77), b"whatever"),
    ];
    for bytes in refused {
        let (used, demand) = handshake.handle_input(&bytes).unwrap();
        assert_eq!((used, demand), (bytes.len(), Demand::Input(16)), "nothing is asked of the exports");
        assert_eq!(
            replies(&mut handshake).into_iter().map(|(reply, _)| reply).collect::<Vec<_>>(),
            [OptionReply::ERR_TLS_REQD]
        );
    }
    let mut oversized = option(OptionCode::GO, &[]);
    oversized[12..16].copy_from_slice(&(1_u32 << 20).to_be_bytes());
    assert_eq!(handshake.handle_input(&oversized), Ok((16, Demand::Input(1))));
    assert_eq!(replies(&mut handshake)[0].0, OptionReply::ERR_TLS_REQD);

    let export_name = started_in_clear().handle_input(&option(OptionCode::EXPORT_NAME, b"vol"));
    assert_eq!(export_name, Err(Violation::TlsRequired));
    let mut handshake = started_in_clear();
    assert_eq!(handshake.handle_input(&option(OptionCode::ABORT, &[])), Ok((16, Demand::Close)));
    assert_eq!(replies(&mut handshake)[0].0, OptionReply::ACK);
}

/// A client that does not know of options could only ask for an export in clear.
#[test]
fn a_client_without_fixed_newstyle_is_let_go_where_tls_is_required() {
    assert_eq!(Handshake::requiring_tls().handle_input(&2_u32.to_be_bytes()), Err(Violation::TlsRequired));
    assert!(Handshake::new().handle_input(&2_u32.to_be_bytes()).is_ok());
}

#[test]
fn tls_begins_once_and_there_is_no_way_back() {
    let mut handshake = started_in_clear();
    assert_eq!(ask(&mut handshake, &option(OptionCode::STARTTLS, b"data")), [OptionReply::ERR_INVALID]);
    assert_eq!(
        ask(&mut handshake, &option(OptionCode::LIST, &[])),
        [OptionReply::ERR_TLS_REQD],
        "it is still required"
    );
    assert_eq!(handshake.handle_input(&option(OptionCode::STARTTLS, &[])), Ok((16, Demand::Tls)));
    assert_eq!(replies(&mut handshake), [(OptionReply::ACK, Vec::new())]);
    handshake.give_tls();
    assert_eq!(ask(&mut handshake, &option(OptionCode::STARTTLS, &[])), [OptionReply::ERR_INVALID]);
    assert_eq!(ask(&mut handshake, &option(OptionCode::LIST, &[])), [OptionReply::SERVER, OptionReply::ACK]);
    let (_, demand) = handshake.handle_input(&go("vol", &[])).unwrap();
    assert!(answer(&mut handshake, &demand).is_some());
}

/// CVE-2011-0411 (Postfix, and many others since): bytes behind STARTTLS counted as said under TLS.
#[test]
fn bytes_behind_starttls_end_the_connection() {
    let starttls = option(OptionCode::STARTTLS, &[]);
    for injected in [option(OptionCode::LIST, &[]), go("vol", &[]), vec![0], vec![0x16, 3, 1, 0, 0]] {
        let both = [&starttls[..], &injected].concat();
        assert_eq!(started_in_clear().handle_input(&both), Err(Violation::InputBeforeTls(injected.len())));
    }
}

/// CVE-2021-3716 (nbdkit): what was said in clear before STARTTLS counted after it.
#[test]
fn what_was_chosen_in_clear_is_void_under_tls() {
    let mut handshake = started_in_clear();
    // Nothing of this is accepted in clear; if it were, it would have to go.
    handshake.choices = Choices {
        structured: true,
        contexts: vec![ChosenContext { id: 1, context: Context::Allocation }],
        contexts_of: "vol".into(),
    };
    handshake.handle_input(&option(OptionCode::STARTTLS, &[])).unwrap();
    handshake.give_tls();
    handshake.take_output();
    let (_, demand) = handshake.handle_input(&go("vol", &[])).unwrap();
    assert_eq!(answer(&mut handshake, &demand), Some(Agreement::default()));
}

#[test]
fn contexts_are_chosen_by_name_and_listed_by_wildcard() {
    let mut handshake = started();
    handshake.choices.structured = true;
    let mut listed = |code, queries: &[&str]| ask(&mut handshake, &contexts(code, "vol", queries)).len() - 1;
    let (list, set) = (OptionCode::LIST_META_CONTEXT, OptionCode::SET_META_CONTEXT);
    assert_eq!(listed(list, &[]), 1);
    assert_eq!(listed(list, &["base:"]), 1);
    assert_eq!(listed(list, &["base:alloc", "qemu:", "x-siltstone:layers"]), 0);
    assert_eq!(listed(set, &[]), 0);
    assert_eq!(listed(set, &["base:"]), 0);
    assert_eq!(listed(set, &["base:allocation", "base:allocation"]), 1, "a context has one id");
    let (_, demand) = handshake.handle_input(&contexts(set, "vol", &["base:allocation"])).unwrap();
    answer(&mut handshake, &demand);
    let replies = replies(&mut handshake);
    assert_eq!(decode_context_reply(&replies[0].1), Ok((1, "base:allocation")));
}

/// What a handshake answers to one request for contexts of an export with so many snapshots: the last reply, and the
/// contexts before it.
fn ask_contexts(code: OptionCode, snapshots: usize, queries: &[&str]) -> (OptionReply, Vec<(u32, String)>) {
    let mut handshake = started();
    handshake.choices.structured = true;
    let of_snapshot = |n| [Context::DirtyBitmap(format!("s{n}")), Context::Changed(format!("s{n}"))];
    let available: Vec<_> = [Context::Allocation].into_iter().chain((0..snapshots).flat_map(of_snapshot)).collect();
    handshake.handle_input(&contexts(code, "vol", queries)).unwrap();
    handshake.give_contexts(&available);
    let mut replies = replies(&mut handshake);
    let (last, _) = replies.pop().unwrap();
    let decode = |(_, data): &(OptionReply, Vec<u8>)| {
        let (id, name) = decode_context_reply(data).unwrap();
        (id, name.to_owned())
    };
    (last, replies.iter().map(decode).collect())
}

#[test]
fn snapshots_give_contexts_to_list_and_to_choose() {
    let (list, set) = (OptionCode::LIST_META_CONTEXT, OptionCode::SET_META_CONTEXT);
    let listed = |queries: &[&str]| {
        let (last, contexts) = ask_contexts(list, 2, queries);
        assert_eq!(last, OptionReply::ACK);
        contexts.into_iter().map(|(id, name)| (id == 0).then_some(name).unwrap()).collect::<Vec<_>>()
    };
    let qemu = ["qemu:dirty-bitmap:s0", "qemu:dirty-bitmap:s1"];
    let own = ["x-siltstone:changed:s0", "x-siltstone:changed:s1"];
    assert_eq!(listed(&["qemu:"]), qemu);
    assert_eq!(listed(&["qemu:dirty-bitmap:"]), qemu);
    assert_eq!(listed(&["x-siltstone:"]), own);
    assert_eq!(listed(&["x-siltstone:changed:"]), own);
    assert_eq!(listed(&["qemu:dirty-bitmap:s1", "base:"]), ["base:allocation", qemu[1]]);
    assert_eq!(listed(&["qemu:dirty", "qemu:allocation-depth", "x-siltstone:changed:s", ":", ""]), [""; 0]);
    assert_eq!(listed(&[]).len(), 5);

    let (last, contexts) = ask_contexts(set, 2, &["x-siltstone:changed:s1", "qemu:", "base:allocation", own[1]]);
    assert_eq!(last, OptionReply::ACK);
    assert_eq!(contexts, [(1, "base:allocation".to_owned()), (5, own[1].to_owned())]);
}

#[test]
fn lists_and_choices_of_contexts_are_bounded() {
    let (list, set) = (OptionCode::LIST_META_CONTEXT, OptionCode::SET_META_CONTEXT);
    for queries in [&[][..], &["qemu:", "x-siltstone:"]] {
        assert_eq!(ask_contexts(list, 1000, queries).1.len(), CONTEXTS_LISTED_MAX);
    }
    let (_, contexts) = ask_contexts(list, 1000, &["qemu:", "x-siltstone:changed:s999"]);
    assert_eq!(contexts.last().unwrap().1, "x-siltstone:changed:s999", "one that is named is found");
    let names: Vec<_> = (0..=CONTEXTS_CHOSEN_MAX).map(|n| format!("qemu:dirty-bitmap:s{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(ask_contexts(set, 1000, &names[1..]).1.len(), CONTEXTS_CHOSEN_MAX);
    assert_eq!(ask_contexts(set, 1000, &names), (OptionReply::ERR_TOO_BIG, Vec::new()));
}

#[test]
fn contexts_count_only_for_the_export_they_were_chosen_for() {
    for (chosen_for, count) in [("vol", 1), ("other", 0)] {
        let mut handshake = started();
        ask(&mut handshake, &option(OptionCode::STRUCTURED_REPLY, &[]));
        ask(&mut handshake, &contexts(OptionCode::SET_META_CONTEXT, chosen_for, &["base:allocation"]));
        let (_, demand) = handshake.handle_input(&go("vol", &[])).unwrap();
        let agreement = answer(&mut handshake, &demand).unwrap();
        assert!(agreement.structured);
        assert_eq!(agreement.contexts.len(), count);
    }
}

#[test]
fn a_failed_choice_voids_the_one_before() {
    let mut handshake = started();
    ask(&mut handshake, &option(OptionCode::STRUCTURED_REPLY, &[]));
    ask(&mut handshake, &contexts(OptionCode::SET_META_CONTEXT, "vol", &["base:allocation"]));
    assert_eq!(ask(&mut handshake, &option(OptionCode::SET_META_CONTEXT, b"?")), [OptionReply::ERR_INVALID]);
    let (_, demand) = handshake.handle_input(&go("vol", &[])).unwrap();
    assert_eq!(answer(&mut handshake, &demand).unwrap().contexts, []);
}

#[test]
fn a_client_cannot_haggle_for_ever() {
    let mut handshake = started();
    for _ in 0..OPTIONS_MAX {
        ask(&mut handshake, &option(OptionCode::LIST, &[]));
    }
    let one_more = handshake.handle_input(&option(OptionCode::LIST, &[]));
    assert_eq!(one_more, Err(Violation::TooManyOptions));
}

#[test]
fn unknown_client_flags_end_the_connection() {
    let mut handshake = Handshake::new();
    assert_eq!(handshake.handle_input(&4_u32.to_be_bytes()), Err(Violation::Flags(4)));
}

/// Feeds `bytes` in steps of `step`. Asserts what holds for any input.
fn feed(bytes: &[u8], step: usize) {
    feed_to(Handshake::new(), bytes, step);
    feed_to(Handshake::requiring_tls(), bytes, step);
}

fn feed_to(mut handshake: Handshake, bytes: &[u8], step: usize) {
    let mut fed = 0;
    let mut consumed = 0;
    loop {
        let in_clear = handshake.tls == Tls::Required;
        let Ok((used, demand)) = handshake.handle_input(&bytes[consumed..fed]) else { return };
        consumed += used;
        assert!(consumed <= fed);
        let harmless = matches!(demand, Demand::Input(_) | Demand::Close | Demand::Tls);
        assert!(harmless || !in_clear, "{demand:?} in clear");
        assert!(demand != Demand::Tls || consumed == fed, "nothing is left over for TLS");
        if answer(&mut handshake, &demand).is_some() || demand == Demand::Close {
            return;
        }
        assert!(handshake.take_output().len() < 1024, "answers are short where names are");
        if let Demand::Input(wanted) = demand
            && used == 0
        {
            assert!(wanted <= OptionHeader::BYTES + OPTION_DATA_BYTES_MAX && wanted > fed - consumed);
            if fed == bytes.len() {
                return;
            }
            fed = bytes.len().min(fed + step);
        }
    }
}

fn any_option() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just("vol"), Just(""), Just("other")];
    let data = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..40),
        (name.clone(), any::<Vec<u16>>()).prop_map(|(name, wants)| {
            InfoRequest { name, wants: wants.into_iter().map(InfoType).collect() }.encode()
        }),
        name.prop_map(|name| ContextRequest { name, queries: vec!["base:allocation", "base:"] }.encode()),
    ];
    (0_u32..13, data).prop_map(|(code, data)| option(OptionCode(code), &data))
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, step in 1_usize..50) {
        feed(&bytes, step);
        feed(&[&3_u32.to_be_bytes()[..], &bytes].concat(), step);
    }

    #[test]
    fn options_in_any_order_never_panic(
        options in prop::collection::vec(any_option(), 0..80), step in 1_usize..200, flip: Option<(prop::sample::Index, u8)>,
    ) {
        let mut bytes = [3_u32.to_be_bytes().to_vec(), options.concat()].concat();
        if let Some((index, value)) = flip {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        feed(&bytes, step);
    }
}

#[test]
fn a_list_of_names_is_bounded() {
    let mut handshake = started();
    let (_, demand) = handshake.handle_input(&option(OptionCode::LIST, b"")).unwrap();
    assert_eq!(demand, Demand::Names);
    let names: Vec<_> = (0..100_000).map(|number| format!("vol{number:06}")).collect();
    handshake.give_names(Ok(&names));
    let replies = replies(&mut handshake);
    let (last, listed) = replies.split_last().unwrap();
    assert_eq!(last.0, OptionReply::ACK);
    let each = OptionReplyHeader::BYTES + 4 + names[0].len();
    assert_eq!(listed.len(), LIST_BYTES_MAX / each);
    assert!(listed.iter().zip(&names).all(|((_, data), name)| data[4..] == *name.as_bytes()), "the first of them");
}
