//! `silt completion`

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit::Exit;

/// Print a shell's completion script, for example for ~/.local/share/bash-completion/completions/silt.
#[derive(Debug, clap::Args)]
pub(crate) struct Completion {
    /// The shell.
    shell: ShellName,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let shell = match self.shell {
            ShellName::Bash => Shell::Bash,
            ShellName::Zsh => Shell::Zsh,
            ShellName::Fish => Shell::Fish,
        };
        // Written in one piece: the generator panics if its output is closed early.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "silt", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Exit::Ok)
    }
}
