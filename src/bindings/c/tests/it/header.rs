//! include/siltstone.h is what cbindgen makes of the sources.

use std::fs;
use std::process::Command;

use crate::crate_dir;

/// With this in the environment the header is written.
const WRITE: &str = "SILTSTONE_WRITE_HEADER";

#[test]
fn the_header_is_up_to_date() {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).unwrap();
    // It follows the modules by itself; a source that is named too is declared twice.
    let builder = cbindgen::Builder::new().with_config(config).with_src(crate_dir().join("src/lib.rs"));
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let wanted = for_c(&String::from_utf8(made).unwrap());
    let path = crate_dir().join("include/siltstone.h");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let header = fs::read_to_string(&path).unwrap_or_default();
    assert!(header == wanted, "include/siltstone.h is not made of these sources: run this test with {WRITE}=1");
}

/// Without the sections on safety, which are for Rust: what they ask for, the head of the header asks for once.
fn for_c(header: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_safety = false;
    for line in header.lines() {
        if line == "// # Safety" {
            is_safety = true;
            kept.pop_if(|before| *before == "//");
        }
        is_safety &= line.starts_with("//");
        if !is_safety {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

/// A function that cbindgen has overlooked is not in the header, and nobody can call it.
#[test]
fn the_header_has_every_function_once() {
    let header = fs::read_to_string(crate_dir().join("include/siltstone.h")).unwrap();
    let is_code = |line: &&str| !["//", "/*", "*"].iter().any(|comment| line.trim_start().starts_with(comment));
    let code: String = header.lines().filter(is_code).collect();
    let mut count = 0;
    for source in fs::read_dir(crate_dir().join("src")).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(source) = fs::read_to_string(source) else { continue };
        for function in source.split("extern \"C\" fn ").skip(1) {
            let name = function.split('(').next().unwrap();
            assert_eq!(code.matches(&format!("{name}(")).count(), 1, "{name}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_header_is_cpp_too() {
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Wredundant-decls", "-Werror", "-fsyntax-only"]);
    let compiled = compiler.args(["-x", "c++"]).arg(crate_dir().join("include/siltstone.h")).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}
