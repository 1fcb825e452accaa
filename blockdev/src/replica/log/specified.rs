//! Compares the tables of offsets in `docs/disk-format.md` with the structs of the code, for tests.

const DOCUMENT: &str = include_str!("../../../../docs/disk-format.md");

/// The rows of a struct's table without their last column.
pub(super) fn table_of(structure: &str) -> String {
    let heading = format!("`{structure}`");
    let section = DOCUMENT.lines().skip_while(|line| !(line.starts_with('#') && line.contains(&heading))).skip(1);
    let rows = section.take_while(|line| !line.starts_with('#'));
    let rows =
        rows.filter(|line| line.strip_prefix("| ").is_some_and(|row| row.starts_with(|c: char| c.is_ascii_digit())));
    rows.map(|row| row.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|\n").collect()
}

macro_rules! assert_specified {
    ($struct:ty { $($field:ident),* }) => {{
        let offsets = [$(std::mem::offset_of!($struct, $field)),*, size_of::<$struct>()];
        let names = [$(stringify!($field)),*];
        let row = |at: usize| format!("| {} | {} | `{}` |\n", offsets[at], offsets[at + 1] - offsets[at], names[at]);
        let rows = (0..names.len()).map(row).collect::<String>();
        assert_eq!($crate::replica::log::specified::table_of(stringify!($struct)), rows);
    }};
}

pub(super) use assert_specified;
