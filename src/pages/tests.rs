#![expect(clippy::single_range_in_vec_init, reason = "one range is a list of ranges here")]

use std::ops::Range;

use super::{Page, Pages};
use crate::error::Cause;
use crate::{ErrorKind, Result};

/// The ranges of `[0, 100)`, given in the pages that begin at these offsets.
fn pages(given: Vec<(u64, Page<Range<u64>>)>) -> Pages<Range<u64>> {
    let mut given = given.into_iter();
    let pager = move |from, to| {
        assert_eq!(to, 100);
        let (expected, page) = given.next().ok_or(Cause::Cancelled)?;
        assert_eq!(from, expected);
        Ok(page)
    };
    Pages::new(0, 100, Box::new(pager))
}

#[test]
fn items_are_joined_across_pages() {
    let pages =
        pages(vec![(0, (vec![0..10, 20..40], 40)), (40, (vec![40..60], 60)), (60, (vec![60..70, 80..100], 100))]);
    let items: Vec<_> = pages.map(Result::unwrap).collect();
    assert_eq!(items, [0..10, 20..70, 80..100]);
}

#[test]
fn pages_without_items_are_passed() {
    let pages = pages(vec![(0, (vec![], 50)), (50, (vec![], 90)), (90, (vec![95..96], 100))]);
    assert_eq!(pages.map(Result::unwrap).collect::<Vec<_>>(), [95..96]);
}

#[test]
fn an_error_is_the_last_item() {
    let mut pages = pages(vec![(0, (vec![0..10, 20..30], 30))]);
    assert_eq!(pages.next().unwrap().unwrap(), 0..10);
    assert_eq!(pages.next().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(pages.next().is_none());
}

#[test]
fn an_empty_range_asks_for_nothing() {
    let mut pages: Pages<Range<u64>> = Pages::new(7, 7, Box::new(|_, _| unreachable!("nothing is asked")));
    assert!(pages.next().is_none());
}
