//! Objects: they come back, are resumed, and are whole or not at all.

use std::error::Error;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::time::Duration;

use siltstone::{Codec, ErrorKind, ObjectInfo, ObjectOptions, Store, unwatched};

use super::{MIB, assert_kind, noise};

fn put(store: &Store, name: &str, options: &ObjectOptions, content: &[u8]) -> ObjectInfo {
    store.put_object(name, options, content, &mut unwatched).unwrap()
}

fn get(store: &Store, name: &str) -> Vec<u8> {
    let mut content = Vec::new();
    store.get_object(name, ..).unwrap().copy_to(&mut content, &mut unwatched).unwrap();
    content
}

fn names(store: &Store, prefix: &str) -> Vec<String> {
    store.objects(prefix).map(|object| object.unwrap().name).collect()
}

/// Gives some bytes, and then fails.
pub(super) struct Breaking<'a>(pub(super) &'a [u8]);

impl Read for Breaking<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 if !buf.is_empty() => Err(io::Error::other("the cable is out")),
            len => Ok(len),
        }
    }
}

#[track_caller]
pub(super) fn assert_cable<T>(result: siltstone::Result<T>) {
    let error = result.err().expect("it fails");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let source = error.source().expect("a reader's or writer's error is kept");
    assert_eq!(source.to_string(), "the cable is out");
}

/// Data, zeros of more than a piece, and data that begins and ends anywhere.
fn mixed() -> Vec<u8> {
    let mut content = noise(3 * MIB as usize + 13, 1);
    content.resize(7 * MIB as usize + 77, 0);
    content.extend(noise(MIB as usize + 5, 2));
    content.resize(10 * MIB as usize + 1, 0);
    content
}

pub(super) fn objects_come_back(store: &Store) {
    let mixed = mixed();
    for (name, options) in [("cut", ObjectOptions::new()), ("fixed", ObjectOptions::new().fixed(true))] {
        for len in [0, 1, 4096, 70_000, mixed.len()] {
            let name = format!("{name}/{len}");
            assert_eq!(put(store, &name, &options, &mixed[..len]).size_bytes, len as u64);
            assert!(get(store, &name) == mixed[..len], "{name}");
        }
        let name = format!("{name}/{}", mixed.len());
        let size = mixed.len() as u64;
        for range in [0..0, 5..6, 4090..70_000, 3 * MIB - 1..7 * MIB + 100, size - 10..size, size..size] {
            let mut reader = store.get_object(&name, range.clone()).unwrap();
            assert_eq!((reader.range(), reader.info().size_bytes), (range.clone(), size));
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            assert!(content == mixed[range.start as usize..range.end as usize], "{name}, {range:?}");
        }
    }
}

pub(super) fn readers_give_pieces_and_bytes(store: &Store) {
    let content = mixed();
    put(store, "mixed", &ObjectOptions::new(), &content);
    let mut reader = store.get_object("mixed", 7..).unwrap();
    let mut found = vec![0; 100];
    reader.read_exact(&mut found).unwrap();
    while let Some(piece) = reader.next_piece().unwrap() {
        assert!(!piece.is_empty() && piece.len() <= 2 * MIB as usize, "{}", piece.len());
        found.extend(piece);
    }
    assert!(found == content[7..]);
    assert_eq!((reader.next_piece().unwrap(), reader.read(&mut [0; 9]).unwrap()), (None, 0));
    assert_kind(store.get_object("mixed", ..content.len() as u64 + 1), ErrorKind::Invalid);
    assert_kind(store.get_object("mixed", u64::MAX..), ErrorKind::Invalid);
}

pub(super) fn objects_are_described(store: &Store) {
    let codec: Codec = "lz4".parse().unwrap();
    let options = ObjectOptions::new().fixed(true).codec(codec).metadata("host", "db1").metadata("host", "db2");
    let info = put(store, "pg/monday", &options.keep(Duration::from_millis(89_500)), b"a dump");
    assert_eq!((info.name.as_str(), info.size_bytes, info.is_fixed, info.codec), ("pg/monday", 6, true, codec));
    assert!(info.metadata.iter().eq([(&"host".to_owned(), &"db2".to_owned())]), "{:?}", info.metadata);
    assert_eq!(info.expires_ms, Some(info.created_ms + 90_000), "a part of a second counts as one");
    assert_eq!(store.object("pg/monday").unwrap(), info);
    let plain = put(store, "pg/tuesday", &ObjectOptions::new(), b"");
    assert_eq!((plain.is_fixed, plain.expires_ms, plain.codec), (false, None, "zstd".parse().unwrap()));
    assert!(plain.created_ms >= info.created_ms && plain.metadata.is_empty());
    let listed: Vec<_> = store.objects("").map(siltstone::Result::unwrap).collect();
    assert_eq!(listed, [info, plain]);
}

/// More objects than a page has.
pub(super) fn lists_of_objects_come_in_pages(store: &Store) {
    let expected: Vec<_> = (0..501).map(|number| format!("many/{number:04}")).collect();
    for name in ["a", "many", "many0", "z"].into_iter().chain(expected.iter().map(String::as_str)) {
        put(store, name, &ObjectOptions::new(), name.as_bytes());
    }
    assert_eq!(names(store, "many/"), expected);
    assert_eq!(names(store, "").len(), 505);
    assert_eq!(names(store, "many/05"), ["many/0500"]);
    assert_eq!(names(store, "none"), [""; 0]);
}

pub(super) fn objects_are_checked(store: &Store) {
    let options = ObjectOptions::new();
    put(store, "taken", &options, b"first");
    let try_put = |name: &str, options: &ObjectOptions| store.put_object(name, options, &b"more"[..], &mut unwatched);
    assert_kind(try_put("taken", &options), ErrorKind::Exists);
    for name in ["", "/a", "a\0", &"x".repeat(256)] {
        assert_kind(try_put(name, &options), ErrorKind::Invalid);
        assert_kind(store.object(name), ErrorKind::Invalid);
    }
    assert_kind(try_put("other", &options.clone().metadata("a=b", "c")), ErrorKind::Invalid);
    assert_kind(try_put("other", &options.clone().keep(Duration::ZERO)), ErrorKind::Invalid);
    let from = store.put_object_from("other", &options, 5, &b"more"[..], &mut unwatched);
    assert_kind(from, ErrorKind::Invalid);
    assert_kind(store.object("none"), ErrorKind::NotFound);
    assert_kind(store.get_object("none", ..), ErrorKind::NotFound);
    assert_kind(store.remove_object("none"), ErrorKind::NotFound);
    assert_kind(store.remove_upload("none"), ErrorKind::NotFound);
    assert_eq!((names(store, ""), get(store, "taken")), (vec!["taken".to_owned()], b"first".to_vec()));
    assert_eq!(store.uploads().unwrap(), []);

    assert_eq!(try_put("taken", &options.replace(true)).unwrap().size_bytes, 4);
    assert_eq!(get(store, "taken"), b"more");
    store.remove_object("taken").unwrap();
    assert_kind(store.object("taken"), ErrorKind::NotFound);
}

pub(super) fn broken_uploads_are_resumed(store: &Store) {
    let content = noise(6 * MIB as usize + 5, 1);
    let options = ObjectOptions::new().resume(true);
    let broken = store.put_object("dump", &options, Breaking(&content[..4 * MIB as usize + 9]), &mut unwatched);
    assert_cable(broken);
    assert_kind(store.object("dump"), ErrorKind::NotFound);
    let uploads = store.uploads().unwrap();
    assert_eq!((uploads.len(), uploads[0].name.as_str()), (1, "dump"));
    assert!(uploads[0].expires_ms > Some(uploads[0].began_ms));

    let upload = store.find_upload("dump", &options).unwrap();
    assert!((2 * MIB..=4 * MIB + 9).contains(&upload.offset), "{upload:?}");
    let offset = upload.offset as usize;
    assert!(upload.tail.len() == MIB as usize && upload.tail == content[offset - MIB as usize..offset]);
    let mut other = content.clone();
    other[offset - 1] ^= 1;
    for other in [&other[..], &content[..offset - 1], &[]] {
        assert_kind(store.put_object("dump", &options, other, &mut unwatched), ErrorKind::Invalid);
    }
    assert_eq!(store.find_upload("dump", &options).unwrap(), upload, "a wrong try costs nothing");

    let mut first = None;
    let put = store.put_object("dump", &options, &content[..], &mut |progress| {
        if progress.done_bytes >= upload.offset {
            first.get_or_insert(progress.done_bytes);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(put.unwrap().size_bytes, content.len() as u64);
    assert_eq!(first, Some(upload.offset), "it goes on there");
    assert!(get(store, "dump") == content);
    assert_eq!(store.uploads().unwrap(), []);
}

pub(super) fn uploads_go_on_where_content_is_sought(store: &Store) {
    let mut content = Cursor::new(noise(5 * MIB as usize, 1));
    let options = ObjectOptions::new().resume(true).fixed(true);
    let broken = Breaking(&content.get_ref()[..3 * MIB as usize]);
    assert_cable(store.put_object("image", &options, broken, &mut unwatched));
    let cut = options.clone().fixed(false);
    assert_eq!(store.find_upload("image", &cut).unwrap().offset, 0, "what was cut otherwise is not gone on with");
    let upload = store.find_upload("image", &options).unwrap();
    assert!(upload.offset > 0);
    let elsewhere = store.put_object_from("image", &options, upload.offset - 1, &mut content, &mut unwatched);
    assert_kind(elsewhere, ErrorKind::Invalid);
    content.seek(SeekFrom::Start(upload.offset)).unwrap();
    store.put_object_from("image", &options, upload.offset, &mut content, &mut unwatched).unwrap();
    assert!(get(store, "image") == *content.get_ref());
}

pub(super) fn broken_uploads_are_forgotten(store: &Store) {
    let content = noise(3 * MIB as usize, 1);
    assert_cable(store.put_object("gone", &ObjectOptions::new(), Breaking(&content), &mut unwatched));
    assert_eq!(store.uploads().unwrap(), [], "what is not to be resumed goes");
    let options = ObjectOptions::new().resume(true);
    assert_cable(store.put_object("kept", &options, Breaking(&content), &mut unwatched));
    store.remove_upload("kept").unwrap();
    assert_eq!(store.find_upload("kept", &options).unwrap().offset, 0);
    assert!(names(store, "").is_empty());
}

pub(super) fn puts_and_gets_can_be_cancelled(store: &Store) {
    let content = noise(6 * MIB as usize, 1);
    let mut told = Vec::new();
    let cancelled = store.put_object("object", &ObjectOptions::new(), &content[..], &mut |progress| {
        told.push(progress.done_bytes);
        if progress.done_bytes >= 3 * MIB { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_kind(cancelled, ErrorKind::Cancelled);
    assert_eq!(told, [0, MIB, 2 * MIB, 3 * MIB]);
    assert_kind(store.object("object"), ErrorKind::NotFound);
    assert_eq!(store.uploads().unwrap(), []);
    put(store, "object", &ObjectOptions::new(), &content);

    let mut reader = store.get_object("object", 10..).unwrap();
    let mut some = Vec::new();
    let mut watch = |progress: siltstone::Progress| {
        assert_eq!(progress.total_bytes, Some(6 * MIB - 10));
        if progress.done_bytes >= 2 * MIB { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert_kind(reader.copy_to(&mut some, &mut watch), ErrorKind::Cancelled);
    assert!(some == content[10..10 + some.len()] && some.len() < content.len() - 10);
    drop(reader);
    assert_cable(store.get_object("object", ..).unwrap().copy_to(Full, &mut unwatched));
    assert!(get(store, "object") == content, "the store goes on");
}

/// Takes nothing.
pub(super) struct Full;

impl io::Write for Full {
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("the cable is out"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn removal_does_not_wait_for_readers(store: &Store) {
    let (old, new) = (noise(24 * MIB as usize, 1), noise(24 * MIB as usize, 2));
    put(store, "removed", &ObjectOptions::new(), &old);
    put(store, "replaced", &ObjectOptions::new(), &old);
    let mut readers = ["removed", "replaced"].map(|name| store.get_object(name, ..).unwrap());
    store.remove_object("removed").unwrap();
    put(store, "replaced", &ObjectOptions::new().replace(true), &new);
    for reader in &mut readers {
        let mut come = Vec::new();
        let broken = reader.read_to_end(&mut come).unwrap_err();
        let error = broken.get_ref().and_then(|inner| inner.downcast_ref::<siltstone::Error>()).unwrap();
        assert_eq!((error.kind(), broken.kind()), (ErrorKind::NotFound, io::ErrorKind::NotFound), "{error}");
        assert!(come == old[..come.len()], "never other bytes");
    }
    assert!(get(store, "replaced") == new);
}

pub(super) fn one_at_a_time_puts_an_object(store: &Store) {
    let content = noise(2 * MIB as usize, 1);
    let options = ObjectOptions::new();
    let mut refused = None;
    store
        .put_object("object", &options, &content[..], &mut |progress| {
            if progress.done_bytes == 2 * MIB && refused.is_none() {
                refused = Some(store.put_object("object", &options, &b"other"[..], &mut unwatched));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_kind(refused.unwrap(), ErrorKind::Busy);
    assert!(get(store, "object") == content);
}
