//! Programs of C, compiled and run under valgrind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::crate_dir;

/// Cargo puts the library beside the tests that need it.
fn library_dir() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// Compiles a program without a word of warning.
pub(crate) fn compile(source: &Path, program: &Path) {
    let library = library_dir();
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wredundant-decls", "-Werror", "-g"]);
    cc.arg("-o").arg(program).arg(source);
    cc.arg("-I")
        .arg(crate_dir().join("include"))
        .arg("-L")
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", library.display()));
    let compiled = cc.args(["-lsiltstone_c", "-lpthread"]).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

/// Runs a program under valgrind, which fails it for memory that is misused or lost. Where there is none, and no CI that needs it,
/// the program runs by itself.
pub(crate) fn run<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> Output {
    let has_valgrind = Command::new("valgrind").arg("--version").output().is_ok();
    assert!(has_valgrind || std::env::var_os("CI").is_none(), "valgrind is not installed: see tools/packages");
    let mut command = if has_valgrind {
        let mut valgrind = Command::new("valgrind");
        valgrind.args([
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite",
        ]);
        valgrind.arg(program);
        valgrind
    } else {
        Command::new(program)
    };
    command.args(arguments).output().unwrap()
}

/// Runs a program that has to succeed; what it printed.
pub(crate) fn succeed<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> String {
    let output = run(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
