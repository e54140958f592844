//! The vendors of the table of listed kinds.

use super::*;

#[test]
fn listed_vendors_errors_have_the_stated_class() {
    let mut read = 0;
    for line in include_str!("listed.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let cells: Vec<_> = line.splitn(5, '|').map(str::trim).collect();
        let [kind, status, class, _, body] = cells[..] else { panic!("not five cells: {line}") };
        let kind = ProviderKind::from_name(kind).unwrap();
        let failure = classify(kind, status.parse().unwrap(), &none(), body.as_bytes());
        assert_eq!(failure.class.name(), class, "{line}");
        read += 1;
    }
    assert!(read >= 16);
}

/// Each listed kind reads the lines of the kind whose rules it has.
#[test]
fn listed_kinds_read_errors_by_the_rules_of_their_row() {
    let (gemini, bedrock, compatible) = (TABLES[3].1, TABLES[4].1, TABLES[7].1);
    let listed = ProviderKind::ALL.into_iter().filter(|kind| matches!(kind, ProviderKind::Listed(_)));
    for kind in listed {
        let table = match kind.name() {
            "vertex" => gemini,
            "bedrock" => bedrock,
            _ => compatible,
        };
        let mistakes: Vec<_> =
            rows(table).filter_map(|row| row.mistake(row.read(kind, row.body.as_bytes()).as_ref())).collect();
        assert!(mistakes.is_empty(), "{}: {mistakes:#?}", kind.name());
    }
}
