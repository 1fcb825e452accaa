//! Edits of the bytes below `segments/` of a store, which is then opened, read, written, closed and checked.

#![no_main]

use std::sync::LazyLock;

use fuzz::specimen::Specimen;
use libfuzzer_sys::fuzz_target;

static SPECIMEN: LazyLock<Specimen> = LazyLock::new(|| Specimen::make().expect("a sound store can be made"));

fuzz_target!(|script: &[u8]| {
    SPECIMEN.try_script("segments/", script).expect("the right bytes or an error");
});
