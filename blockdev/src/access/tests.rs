use super::*;

fn certified(names: &[&str]) -> Principal {
    Principal::Certified(names.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn a_list_admits_whom_it_names_and_whoever_is_local() {
    let list: AllowList = "backup,db.example.org".parse().unwrap();
    assert!(list.admits(&Principal::Local));
    assert!(list.admits(&certified(&["other", "backup"])));
    let strangers =
        [Principal::Anonymous, certified(&[]), certified(&["other"]), certified(&["Backup"]), certified(&["back"])];
    assert!(strangers.iter().all(|stranger| !list.admits(stranger)), "names are compared whole and exactly");
}

#[test]
fn no_list_admits_everybody() {
    let list = AllowList::default();
    let all = [Principal::Local, Principal::Anonymous, certified(&[]), certified(&["backup"])];
    assert!(all.iter().all(|one| list.admits(one)));
}

#[test]
fn lists_are_read_and_shown() {
    let list: AllowList = "b,a,b,CN with spaces".parse().unwrap();
    assert_eq!(list.to_string(), "CN with spaces,a,b");
    assert_eq!(list.to_string().parse(), Ok(list));
    assert_eq!("".parse(), Ok(AllowList::default()));
    let long = "x".repeat(NAME_BYTES_MAX);
    assert_eq!(long.parse::<AllowList>().unwrap().names().len(), 1);
    let bad = [",", "a,", "a,,b", " a", "a ", "a\nb", "a\0", &"x".repeat(NAME_BYTES_MAX + 1)];
    assert!(bad.iter().all(|text| text.parse::<AllowList>() == Err(InvalidAllowList::Name)), "{bad:?}");
    let many = |count: usize| AllowList::new((0..count).map(|n| n.to_string()));
    assert!(many(NAMES_MAX).is_ok());
    assert_eq!(many(NAMES_MAX + 1), Err(InvalidAllowList::TooLong));
}
