use super::*;

#[test]
fn names_may_look_like_paths() {
    for text in ["a", "pg/2026-11-26/main.dump", "Ä rather long name", "a//b/", ".", "x@y", &"n".repeat(255)] {
        assert_eq!(text.parse::<ObjectName>().unwrap().as_str(), text);
    }
}

#[test]
fn other_text_is_no_name() {
    for text in ["", "/a", "a\nb", "a\0", "\u{7f}", "a\u{85}", &"n".repeat(256), &"ä".repeat(128)] {
        assert_eq!(text.parse::<ObjectName>(), Err(InvalidName::Object), "{text:?}");
    }
}
