use std::io::{Cursor, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread;

use super::*;

/// Keeps what is imported and gives it back on export; some names make it fail.
#[derive(Default)]
struct Memory {
    content: Mutex<Vec<Chunk>>,
}

impl Handler for Memory {
    fn handle(&self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Failure> {
        match request {
            Request::Import(import) if import.name == "refused" => Err(Failure::new(Kind::Exists, "it exists")),
            Request::Import(import) => loop {
                match peer.receive()? {
                    Received::Chunk(_) if import.name == "full" => {
                        return Err(Failure::new(Kind::OutOfSpace, "the store is full"));
                    }
                    Received::Chunk(chunk) => self.content.lock().unwrap().push(chunk),
                    Received::End { size_bytes } => return Ok(transferred(&import.name, size_bytes)),
                }
            },
            Request::Export { name } => {
                for (done, chunk) in self.content.lock().unwrap().iter().enumerate() {
                    peer.progress(&Progress { done: done as u64, total: None, what: "exporting".into() })?;
                    peer.send(chunk.offset, &chunk.data)?;
                }
                Ok(transferred(name, 0))
            }
            Request::List => Ok(Response::Volumes { volumes: Vec::new() }),
            Request::Children { .. } => Ok(transferred(&"x".repeat(MESSAGE_BYTES_MAX), 0)),
            // Says everything twice.
            Request::Offer { .. } => loop {
                match peer.receive()? {
                    Received::Chunk(chunk) => (0..2).try_for_each(|_| peer.send(chunk.offset, &chunk.data))?,
                    Received::End { .. } => return Ok(Response::Done),
                }
            },
            Request::Accept(accept) => {
                peer.receive()?;
                Err(Failure::new(Kind::Exists, accept.name.clone()))
            }
            // A handler that asks for content which the request does not bring.
            Request::Status => peer.receive().map(|_| Response::Done).map_err(Failure::from),
            _ => Ok(Response::Done),
        }
    }
}

fn transferred(name: &str, size_bytes: u64) -> Response {
    Response::Transferred(Transferred { name: name.into(), size_bytes, data_bytes: 0 })
}

/// Gives numbered chunks, then the end or an error; keeps what it is sent.
#[derive(Default)]
struct Files {
    to_give: usize,
    fail_at_end: bool,
    given: usize,
    sent: Vec<Chunk>,
    progressed: usize,
}

impl Peer for Files {
    fn progress(&mut self, _progress: &Progress) -> Result<(), Error> {
        self.progressed += 1;
        Ok(())
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.sent.push(Chunk { offset, data: data.to_vec() });
        Ok(())
    }

    fn receive(&mut self) -> Result<Received, Error> {
        if self.given < self.to_give {
            self.given += 1;
            return Ok(Received::Chunk(Chunk {
                offset: (self.given as u64 - 1) * 5000,
                data: vec![self.given as u8; 5000],
            }));
        }
        if self.fail_at_end {
            return Err(Failure::new(Kind::Io, "the file cannot be read").into());
        }
        Ok(Received::End { size_bytes: self.given as u64 * 5000 })
    }
}

fn with_node(test: impl FnOnce(UnixStream)) -> Result<(), Error> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let node = scope.spawn(move || serve(theirs, &Memory::default(), "silt 0.1.0", 42));
        test(ours);
        node.join().unwrap()
    })
}

fn import(name: &str) -> Request {
    Request::Import(ImportVolume {
        name: name.into(),
        size_bytes: None,
        codec: None,
        keep_partial: false,
        replicas: None,
    })
}

#[test]
fn content_comes_back_as_it_went() {
    with_node(|stream| {
        let mut client = Client::connect(stream, "test").unwrap();
        assert_eq!(client.node(), &Welcome { version: 1, program: "silt 0.1.0".into(), pid: 42 });
        let mut files = Files { to_give: 30, ..Files::default() };
        assert_eq!(client.call(&import("demo"), &mut files).unwrap(), transferred("demo", 150_000));
        client.call(&Request::Export { name: "demo".into() }, &mut files).unwrap();
        assert_eq!(files.sent.len(), 30);
        assert!(files.sent.iter().zip(0..).all(|(chunk, i)| chunk.offset == i * 5000 && chunk.data[0] == i as u8 + 1));
        assert_eq!(files.progressed, 30);
    })
    .unwrap();
}

#[test]
fn an_answer_that_is_too_long_fails_and_the_connection_goes_on() {
    with_node(|stream| {
        let mut client = Client::connect(stream, "test").unwrap();
        match client.call(&Request::Children { name: "a".into() }, &mut NoTransfer) {
            Err(Error::Failed(failure)) => assert_eq!(failure.kind, Kind::Unsupported),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.call(&Request::List, &mut NoTransfer).unwrap(), Response::Volumes { volumes: Vec::new() });
    })
    .unwrap();
}

#[test]
fn a_client_can_be_told_why_it_is_not_served() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let node = thread::spawn(move || refuse(theirs, &Failure::new(Kind::Busy, "too many")));
    match Client::connect(ours, "test") {
        Err(Error::Failed(failure)) => assert_eq!((failure.kind, &*failure.message), (Kind::Busy, "too many")),
        other => panic!("{other:?}"),
    }
    node.join().unwrap().unwrap();
}

#[test]
fn content_can_be_taken_as_it_comes() {
    with_node(|stream| {
        let mut client = Client::connect(stream, "test").unwrap();
        client.call(&import("demo"), &mut Files { to_give: 30, ..Files::default() }).unwrap();
        client.start(&Request::Export { name: "demo".into() }).unwrap();
        let (mut offsets, mut progressed) = (Vec::new(), 0);
        let answer = loop {
            match client.next_event().unwrap() {
                Event::Progress(_) => progressed += 1,
                Event::Content(chunk) => offsets.push(chunk.offset),
                Event::Answer(answer) => break answer,
            }
        };
        assert_eq!((*answer, progressed), (transferred("demo", 0), 30));
        assert!(offsets.into_iter().eq((0..30).map(|i| i * 5000)));
        client.start(&Request::Status).unwrap();
        assert_eq!(client.next_event().unwrap_err().kind(), Kind::Protocol);
        assert!(matches!(client.call(&Request::List, &mut NoTransfer), Ok(Response::Volumes { .. })));
    })
    .unwrap();
}

#[test]
fn a_conversation_goes_piece_by_piece() {
    with_node(|stream| {
        let mut client = Client::connect(stream, "test").unwrap();
        let offer = Request::Offer { name: "a@s".into(), from: None };
        for to_give in [0, 1, 30] {
            let mut files = Files { to_give, ..Files::default() };
            assert_eq!(client.call(&offer, &mut files).unwrap(), Response::Done);
            let offsets = files.sent.iter().map(|chunk| chunk.offset);
            assert!(offsets.eq((0..to_give as u64).flat_map(|i| [i * 5000; 2])));
        }
        let mut broken = Files { to_give: 3, fail_at_end: true, ..Files::default() };
        let error = client.call(&offer, &mut broken).unwrap_err();
        assert_eq!((error.kind(), broken.sent.len()), (Kind::Io, 6));
        let accept = Request::Accept(ReceiveSnapshot { name: "b".into(), ..ReceiveSnapshot::default() });
        let mut files = Files { to_give: 9, ..Files::default() };
        assert_eq!(client.call(&accept, &mut files).unwrap_err().kind(), Kind::Exists);
        assert_eq!(files.given, 1, "nothing is given that is not wanted");
        assert!(matches!(client.call(&Request::List, &mut NoTransfer), Ok(Response::Volumes { .. })));
    })
    .unwrap();
}

#[test]
fn a_failed_upload_ends_early_and_leaves_the_connection_usable() {
    with_node(|stream| {
        let mut client = Client::connect(stream, "test").unwrap();
        for (name, kind) in [("refused", Kind::Exists), ("full", Kind::OutOfSpace)] {
            for to_give in [0, 1, 5, 8, 9, 10, 1000] {
                if name == "full" && to_give == 0 {
                    continue;
                }
                let mut files = Files { to_give, ..Files::default() };
                let error = client.call(&import(name), &mut files).unwrap_err();
                assert_eq!(error.kind(), kind, "{name}, {to_give} chunks");
                assert!(files.given <= 10, "{} chunks were sent to a node that had failed", files.given);
            }
        }
        assert!(matches!(client.call(&Request::List, &mut NoTransfer), Ok(Response::Volumes { .. })));
    })
    .unwrap();
}

#[test]
fn an_upload_that_its_sender_breaks_off_reports_the_senders_reason() {
    with_node(|stream| {
        let mut client = Client::connect(stream, "test").unwrap();
        let mut files = Files { to_give: 3, fail_at_end: true, ..Files::default() };
        assert_eq!(client.call(&import("demo"), &mut files).unwrap_err().kind(), Kind::Io);
        assert_eq!(client.call(&Request::Counters, &mut NoTransfer).unwrap(), Response::Done);
    })
    .unwrap();
}

#[test]
fn a_handler_that_asks_for_content_nobody_sends_gets_an_error() {
    with_node(|stream| {
        let mut client = Client::connect(stream, "test").unwrap();
        assert_eq!(client.call(&Request::Status, &mut NoTransfer).unwrap_err().kind(), Kind::Protocol);
    })
    .unwrap();
}

/// A stream whose input is fixed and whose output is kept.
struct Script {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buf)
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.output.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Script {
    fn play(input: Vec<u8>) -> (Result<(), Error>, Vec<u8>) {
        let mut script = Self { input: Cursor::new(input), output: Vec::new() };
        let result = serve(&mut script, &Memory::default(), "silt", 1);
        (result, script.output)
    }
}

fn message(json: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::write_message(&mut frame, json.as_bytes()).unwrap();
    frame
}

const HELLO: &str = r#"{"type":"hello","protocol":"silt-control","versions":{"min":1,"max":1},"program":"t"}"#;

#[test]
fn strangers_are_refused() {
    let strangers = [
        message(r#"{"type":"hello","protocol":"http","versions":{"min":1,"max":1},"program":"t"}"#),
        message(r#"{"type":"request","request":{"verb":"list"}}"#),
        message("[]"),
        message(&"[".repeat(10_000)),
        message("\u{0}"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    ];
    for stranger in strangers {
        let (result, output) = Script::play(stranger);
        assert!(matches!(result, Err(Error::Protocol(_))), "{result:?}");
        assert!(String::from_utf8_lossy(&output).contains(r#""type":"failed","kind":"protocol""#));
    }
}

#[test]
fn a_client_from_the_future_learns_which_version_the_node_speaks() {
    let (result, output) = Script::play(message(
        r#"{"type":"hello","protocol":"silt-control","versions":{"min":2,"max":9},"program":"t"}"#,
    ));
    assert!(matches!(result, Err(Error::Version { min: 2, max: 9 })));
    assert!(String::from_utf8_lossy(&output).contains(r#""kind":"unsupported""#));
}

#[test]
fn an_unknown_request_fails_and_the_next_one_works() {
    let mut input = message(HELLO);
    input.extend(message(r#"{"type":"request","request":{"verb":"fly","height":3}}"#));
    input.extend(message(r#"{"type":"request","request":{"verb":"list","fast":true},"later":1}"#));
    let (result, output) = Script::play(input);
    result.unwrap();
    let output = String::from_utf8_lossy(&output).into_owned();
    assert!(output.contains(r#""kind":"unsupported""#) && output.contains(r#""answer":"volumes""#), "{output}");
}

#[test]
fn content_beyond_the_window_is_refused() {
    let mut input = message(HELLO);
    input.extend(message(r#"{"type":"request","request":{"verb":"import","name":"refused"}}"#));
    for offset in 0..10 {
        frame::write_data(&mut input, offset, b"x").unwrap();
    }
    assert!(matches!(Script::play(input).0, Err(Error::Protocol(_))));
}

/// A good conversation with one byte changed, cut, or repeated ends in an answer or an error, never in a panic.
#[test]
fn damaged_conversations_never_panic() {
    let mut good = message(HELLO);
    good.extend(message(r#"{"type":"request","request":{"verb":"import","name":"demo"}}"#));
    frame::write_data(&mut good, 0, b"content").unwrap();
    good.extend(message(r#"{"type":"end","size_bytes":7}"#));
    good.extend(message(r#"{"type":"request","request":{"verb":"export","name":"demo"}}"#));
    Script::play(good.clone()).0.unwrap();
    for position in 0..good.len() {
        for bit in 0..8 {
            let mut damaged = good.clone();
            damaged[position] ^= 1 << bit;
            let _ = Script::play(damaged);
        }
        let (cut, _) = Script::play(good[..position].to_vec());
        assert!(cut.is_ok() || matches!(cut, Err(Error::Stream(_))), "cut at {position}: {cut:?}");
    }
}

/// The same for a client that talks to a bad node.
#[test]
fn a_client_survives_every_answer() {
    let answers = [
        message(r#"{"type":"answer","answer":{"answer":"done"}}"#),
        message(r#"{"type":"answer","answer":{"answer":"from the future","x":1}}"#),
        message(r#"{"type":"taken"}"#),
        message(r#"{"type":"welcome","version":1,"program":"x","pid":1}"#),
        message("{}"),
        vec![0xff; 64],
        Vec::new(),
    ];
    for answer in answers {
        let mut input = message(r#"{"type":"welcome","version":1,"program":"x","pid":1}"#);
        input.extend(answer);
        let mut client = Client::connect(Script { input: Cursor::new(input), output: Vec::new() }, "t").unwrap();
        let _ = client.call(&Request::List, &mut NoTransfer);
    }
}

fn object_requests() -> [(Request, &'static str); 7] {
    let put = PutObject { name: "a".into(), keep_s: Some(60), resume: true, offset: 7, ..PutObject::default() };
    [
        (
            Request::PutObject(put.clone()),
            r#"{"verb":"put_object","name":"a","fixed":false,"codec":null,"metadata":{},"keep_s":60,"replace":false,"resume":true,"offset":7}"#,
        ),
        (
            Request::FindUpload(PutObject { metadata: [("k".into(), "v".into())].into(), ..put }),
            r#"{"verb":"find_upload","name":"a","fixed":false,"codec":null,"metadata":{"k":"v"},"keep_s":60,"replace":false,"resume":true,"offset":7}"#,
        ),
        (
            Request::GetObject { name: "a".into(), offset: 3, length: None },
            r#"{"verb":"get_object","name":"a","offset":3,"length":null}"#,
        ),
        (Request::ObjectInfo { name: "a".into() }, r#"{"verb":"object_info","name":"a"}"#),
        (
            Request::ListObjects { prefix: "a/".into(), after: Some("a/b".into()) },
            r#"{"verb":"list_objects","prefix":"a/","after":"a/b"}"#,
        ),
        (Request::ListUploads, r#"{"verb":"list_uploads"}"#),
        (
            Request::RemoveObject { name: "a".into(), upload: true },
            r#"{"verb":"remove_object","name":"a","upload":true}"#,
        ),
    ]
}

#[test]
fn answers_about_objects_have_this_json() {
    let object = ObjectDescription {
        name: "a".into(),
        size_bytes: 5,
        created: "2026-11-26T00:00:00Z".into(),
        chunker: "fixed".into(),
        codec: "lz4".into(),
        ..ObjectDescription::default()
    };
    let described = r#""name":"a","size_bytes":5,"created":"2026-11-26T00:00:00Z","expires":null,"chunker":"fixed","codec":"lz4","metadata":{}"#;
    let answers = [
        (Response::Object(object.clone()), format!(r#"{{"answer":"object",{described}}}"#)),
        (
            Response::Objects(Objects { objects: vec![object], next: Some("a".into()) }),
            format!(r#"{{"answer":"objects","objects":[{{{described}}}],"next":"a"}}"#),
        ),
        (
            Response::Uploads {
                uploads: vec![UploadDescription { name: "a".into(), began: "b".into(), expires: None }],
            },
            r#"{"answer":"uploads","uploads":[{"name":"a","began":"b","expires":null}]}"#.to_owned(),
        ),
        (Response::Upload(Upload { offset: 9 }), r#"{"answer":"upload","offset":9}"#.to_owned()),
    ];
    for (answer, expected) in answers {
        assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Response>(&expected).unwrap(), answer);
    }
}

/// What is on the wire stays as it is: another version of the program may be at the other end.
#[test]
fn messages_have_this_json() {
    let json = |value: &Request| serde_json::to_string(value).unwrap();
    assert_eq!(json(&Request::List), r#"{"verb":"list"}"#);
    assert_eq!(json(&Request::Info { name: "a".into() }), r#"{"verb":"info","name":"a"}"#);
    let create = CreateVolume {
        name: "a".into(),
        size_bytes: 5,
        codec: None,
        reuse: true,
        reserve_bytes: None,
        quota_bytes: Some(9),
        replicas: None,
    };
    assert_eq!(
        json(&Request::Create(create)),
        r#"{"verb":"create","name":"a","size_bytes":5,"codec":null,"reuse":true,"reserve_bytes":null,"quota_bytes":9,"replicas":null}"#
    );
    assert_eq!(
        json(&import("a")),
        r#"{"verb":"import","name":"a","size_bytes":null,"codec":null,"keep_partial":false,"replicas":null}"#
    );
    let answer = serde_json::to_string(&transferred("a", 9)).unwrap();
    assert_eq!(answer, r#"{"answer":"transferred","name":"a","size_bytes":9,"data_bytes":0}"#);
    let requests = [
        (Request::Remove { name: "a".into(), snapshots: true }, r#"{"verb":"remove","name":"a","snapshots":true}"#),
        (Request::Snapshot { names: vec!["a@s".into()] }, r#"{"verb":"snapshot","names":["a@s"]}"#),
        (
            Request::ListSnapshots { volume: None, after: None },
            r#"{"verb":"list_snapshots","volume":null,"after":null}"#,
        ),
        (Request::Usage { names: Vec::new(), after: Some(String::new()) }, r#"{"verb":"usage","names":[],"after":""}"#),
        (Request::RemoveSnapshot { name: "a@s".into() }, r#"{"verb":"remove_snapshot","name":"a@s"}"#),
        (
            Request::RenameSnapshot { name: "a@s".into(), to: "t".into() },
            r#"{"verb":"rename_snapshot","name":"a@s","to":"t"}"#,
        ),
        (Request::RollBack { name: "a@s".into() }, r#"{"verb":"roll_back","name":"a@s"}"#),
        (Request::Clone { of: "a@s".into(), name: "b".into() }, r#"{"verb":"clone","of":"a@s","name":"b"}"#),
        (Request::Children { name: "a".into() }, r#"{"verb":"children","name":"a"}"#),
        (
            Request::Changes { from: "a@s".into(), to: "a".into(), offset: 7 },
            r#"{"verb":"changes","from":"a@s","to":"a","offset":7}"#,
        ),
        (
            Request::Fingerprints { name: "a@s".into(), offset: 4096, length: 8192 },
            r#"{"verb":"fingerprints","name":"a@s","offset":4096,"length":8192}"#,
        ),
        (
            Request::FingerprintsOf { name: "a@s".into(), ranges: vec![ChangedRange { offset: 4096, length: 8192 }] },
            r#"{"verb":"fingerprints_of","name":"a@s","ranges":[{"offset":4096,"length":8192}]}"#,
        ),
        (
            Request::Discard { name: "a".into(), snapshots: true, keep_s: 60 },
            r#"{"verb":"discard","name":"a","snapshots":true,"keep_s":60}"#,
        ),
        (Request::ListTrash, r#"{"verb":"list_trash"}"#),
        (
            Request::Restore { name: "a".into(), id: Some(3), to: None },
            r#"{"verb":"restore","name":"a","id":3,"to":null}"#,
        ),
        (
            Request::Purge(Purge { expired: true, ..Purge::default() }),
            r#"{"verb":"purge","name":null,"id":null,"expired":true,"all":false}"#,
        ),
        (
            Request::Set(SetVolume {
                name: "a".into(),
                snap_every: Some("off".into()),
                reserve_bytes: Some(0),
                allow: Some(vec!["b".into()]),
                ..SetVolume::default()
            }),
            r#"{"verb":"set","name":"a","snap_every":"off","keep":null,"reserve_bytes":0,"quota_bytes":null,"allow":["b"],"replicas":null}"#,
        ),
        (
            Request::Rewind(Rewind { name: "a".into(), ago_s: Some(5), ..Rewind::default() }),
            r#"{"verb":"rewind","name":"a","ago_s":5,"at":null,"to":null}"#,
        ),
        (Request::Root { name: "a@s".into() }, r#"{"verb":"root","name":"a@s"}"#),
        (
            Request::Send { name: "a@t".into(), from: Some("a@s".into()) },
            r#"{"verb":"send","name":"a@t","from":"a@s"}"#,
        ),
        (
            Request::Receive(ReceiveSnapshot { name: "b".into(), force: true, codec: None, replicas: None }),
            r#"{"verb":"receive","name":"b","force":true,"codec":null,"replicas":null}"#,
        ),
        (Request::Offer { name: "a@t".into(), from: None }, r#"{"verb":"offer","name":"a@t","from":null}"#),
        (
            Request::Accept(ReceiveSnapshot { name: "b".into(), force: false, codec: None, replicas: None }),
            r#"{"verb":"accept","name":"b","force":false,"codec":null,"replicas":null}"#,
        ),
        (Request::RemoveReception { name: "b".into() }, r#"{"verb":"remove_reception","name":"b"}"#),
    ];
    let requests = requests.into_iter().chain(object_requests());
    for (request, expected) in requests {
        assert_eq!(json(&request), expected);
        assert_eq!(serde_json::from_str::<Request>(expected).unwrap(), request);
    }
    let root = RootDescription {
        name: "a@s".into(),
        id: Some(2),
        size_bytes: 5,
        data_bytes: 4096,
        domain: 0,
        root: "ab".into(),
    };
    let from = Some("a@r".to_owned());
    let sent = SentDescription {
        name: "a@s".into(),
        from: from.clone(),
        size_bytes: 5,
        data_bytes: 4096,
        had_bytes: 8192,
        stream_bytes: 99,
        root: "ab".into(),
    };
    let (name, root_text) = ("b@s".to_owned(), "ab".to_owned());
    let received =
        ReceivedDescription { name, id: 3, from, size_bytes: 5, data_bytes: 4096, had_bytes: 8192, root: root_text };
    let answers = [
        (
            Response::Root(root),
            r#"{"answer":"root","name":"a@s","id":2,"size_bytes":5,"data_bytes":4096,"domain":0,"root":"ab"}"#,
        ),
        (
            Response::Sent(sent),
            r#"{"answer":"sent","name":"a@s","from":"a@r","size_bytes":5,"data_bytes":4096,"had_bytes":8192,"stream_bytes":99,"root":"ab"}"#,
        ),
        (
            Response::Received(received),
            r#"{"answer":"received","name":"b@s","id":3,"from":"a@r","size_bytes":5,"data_bytes":4096,"had_bytes":8192,"root":"ab"}"#,
        ),
    ];
    for (answer, expected) in answers {
        assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Response>(expected).unwrap(), answer);
    }
    let snapshot = SnapshotDescription {
        name: "a@s".into(),
        volume: "a".into(),
        id: 2,
        size_bytes: 5,
        created: "2026-11-26T00:00:00Z".into(),
        connections: 0,
        frees_bytes: None,
    };
    assert_eq!(
        serde_json::to_string(&Response::Snapshot(snapshot)).unwrap(),
        r#"{"answer":"snapshot","name":"a@s","volume":"a","id":2,"size_bytes":5,"created":"2026-11-26T00:00:00Z","connections":0,"frees_bytes":null}"#
    );
    let page = FingerprintPage { id: 1, size_bytes: 9000, next_offset: 8192 };
    assert_eq!(
        serde_json::to_string(&Response::Fingerprints(page)).unwrap(),
        r#"{"answer":"fingerprints","id":1,"size_bytes":9000,"next_offset":8192}"#
    );
    let page = Changes {
        from_id: 1,
        to_id: 2,
        from_size_bytes: 9,
        to_size_bytes: 8,
        extents: vec![ChangedRange { offset: 0, length: 4 }],
        next_offset: None,
    };
    assert_eq!(
        serde_json::to_string(&Response::Changes(page)).unwrap(),
        r#"{"answer":"changes","from_id":1,"to_id":2,"from_size_bytes":9,"to_size_bytes":8,"extents":[{"offset":0,"length":4}],"next_offset":null}"#
    );
    let failure: Failure = serde_json::from_str(r#"{"kind":"on_fire","message":"m"}"#).unwrap();
    assert_eq!(failure.kind, Kind::Other);
}

/// What programs without snapshots send is understood.
#[test]
fn messages_without_snapshots_are_still_read() {
    let remove: Request = serde_json::from_str(r#"{"verb":"remove","name":"a"}"#).unwrap();
    assert_eq!(remove, Request::Remove { name: "a".into(), snapshots: false });
    let volume = r#"{"answer":"volume","name":"a","id":1,"size_bytes":5,"codec":"lz4","created":"","connections":0,"state":"ready"}"#;
    let Response::Volume(volume) = serde_json::from_str(volume).unwrap() else { panic!("it is a volume") };
    assert_eq!((volume.snapshots, volume.origin, volume.schedule), (0, None, None));
}

#[test]
fn versions_meet_at_the_newest_common_one() {
    let versions = |min, max| Versions { min, max };
    assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
    assert_eq!(versions(1, 3).common(versions(3, 3)), Some(3));
    assert_eq!(versions(1, 2).common(versions(3, 5)), None);
    assert_eq!(versions(3, 5).common(versions(1, 2)), None);
}
