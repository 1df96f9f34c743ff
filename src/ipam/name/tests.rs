//! Tests of names.

use proptest::prelude::*;

use super::*;

#[test]
fn a_name_has_letters_digits_and_three_marks_and_starts_well() {
    for good in ["a", "0", "db-net", "A_b.c-1", &"x".repeat(MAX_NAME)] {
        assert!(Name::new(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", ".a", "_a", "a/b", "a b", "a:b", "ä", "a\n"] {
        assert!(matches!(Name::new(bad), Err(NameError::Name(_))), "{bad}");
    }
    assert!(matches!(Name::new("x".repeat(MAX_NAME + 1)), Err(NameError::TooLong(256))));
}

#[test]
fn an_interface_name_is_what_the_kernel_and_the_specification_take() {
    for good in ["eth0", "net1", "a.b", "ä", "fifteen-bytes-x"] {
        assert!(IfName::new(good).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\t", "a\0", "sixteen-bytes-xx"] {
        assert!(IfName::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_closest_name_keeps_what_it_can() {
    for (text, closest) in
        [("default", "default"), ("(none)", "none"), ("-a/b c", "abc"), ("", "unnamed"), ("///", "unnamed")]
    {
        assert_eq!(Name::closest(text).as_str(), closest);
    }
}

proptest! {
    #[test]
    fn the_closest_name_of_any_text_is_a_name(text in ".{0,300}") {
        let closest = Name::closest(&text);
        prop_assert_eq!(Name::new(closest.as_str()), Ok(closest.clone()));
        if let Ok(name) = Name::new(text.as_str()) {
            prop_assert_eq!(name, closest);
        }
    }
}
