use super::*;
use crate::error::Error;

fn key(page: u32) -> PageKey {
    PageKey { kind: Kind(*b"TEST"), file: 1, page }
}

#[test]
fn stays_within_its_budget() {
    let budget = 64 << 10;
    let cache = PageCache::new(budget);
    for page in 0..1000 {
        cache.insert(key(page), Page::verified(&[page as u8; PAGE_BYTES]));
        assert!(cache.bytes() <= budget as u64);
    }
    assert!(cache.bytes() > 0);
}

#[test]
fn reads_a_missing_page_once_and_keeps_no_failure() {
    let cache = PageCache::new(1 << 20);
    let failed = cache.page_or_read(key(1), || Err(Error::Locked));
    assert!(failed.is_err());
    assert!(!cache.contains(&key(1)));
    let page = cache.page_or_read(key(1), || Ok(Page::verified(&[9; PAGE_BYTES]))).unwrap();
    assert_eq!(page[0], 9);
    let again = cache.page_or_read(key(1), || panic!("the page is here")).unwrap();
    assert_eq!(again[..], page[..]);
    assert!(cache.page(&PageKey { file: 2, ..key(1) }).is_none());
}
