//! Long lists a page at a time, of whole volumes with all of their snapshots, so that what is removed between two pages
//! makes nothing else be left out.

/// From so many entries on a page is full. With those of its last volume it is within the size of a message: a schedule keeps
/// 10,000 snapshots at most.
pub(super) const PAGE_ENTRIES: usize = 10_000;

/// Of entries that are sorted by their volume, those of the volumes behind `after`, until there are `max`; and the volume to go on
/// behind, if there are more.
pub(super) fn page<T>(
    entries: Vec<T>,
    volume_of: impl Fn(&T) -> &str,
    after: &str,
    max: usize,
) -> (Vec<T>, Option<String>) {
    let mut page: Vec<T> = entries.into_iter().skip_while(|entry| volume_of(entry) <= after).collect();
    let Some(last) = page.get(max - 1).map(|entry| volume_of(entry).to_owned()) else { return (page, None) };
    let end = page.partition_point(|entry| *volume_of(entry) <= *last);
    let is_last = end == page.len();
    page.truncate(end);
    (page, (!is_last).then_some(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_of_whole_volumes_and_hold_everything_once() {
        let entries = ["a", "a", "a", "b", "c", "c", "d"];
        let pages = |max: usize| {
            let (mut after, mut pages) = (String::new(), Vec::new());
            loop {
                let (entries, next) = page(entries.to_vec(), |entry| entry, &after, max);
                pages.push(entries.concat());
                match next {
                    Some(next) => after = next,
                    None => return pages,
                }
            }
        };
        assert_eq!(pages(1), ["aaa", "b", "cc", "d"]);
        assert_eq!(pages(2), ["aaa", "bcc", "d"]);
        assert_eq!(pages(4), ["aaab", "ccd"]);
        assert_eq!(pages(7), ["aaabccd"]);
        assert_eq!(pages(8), ["aaabccd"]);
    }
}
