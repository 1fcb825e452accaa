//! Items of a range that come in pages. What is alike on both sides of a page's end is one item.

use std::collections::VecDeque;

use crate::error::{Caused, Error, Result};

/// What can continue the item before it.
pub(crate) trait Stretch: Sized {
    /// Takes `next` in, or gives it back.
    fn join(&mut self, next: Self) -> Result<(), Self>;
}

/// A page: items by offset, and where the next page begins.
pub(crate) type Page<T> = (Vec<T>, u64);

/// Gets a page of what is in `[from, to)`, which is not empty.
pub(crate) type Pager<T> = dyn FnMut(u64, u64) -> Caused<Page<T>> + Send;

/// The items of `[at, end)`.
pub(crate) struct Pages<T> {
    pager: Box<Pager<T>>,
    at: u64,
    end: u64,
    ready: VecDeque<T>,
}

impl<T: Stretch> Pages<T> {
    pub(crate) fn new(start: u64, end: u64, pager: Box<Pager<T>>) -> Self {
        Self { pager, at: start, end, ready: VecDeque::new() }
    }

    /// Gets the next page. After an error there is none.
    fn turn(&mut self) -> Result<()> {
        let turned = (self.pager)(self.at, self.end);
        let (items, next) = turned.map_err(|cause| {
            self.at = self.end;
            Error::from(cause)
        })?;
        assert!(next > self.at, "a page says something");
        self.at = next;
        for item in items {
            let rest = match self.ready.back_mut() {
                Some(last) => last.join(item).err(),
                None => Some(item),
            };
            self.ready.extend(rest);
        }
        Ok(())
    }
}

impl<T: Stretch> Iterator for Pages<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        // The last item of a page may go on with the next page.
        while self.ready.len() < 2 && self.at < self.end {
            if let Err(error) = self.turn() {
                self.ready.clear();
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests;
