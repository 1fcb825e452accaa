use lsm_store::clock::SystemClock;

use super::*;

fn events() -> Events {
    Events::new(Arc::new(SystemClock::new()))
}

/// A directory of one test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("siltstone-events-{}-{test}", std::process::id()));
        // What an earlier run with this process id may have left.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn golden_line() {
    let event = Event { at_ms: 7, kind: "node_joined".into(), subject: "n2".into(), text: "node n2\tjoined".into() };
    assert_eq!(event.encode(), "7\tnode_joined\tn2\tnode n2\tjoined\n");
    assert_eq!(Event::decode(event.encode().trim_end_matches('\n')), Some(event));
    for torn in ["", "7", "7\tnode", "7\tnode_joined\tn2", "x\ta\tb\tc"] {
        assert_eq!(Event::decode(torn), None, "{torn}");
    }
}

#[test]
fn they_are_there_after_a_restart() {
    let scratch = Scratch::new("restart");
    let first = events();
    first.note("early", "", "before there was a place");
    first.keep_in(&scratch.0).unwrap();
    first.note(kind::SCRUB_DONE, "", "a scrub\nended");
    first.note(kind::VOLUME_STALLED, "db", "volume db is stalled");
    // A crash in the middle of a line.
    fs::write(scratch.0.join(FILE), fs::read_to_string(scratch.0.join(FILE)).unwrap() + "99\tnode_").unwrap();
    let second = events();
    second.keep_in(&scratch.0).unwrap();
    let texts: Vec<_> = second.since(0).into_iter().map(|event| event.text).collect();
    assert_eq!(texts, ["a scrub ended", "volume db is stalled"]);
    second.note(kind::SCRUB_DONE, "", "another");
    let third = events();
    third.read_from(&scratch.0).unwrap();
    assert_eq!(third.since(0).last().unwrap().text, "another");
    let last_ms = first.since(0).last().unwrap().at_ms;
    assert!(first.since(last_ms + 1).is_empty());
    assert_eq!(first.since(last_ms).last().unwrap().subject, "db");
}

#[test]
fn files_and_memory_are_bounded() {
    let scratch = Scratch::new("bounds");
    let kept = events();
    kept.keep_in(&scratch.0).unwrap();
    let text = "x".repeat(2 * TEXT_BYTES_MAX);
    for number in 0..4000 {
        kept.note("test", &number.to_string(), &text);
    }
    let bytes = |name| fs::metadata(scratch.0.join(name)).unwrap().len();
    let most = FILE_BYTES_MAX + 2 * TEXT_BYTES_MAX as u64;
    assert!(bytes(FILE) <= most && bytes(OLDER_FILE) <= most);
    assert_eq!(kept.since(0).len(), EVENTS_MAX);
    let again = events();
    again.keep_in(&scratch.0).unwrap();
    let read = again.since(0);
    assert!(read.len() > 600, "{}", read.len());
    assert_eq!(read.last().unwrap().subject, "3999");
    let numbers: Vec<u64> = read.iter().map(|event| event.subject.parse().unwrap()).collect();
    assert!(numbers.is_sorted());
}

#[test]
fn without_a_place_they_are_in_memory() {
    let scratch = Scratch::new("nowhere");
    let kept = events();
    assert!(kept.keep_in(&scratch.0.join("missing")).is_err());
    kept.note("test", "", "still there");
    assert_eq!(kept.since(0).len(), 1);
}
