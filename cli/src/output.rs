//! What a command prints: a table or a line for people, or one JSON document.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::Global;

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet }
    }

    /// Prints what was asked for: `document` as JSON, or `text` for people.
    pub(crate) fn answer(self, document: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let mut line = if self.json { serde_json::to_string(document)? } else { text() };
        if !line.is_empty() && !line.ends_with('\n') {
            line.push('\n');
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    }

    /// Prints that something was done, which `--quiet` leaves out.
    pub(crate) fn done(self, document: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        if self.quiet && !self.json { Ok(()) } else { self.answer(document, text) }
    }

    /// Tells what was done where stdout is taken: on stderr.
    pub(crate) fn aside(self, document: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        match (self.json, self.quiet) {
            (true, _) => writeln!(io::stderr(), "{}", serde_json::to_string(document)?),
            (false, true) => Ok(()),
            (false, false) => writeln!(io::stderr(), "silt: {}", text()),
        }
    }

    /// Tells people something beside the answer, on stderr.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            // A closed stderr does not make the command fail.
            let _ = writeln!(io::stderr(), "silt: {text}");
        }
    }
}

/// A table without lines; columns named in `right` are aligned to the right.
pub(crate) fn table(columns: &[&str], right: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (index, name) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Names and values, one a line.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// A moment as RFC 3339, from milliseconds since the Unix epoch.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
