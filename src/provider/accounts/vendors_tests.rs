use super::VENDORS;
use crate::provider::wording::Wording;

#[test]
fn every_line_has_a_source() {
    for vendor in VENDORS {
        assert_eq!(vendor.sources.len(), vendor.codes.len() + vendor.phrases.len(), "{}", vendor.name);
        assert!(!vendor.sources.is_empty(), "{}", vendor.name);
        assert!(vendor.sources.iter().all(|source| source.len() > 4), "{}", vendor.name);
    }
    let lines: usize = VENDORS.iter().map(|vendor| vendor.sources.len()).sum();
    assert!(VENDORS.len() >= 35 && lines >= 130, "{} vendors, {lines} lines", VENDORS.len());
}

#[test]
fn no_code_and_no_phrase_is_listed_twice() {
    let codes: Vec<_> =
        VENDORS.iter().flat_map(|vendor| vendor.codes).map(|(code, _)| code.to_ascii_lowercase()).collect();
    let phrases: Vec<_> =
        VENDORS.iter().flat_map(|vendor| vendor.phrases).map(|(phrase, _)| (*phrase).to_owned()).collect();
    for names in [codes, phrases] {
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
        }
    }
}

#[test]
fn phrases_are_in_the_form_of_a_message_that_is_read() {
    for (phrase, _) in VENDORS.iter().flat_map(|vendor| vendor.phrases) {
        assert_eq!(Wording::of(phrase).sentences(), [format!(" {phrase} ")], "{phrase}");
    }
}
