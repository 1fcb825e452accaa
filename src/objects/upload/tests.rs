use std::io::Read;

use super::{Upload, skip};
use crate::error::Cause;
use crate::unwatched;

fn skipped(upload: &Upload, mut content: &[u8]) -> Result<Vec<u8>, Cause> {
    skip(&"dump".parse().unwrap(), upload, &mut content, &mut unwatched)?;
    let mut rest = Vec::new();
    content.read_to_end(&mut rest).unwrap();
    Ok(rest)
}

fn content() -> Vec<u8> {
    (0..3 << 20).map(|at: u32| (at % 251) as u8).collect()
}

#[test]
fn what_is_there_is_passed_over() {
    let content = content();
    for (offset, tail) in [(0, 0), (1, 1), (1000, 999), (2 << 20, 1 << 20), ((2 << 20) + 1, 1 << 20), (3 << 20, 5)] {
        let upload = Upload { offset: offset as u64, tail: content[offset - tail..offset].to_vec() };
        assert!(skipped(&upload, &content).unwrap() == content[offset..], "{offset}, {tail}");
    }
}

#[test]
fn other_content_is_refused() {
    let content = content();
    let mut tail = content[1000..2000].to_vec();
    tail[500] ^= 1;
    let refused = |upload: Upload, content: &[u8]| {
        assert!(matches!(skipped(&upload, content), Err(Cause::OtherContent { .. })), "{upload:?}");
    };
    refused(Upload { offset: 2000, tail }, &content);
    let sound = Upload { offset: 2000, tail: content[1000..2000].to_vec() };
    refused(sound.clone(), &content[..1999]);
    refused(sound.clone(), &content[..500]);
    refused(sound, &[]);
    refused(Upload { offset: 1, tail: content[..2].to_vec() }, &content);
}
