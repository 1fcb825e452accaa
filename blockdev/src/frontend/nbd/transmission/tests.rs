//! Transmission driven directly: random bytes against the budgets, and how a round groups what it received.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use lsm_store::Error;
use lsm_store::clock::SystemClock;
use proptest::prelude::*;

use super::*;
use crate::access::Principal;
use crate::export::{BlockState, StatusExtent};
use crate::frontend::nbd::handshake::{ChosenContext, Context};
use crate::frontend::nbd::testing::{Bent, Gate, Raw, request};

/// What is left of a connection after its peer said `bytes` and no more.
struct After {
    inbox_bytes: usize,
    result: Result<(), Ended>,
    peer: Raw,
}

fn run(export: &Bent, structured: bool, bytes: &[u8]) -> After {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut writer = ours.try_clone().unwrap();
    let mut reader = ours.try_clone().unwrap();
    std::thread::scope(|scope| {
        // Replies are kept for the test; the pair's buffers would not hold them all.
        let kept = scope.spawn(move || {
            let mut kept = Vec::new();
            // A reset after the server hung up on what it could not understand.
            let _ = std::io::Read::read_to_end(&mut reader, &mut kept);
            kept
        });
        scope.spawn(move || {
            // Fails when the server hangs up in the middle.
            let _ = writer.write_all(bytes);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let (inbox_bytes, result) = transmit(export, structured, theirs);
        let kept = kept.join().unwrap();
        let (replay, mut feeder) = UnixStream::pair().unwrap();
        // Outlives this function if the replies are more than a socket holds; fails if nobody reads them.
        std::thread::spawn(move || feeder.write_all(&kept));
        After { inbox_bytes, result, peer: Raw { stream: replay } }
    })
}

fn transmit(export: &Bent, structured: bool, socket: UnixStream) -> (usize, Result<(), Ended>) {
    let contexts = if structured { vec![Context::Allocation] } else { Vec::new() };
    transmit_contexts(export, structured, contexts, socket)
}

fn transmit_contexts(
    export: &Bent,
    structured: bool,
    contexts: Vec<Context>,
    socket: UnixStream,
) -> (usize, Result<(), Ended>) {
    let run = |transmission: &mut Transmission<'_>| {
        let result = transmission.run();
        (transmission.inbox.storage_bytes(), result)
    };
    in_transmission(export, structured, contexts, socket, run)
}

/// What `act` makes of a connection in its transmission phase, which ends with it.
fn in_transmission<R>(
    export: &Bent,
    structured: bool,
    contexts: Vec<Context>,
    socket: UnixStream,
    act: impl FnOnce(&mut Transmission<'_>) -> R,
) -> R {
    let socket = Socket::new(socket.into());
    socket.set_timeouts(None, Some(Duration::from_millis(20))).unwrap();
    let (counters, clock, stopping) = (Counters::default(), SystemClock::new(), AtomicBool::new(false));
    let limits = Limits::default();
    let around =
        Surroundings { socket: &socket, limits: &limits, clock: &clock, counters: &counters, stopping: &stopping };
    let chosen = (1..).zip(contexts).map(|(id, context)| ChosenContext { id, context });
    let reporters = chosen.map(|chosen| Reporter::new(&chosen, export, "vol", &Principal::Local)).collect();
    let inbox = Inbox::new(limits.receive_buffer_bytes);
    let (channel, export) = (Channel::Plain(&socket), Arc::new(export.clone()));
    let mut transmission = Transmission::new(around, channel, export, structured, reporters, inbox);
    let result = act(&mut transmission);
    drop(transmission);
    socket.shutdown();
    result
}

fn write(cookie: u64, flags: CommandFlags, offset: u64, data: &[u8]) -> Vec<u8> {
    [request(Command::WRITE, flags, cookie, offset, data.len() as u32), data.to_vec()].concat()
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let offset = prop_oneof![0_u64..1 << 20, any::<u64>()];
    let len = prop_oneof![0_u32..9000, 0_u32..1 << 20, any::<u32>()];
    (0_u16..10, prop_oneof![Just(0_u16), 0_u16..64], any::<u64>(), offset, len, 0_usize..9000).prop_map(
        |(command, flags, cookie, offset, len, payload)| {
            let mut bytes = request(Command(command), CommandFlags(flags), cookie, offset, len);
            let payload = if payload % 3 == 0 { payload } else { len as usize };
            if command == Command::WRITE.0 {
                bytes.resize(bytes.len() + payload.min(1 << 20), 0x5a);
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_stay_within_the_budget(bytes in prop::collection::vec(any::<u8>(), 0..5000), structured: bool) {
        let after = run(&Bent::new(1 << 20), structured, &bytes);
        prop_assert!(after.inbox_bytes <= Limits::default().receive_buffer_bytes);
    }

    #[test]
    fn random_requests_stay_within_the_budget(
        requests in prop::collection::vec(any_request(), 0..30), structured: bool, is_distant: bool,
    ) {
        let export = Bent { is_distant, ..Bent::new(1 << 20) };
        let after = run(&export, structured, &requests.concat());
        prop_assert!(after.inbox_bytes <= Limits::default().receive_buffer_bytes);
        prop_assert!(matches!(after.result, Ok(()) | Err(Ended::Magic(_) | Ended::Socket(_))));
    }
}

#[test]
fn writes_received_together_are_applied_together_and_share_a_sync() {
    let export = Bent::new(1 << 20);
    let mut bytes = Vec::new();
    for cookie in 0..4 {
        bytes.extend(write(cookie, CommandFlags::FUA, cookie * 512, &[cookie as u8; 512]));
    }
    bytes.extend(request(Command::FLUSH, CommandFlags::NONE, 4, 0, 0));
    bytes.extend(request(Command::FLUSH, CommandFlags::NONE, 5, 0, 0));
    let mut after = run(&export, false, &bytes);
    let mut replies = [(); 6].map(|()| after.peer.receive()).map(|reply| (reply.cookie, reply.error));
    replies.sort_unstable();
    assert_eq!(replies, [0, 1, 2, 3, 4, 5].map(|cookie| (cookie, 0)));
    assert_eq!(export.write_calls.load(Ordering::SeqCst), 1);
    assert_eq!(export.memory.flush_count(), 1);
}

#[test]
fn a_write_without_room_does_not_fail_its_neighbours() {
    let mut export = Bent::new(1 << 20);
    export.before_write =
        Some(Arc::new(
            |writes| {
                if writes.iter().any(|write| write.offset == 4096) { Err(Error::OutOfSpace) } else { Ok(()) }
            },
        ));
    let none = CommandFlags::NONE;
    let bytes = [write(1, none, 0, b"one"), write(2, none, 4096, b"two"), write(3, none, 8192, b"three")].concat();
    let mut after = run(&export, false, &bytes);
    let errors = [(); 3].map(|()| after.peer.receive().error);
    assert_eq!(errors, [0, Errno::NOSPC.0, 0]);
}

#[test]
fn a_large_write_fails_where_its_piece_failed_and_the_rest_is_drained() {
    [false, true].into_iter().for_each(a_large_write_fails);
}

fn a_large_write_fails(is_distant: bool) {
    let mut export = Bent { is_distant, ..Bent::new(8 << 20) };
    export.before_write = Some(Arc::new(|writes| {
        let reaches = |write: &Write<'_>| write.offset + write.data.len() as u64 > 1 << 20;
        if writes.iter().any(reaches) { Err(Error::OutOfSpace) } else { Ok(()) }
    }));
    let large = write(1, CommandFlags::NONE, 0, &vec![1; 4 << 20]);
    // What a distant export is given together fails together: the empty request keeps the small write out of that.
    let apart = request(Command::WRITE_ZEROES, CommandFlags::NONE, 2, 0, 0);
    let bytes = [large, apart, write(3, CommandFlags::NONE, 0, b"small")].concat();
    let mut after = run(&export, true, &bytes);
    let mut replies = [(); 3].map(|()| after.peer.receive());
    replies.sort_by_key(|reply| reply.cookie);
    let [failed, apart, small] = replies;
    assert_eq!((failed.cookie, failed.error), (1, Errno::NOSPC.0));
    let (_, payload) = failed.chunk.unwrap();
    let offset = u64::from_be_bytes(*payload.last_chunk().unwrap());
    assert!(offset <= 1 << 20 && offset > 0, "{offset}");
    assert_eq!([(apart.cookie, apart.error), (small.cookie, small.error)], [(2, 0), (3, 0)]);
    assert!(after.inbox_bytes <= 256 << 10, "4 MiB went through a buffer of 256 KiB");
}

#[test]
fn a_flush_waits_for_changes_that_were_started_before_it() {
    let export = Bent { is_distant: true, ..Bent::new(8 << 20) };
    let none = CommandFlags::NONE;
    let bytes = [
        write(1, none, 0, &vec![1; 1 << 20]),
        write(2, CommandFlags::FUA, 2 << 20, &[2; 100]),
        request(Command::WRITE_ZEROES, none, 3, 4096, 4096),
        request(Command::FLUSH, none, 4, 0, 0),
    ]
    .concat();
    let mut after = run(&export, false, &bytes);
    let mut replies = [(); 4].map(|()| after.peer.receive()).map(|reply| (reply.cookie, reply.error));
    replies.sort_unstable();
    assert_eq!(replies, [1, 2, 3, 4].map(|cookie| (cookie, 0)));
    assert!(matches!(after.result, Ok(())));
    let ended = export.ended.lock().clone();
    assert!(ended.iter().filter(|kind| **kind == "write").count() > 1, "the large one came in pieces: {ended:?}");
    assert_eq!(ended.last(), Some(&"flush"), "{ended:?}");
}

#[test]
fn what_is_in_memory_is_answered_together_and_what_waited_a_few_at_a_time() {
    let gate = Gate::new();
    let export = Bent { gate: Some(Arc::clone(&gate)), ..Bent::new(1 << 20) };
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let read = |cookie, offset| request(Command::READ, CommandFlags::NONE, cookie, offset, 512);
    let requests: Vec<_> = (0..10).flat_map(|cookie| [read(cookie, 0), read(100 + cookie, 8192)]).collect();
    peer.write_all(&requests.concat()).unwrap();
    // A thread with nothing left to do ends, rather than wait for more.
    peer.shutdown(Shutdown::Write).unwrap();
    in_transmission(&export, false, Vec::new(), ours, |transmission| {
        let mut replies_of_round = || {
            transmission.receive().unwrap();
            transmission.take_requests().unwrap();
            transmission.finish_reads();
            let replies = transmission.outbox.replies();
            transmission.send(Patience::Wait).unwrap();
            replies
        };
        assert_eq!(replies_of_round(), 10);
        gate.open();
        let rounds = [(); 3].map(|()| replies_of_round());
        assert_eq!(rounds, [WAITED_READS_MAX, WAITED_READS_MAX, 10 - 2 * WAITED_READS_MAX]);
    });
}

#[test]
fn no_more_is_taken_than_may_be_under_way() {
    let export = Bent { is_distant: true, ..Bent::new(64 << 20) };
    let bytes: Vec<u8> = (0..3).flat_map(|cookie| write(cookie, CommandFlags::NONE, 0, &vec![1; 20 << 20])).collect();
    let mut after = run(&export, true, &bytes);
    let replies = [(); 3].map(|()| after.peer.receive().error);
    assert_eq!(replies, [0; 3]);
    let most = export.started_bytes_max.load(Ordering::SeqCst);
    assert!(most > 1 << 20, "writes are under way together: {most}");
    assert!(most <= CHANGE_BYTES_MAX + Limits::default().receive_buffer_bytes, "{most}");
}

#[test]
fn refused_requests_leave_the_connection_alive() {
    let bytes = [
        write(1, CommandFlags(1 << 7), 0, &[1; 5000]),
        request(Command(77), CommandFlags::NONE, 2, 0, 0),
        write(3, CommandFlags::NONE, 1 << 20, &vec![1; 300_000]),
        request(Command::READ, CommandFlags::NONE, 4, 1 << 20, 1),
        request(Command::READ, CommandFlags::NONE, 5, 0, 4),
    ]
    .concat();
    for structured in [false, true] {
        let mut after = run(&Bent::new(1 << 20), structured, &bytes);
        let errors = [Errno::INVAL, Errno::INVAL, Errno::NOSPC, Errno::INVAL];
        for (cookie, error) in (1..).zip(errors) {
            let reply = after.peer.receive();
            assert_eq!((reply.cookie, reply.error), (cookie, error.0));
            assert_eq!(reply.chunk.is_some(), structured);
        }
        let last = after.peer.receive();
        assert_eq!((last.cookie, last.error), (5, 0));
        assert!(last.is_last() && matches!(after.result, Ok(())));
    }
}

#[test]
fn disconnect_finishes_what_was_asked_before_it() {
    [false, true].into_iter().for_each(disconnect_finishes);
}

fn disconnect_finishes(is_distant: bool) {
    let bytes = [
        write(1, CommandFlags::NONE, 0, b"hello"),
        request(Command::READ, CommandFlags::NONE, 2, 8192, 5),
        request(Command::DISC, CommandFlags::NONE, 3, 0, 0),
        request(Command::FLUSH, CommandFlags::NONE, 4, 0, 0),
    ]
    .concat();
    let export = Bent { is_distant, ..Bent::new(1 << 20) };
    let mut after = run(&export, true, &bytes);
    let mut cookies = [after.peer.receive().cookie, after.peer.receive().cookie];
    cookies.sort_unstable();
    assert_eq!(cookies, [1, 2]);
    assert_eq!(export.memory.flush_count(), 0, "nothing is done after a goodbye");
}

/// CVE-2025-47711 and CVE-2025-47712 (nbdkit): block status of the largest length, and extents of 4 GiB and more.
#[test]
fn huge_block_status_is_cut_to_the_request() {
    let mut export = Bent::new(1 << 20);
    export.size_bytes = Some(1 << 50);
    export.status = Some(Arc::new(|_, _, _| {
        let hole = StatusExtent { len: 1 << 20, state: BlockState::Hole };
        Ok(vec![hole, StatusExtent { len: 1 << 49, state: BlockState::Data }, hole])
    }));
    let lens = [u32::MAX, u32::MAX - 4095, 1 << 31, (1 << 20) + 1];
    for len in lens {
        let mut after =
            run(&export, true, &request(Command::BLOCK_STATUS, CommandFlags::NONE, 1, (1 << 50) - (1 << 32), len));
        let (_, payload) = after.peer.receive().chunk.unwrap();
        let (_, extents) = super::super::wire::transmission::decode_status(&payload).unwrap();
        let lens: Vec<_> = extents.iter().map(|extent| extent.len).collect();
        assert_eq!(lens, [1 << 20, len - (1 << 20)]);
    }
    let mut after = run(&export, true, &request(Command::BLOCK_STATUS, CommandFlags::REQ_ONE, 1, 0, 4096));
    let (_, payload) = after.peer.receive().chunk.unwrap();
    assert_eq!(payload.len(), 12, "one extent");
    assert_eq!(payload[4..8], 4096_u32.to_be_bytes());
}

#[test]
fn an_empty_or_failed_block_status_is_an_error() {
    let mut export = Bent::new(1 << 20);
    export.status = Some(Arc::new(|offset, _, _| match offset {
        0 => Ok(vec![]),
        _ => Err(Error::Corrupt { file: "secret".into(), offset, why: "x" }),
    }));
    let status = |cookie, offset| request(Command::BLOCK_STATUS, CommandFlags::NONE, cookie, offset, 4096);
    let mut after = run(&export, true, &[status(1, 0), status(2, 4096)].concat());
    for _ in 0..2 {
        let reply = after.peer.receive();
        assert_eq!(reply.error, Errno::IO.0);
        let (_, payload) = reply.chunk.unwrap();
        assert!(!String::from_utf8_lossy(&payload).contains("secret"), "file names are not for tenants");
    }
}

#[test]
fn each_context_is_answered_and_one_without_its_snapshot_fails_the_request() {
    let status = |flags, len| request(Command::BLOCK_STATUS, flags, 1, 8192, len);
    let transmit = |contexts: &[Context], request: &[u8]| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut peer = Raw { stream: ours };
        let disconnect = super::super::testing::request(Command::DISC, CommandFlags::NONE, 2, 0, 0);
        peer.send(&[request, &disconnect].concat());
        transmit_contexts(&Bent::new(1 << 20), true, contexts.to_vec(), theirs).1.unwrap();
        peer
    };
    let stripes = Context::DirtyBitmap("stripes".into());
    let gone = Context::Changed("gone".into());
    let mut peer = transmit(&[Context::Allocation, stripes.clone()], &status(CommandFlags::NONE, 10_000));
    let replies = [peer.receive(), peer.receive()];
    let decoded = replies.each_ref().map(|reply| {
        let payload = &reply.chunk.as_ref().unwrap().1;
        let (id, extents) = super::super::wire::transmission::decode_status(payload).unwrap();
        (id, extents.iter().map(|extent| (extent.len, extent.flags)).collect::<Vec<_>>())
    });
    assert_eq!(decoded, [(1, vec![(10_000, 3)]), (2, vec![(4096, 1), (4096, 0), (1808, 1)])]);
    assert!(!replies[0].is_last() && replies[1].is_last());

    let mut peer = transmit(std::slice::from_ref(&stripes), &status(CommandFlags::REQ_ONE, 10_000));
    let (_, payload) = peer.receive().chunk.unwrap();
    assert_eq!(payload.len(), 12);

    let mut peer = transmit(&[stripes, gone], &status(CommandFlags::NONE, 4096));
    let reply = peer.receive();
    assert_eq!((reply.error, reply.is_last()), (Errno::IO.0, true));
}
