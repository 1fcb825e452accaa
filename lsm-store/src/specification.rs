//! Compares the tables of offsets in `docs/disk-format.md` and its chapters with the structs of the code, for tests.

/// The name of a struct and the rows `| offset | bytes | field |` that the specification has to have for it. The fields
/// are all of the struct's, in order, so that every byte belongs to one.
macro_rules! rows {
    ($struct:ty { $($field:ident),* $(,)? }) => {{
        let offsets = [$(std::mem::offset_of!($struct, $field)),*, size_of::<$struct>()];
        let names = [$(stringify!($field)),*];
        let row = |index: usize| {
            let (offset, bytes) = (offsets[index], offsets[index + 1] - offsets[index]);
            format!("| {offset} | {bytes} | `{}` |\n", names[index])
        };
        (stringify!($struct), (0..names.len()).map(row).collect::<String>())
    }};
}

pub(crate) use rows;

/// The whole specification but its chapters.
pub(crate) const DISK_FORMAT: &str = include_str!("../../docs/disk-format.md");

/// The table under the heading that names `structure`, without its last column.
pub(crate) fn table_of(document: &str, structure: &str) -> String {
    let heading = format!("`{structure}`");
    let section = document.lines().skip_while(|line| !(line.starts_with('#') && line.contains(&heading))).skip(1);
    let rows = section.take_while(|line| !line.starts_with('#')).filter(|line| {
        line.strip_prefix("| ").is_some_and(|row| row.starts_with(|first: char| first.is_ascii_digit()))
    });
    rows.map(|row| row.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|\n").collect()
}
