use std::io::Read;
use std::os::unix::fs::MetadataExt;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("silt-sink-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn image() -> Vec<u8> {
    let mut image = vec![0; 3 << 20];
    image[1 << 20..(1 << 20) + 5].fill(7);
    image[(2 << 20) - 1] = 8;
    image
}

fn write_image(mut sink: ImageSink) {
    sink.write(1 << 20, &[7; 5]).unwrap();
    sink.write((2 << 20) - 1, &[8]).unwrap();
    sink.finish(3 << 20).unwrap();
}

#[test]
fn a_file_is_sparse_and_appears_when_complete() {
    let scratch = Scratch::new("file");
    let path = scratch.0.join("a.img");
    let mut sink = ImageSink::open(&path, Existing::Keep).unwrap();
    sink.write(0, b"half").unwrap();
    assert!(!path.exists());
    drop(sink);
    assert!(scratch.names().is_empty(), "a broken export leaves nothing");

    write_image(ImageSink::open(&path, Existing::Keep).unwrap());
    assert!(fs::read(&path).unwrap() == image());
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20, "holes take no space");
    assert_eq!(scratch.names(), ["a.img"]);
}

#[test]
fn an_existing_file_stays_until_it_is_replaced_whole() {
    let scratch = Scratch::new("existing");
    let path = scratch.0.join("a.img");
    fs::write(&path, "precious").unwrap();
    let refused = ImageSink::open(&path, Existing::Keep).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    let sink = ImageSink::open(&path, Existing::Replace).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    write_image(sink);
    assert!(fs::read(&path).unwrap() == image());
}

#[test]
fn a_stream_gets_its_zeros_written() {
    let (mut reader, writer) = io::pipe().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    write_image(ImageSink { output: Output::Stream(file), position: 0 });
    assert!(reading.join().unwrap() == image());
}

#[test]
fn going_back_is_refused() {
    let scratch = Scratch::new("back");
    let mut sink = ImageSink::open(&scratch.0.join("a.img"), Existing::Keep).unwrap();
    sink.write(10, b"ab").unwrap();
    assert_eq!(sink.write(11, b"c").unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_file_that_came_meanwhile_stays() {
    let scratch = Scratch::new("meanwhile");
    let path = scratch.0.join("a.img");
    let mut sink = ImageSink::open(&path, Existing::Keep).unwrap();
    sink.write(0, b"new").unwrap();
    fs::write(&path, "precious").unwrap();
    assert_eq!(sink.finish(3).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(scratch.names(), ["a.img"], "what was refused leaves nothing");
}
