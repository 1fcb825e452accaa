//! Whether the clients flush after each write, as databases do with their logs. What they write is then synced at once: their
//! flush finds that done, or under way, and needs no messages of its own.

/// So many writes with a flush after each make a habit.
const COUNT: u8 = 4;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habit {
    /// Writes in a row that had a flush after each, up to [`COUNT`].
    kept: u8,
    /// Writes since the last flush.
    writes: u32,
}

impl Habit {
    /// A write was ordered; true if a flush is likely to come next.
    pub(super) fn note_write(&mut self) -> bool {
        self.writes = self.writes.saturating_add(1);
        if self.writes > 1 {
            self.kept = 0;
        }
        self.kept == COUNT
    }

    /// A flush was asked for.
    pub(super) fn note_flush(&mut self) {
        if self.writes == 1 {
            self.kept = (self.kept + 1).min(COUNT);
        }
        self.writes = 0;
    }
}
