use std::fs;
use std::path::PathBuf;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("silt-source-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads everything and puts it together again.
fn reassemble(mut source: ImageSource) -> (Vec<u8>, u64) {
    let mut image = Vec::new();
    let mut moved = 0;
    while let Some(chunk) = source.next_chunk().unwrap() {
        assert!(chunk.offset >= image.len() as u64 && chunk.data.len() <= DATA_BYTES_MAX);
        image.resize(chunk.offset as usize, 0);
        image.extend_from_slice(&chunk.data);
        moved += chunk.data.len() as u64;
    }
    image.resize(source.position() as usize, 0);
    (image, moved)
}

fn image() -> Vec<u8> {
    let mut image = vec![0; (5 << 20) + 1234];
    image[..100].fill(1);
    image[(3 << 20) + 5] = 2;
    *image.last_mut().unwrap() = 3;
    image
}

#[test]
fn a_sparse_file_reads_as_it_is_and_its_holes_cost_nothing() {
    let scratch = Scratch::new("sparse");
    let file = File::create(&scratch.0).unwrap();
    file.set_len((5 << 20) + 1234).unwrap();
    for (offset, byte) in [(0, 1), ((3 << 20) + 5, 2), ((5 << 20) + 1233, 3)] {
        file.write_all_at(&vec![byte; if byte == 1 { 100 } else { 1 }], offset).unwrap();
    }
    let source = ImageSource::open(&scratch.0).unwrap();
    assert_eq!(source.size_bytes(), Some((5 << 20) + 1234));
    let (read, moved) = reassemble(source);
    assert!(read == image());
    assert!(moved <= 3 << 20, "{moved} bytes were moved for three written ones");
}

#[test]
fn a_stream_reads_as_it_is() {
    let source = ImageSource { input: Input::Stream(Box::new(io::Cursor::new(image()))), position: 0 };
    assert_eq!(source.size_bytes(), None);
    let (read, moved) = reassemble(source);
    assert!(read == image());
    assert!(moved < 4 << 20, "zero chunks were moved");
}

#[test]
fn an_empty_file_has_no_chunks() {
    let scratch = Scratch::new("empty");
    File::create(&scratch.0).unwrap();
    assert_eq!(reassemble(ImageSource::open(&scratch.0).unwrap()), (Vec::new(), 0));
}

#[test]
fn a_directory_is_no_image() {
    assert_eq!(ImageSource::open(Path::new("/")).err().unwrap().kind(), io::ErrorKind::IsADirectory);
}

#[test]
fn content_goes_on_where_it_was_broken_off_if_it_is_the_same() {
    let scratch = Scratch::new("go-on");
    let image = image();
    fs::write(&scratch.0, &image).unwrap();
    let open = |seekable: bool| match seekable {
        true => ImageSource::open(&scratch.0).unwrap(),
        false => ImageSource { input: Input::Stream(Box::new(File::open(&scratch.0).unwrap())), position: 0 },
    };
    let (size, middle) = (image.len(), (3 << 20) + 6);
    for seekable in [true, false] {
        for (offset, tail) in [(0, 0), (middle, 0), (middle, 1000), (middle, middle), (size, 10)] {
            let mut source = open(seekable);
            assert!(source.go_on(offset as u64, &image[offset - tail..offset]).unwrap());
            let (rest, _) = reassemble(source);
            assert!(rest.len() == size && rest[offset..] == image[offset..], "from {offset}");
        }
        let different = [&[9], &image[middle - 999..middle]].concat();
        for (offset, tail) in [(middle, &different[..]), (size + 1, &[3]), (size + 1, &[]), (size + 9, &[3])] {
            assert!(!open(seekable).go_on(offset as u64, tail).unwrap(), "{} before {offset}", tail.len());
        }
    }
}
