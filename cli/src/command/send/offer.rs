//! Sending to a receiver that answers: at the other end of a command's stdin and stdout, or of a connection.

use std::process::Command;

use siltstone::control::{Request, Response};
use siltstone::transfer::remote::Line;

use crate::args::Global;
use crate::backend;
use crate::conversation::{Conversation, Other};
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::progress;
use crate::size;

/// What the user says leads there.
pub(super) fn shell(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
    command
}

pub(super) fn run(global: &Global, request: &Request, command: Command) -> anyhow::Result<Exit> {
    let mut other = Other::start(command, progress::bytes(global, "sending", Some(0)))?;
    let answer = backend::transfer(global, Access::Read, request, &mut other.conversation);
    other.conversation.bar.finish_and_clear();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(explained(error, other)),
    };
    // It has said that it has everything: how it ends is its own affair.
    other.hang_up()?;
    tell(global, &answer)
}

pub(super) fn run_over(global: &Global, request: &Request, line: Line) -> anyhow::Result<Exit> {
    let bar = progress::bytes(global, "sending", Some(0));
    let mut conversation = Conversation::new(line.clone(), line, bar);
    let answer = backend::transfer(global, Access::Read, request, &mut conversation);
    conversation.bar.finish_and_clear();
    tell(global, &answer?)
}

fn tell(global: &Global, answer: &Response) -> anyhow::Result<Exit> {
    match answer {
        Response::Sent(sent) => {
            let [moved, had] = [sent.stream_bytes, sent.had_bytes].map(size::human);
            let text = || format!("sent {} in {moved}, {had} were there, root {}", sent.name, sent.root);
            Output::new(global).done(&sent, text)?;
            Ok(Exit::Ok)
        }
        other => Err(backend::unexpected(other)),
    }
}

/// Says of a command that ended how it did.
fn explained(error: anyhow::Error, other: Other) -> anyhow::Error {
    let has_ended = other.conversation.has_ended();
    // Whoever has spoken hears that nobody does any more, and has to tidy up.
    if !has_ended && !other.conversation.has_spoken() {
        return match other.stop() {
            Ok(()) => error,
            Err(also) => error.context(format!("the command that leads to the receiver cannot be ended: {also}")),
        };
    }
    match other.hang_up() {
        Ok(status) if has_ended && !status.success() => {
            error.context(format!("the command that leads to the receiver ended: {status}"))
        }
        _ => error,
    }
}
