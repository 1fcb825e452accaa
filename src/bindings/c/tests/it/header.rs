//! include/siltstone.h is what cbindgen makes of the sources.

use std::fs;

use crate::crate_dir;

/// With this in the environment the header is written.
const WRITE: &str = "SILTSTONE_WRITE_HEADER";

const SOURCES: [&str; 5] = ["status.rs", "store.rs", "list.rs", "view.rs", "ranges.rs"];

#[test]
fn the_header_is_up_to_date() {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).unwrap();
    let builder = cbindgen::Builder::new().with_config(config).with_src(crate_dir().join("src/lib.rs"));
    let sources = SOURCES.into_iter().map(|source| crate_dir().join("src").join(source));
    let made = sources.fold(builder, cbindgen::Builder::with_src).generate().unwrap();
    let mut wanted = Vec::new();
    made.write(&mut wanted);
    let path = crate_dir().join("include/siltstone.h");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let header = fs::read(&path).unwrap_or_default();
    assert!(header == wanted, "include/siltstone.h is not made of these sources: run this test with {WRITE}=1");
}

/// A function that cbindgen has overlooked is not in the header, and nobody can call it.
#[test]
fn the_header_has_every_function() {
    let header = fs::read_to_string(crate_dir().join("include/siltstone.h")).unwrap();
    let mut count = 0;
    for source in SOURCES.into_iter().chain(["lib.rs"]) {
        let source = fs::read_to_string(crate_dir().join("src").join(source)).unwrap();
        for function in source.split("extern \"C\" fn ").skip(1) {
            let name = function.split('(').next().unwrap();
            assert!(header.contains(&format!("{name}(")), "{name}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}
