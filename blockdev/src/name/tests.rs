use super::*;

#[test]
fn names_follow_the_alphabet() {
    let longest = "a".repeat(63);
    for good in ["a", "0", "demo", "pg-data_1.0", "9-", longest.as_str()] {
        assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
    }
    let too_long = "a".repeat(64);
    for bad in ["", "-a", ".", "..", "_x", "A", "a/b", "a b", "ä", "a\0", "a\n", "a@s", too_long.as_str()] {
        assert_eq!(bad.parse::<VolumeName>(), Err(InvalidName), "{bad:?}");
    }
}
