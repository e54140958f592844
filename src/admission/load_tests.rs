use std::time::Duration;

use super::*;

const TOOK: Duration = Duration::from_secs(32);

fn outcome(end: End, first_content: Option<Duration>) -> Outcome {
    Outcome { first_content, ..Outcome::answered(end, 48, TOOK) }
}

#[test]
fn refusals_because_of_load_and_slowness_count_and_other_failures_do_not() {
    for class in ErrorClass::ALL {
        for streamed in [true, false] {
            let expected = match class {
                ErrorClass::Overloaded | ErrorClass::RateLimited => Some(LoadSign::Overloaded),
                ErrorClass::Timeout if streamed => Some(LoadSign::Silent(Pace::FirstContent(TOOK))),
                ErrorClass::Timeout => Some(LoadSign::Silent(Pace::PerToken(TOOK))),
                _ => None,
            };
            let failed = outcome(End::Failed(class), None);
            assert_eq!(sign(&failed, streamed), expected, "{}", class.name());
            let unsent = failed.unsent();
            assert_ne!(sign(&unsent, streamed), Some(LoadSign::Overloaded));
        }
    }
}

#[test]
fn an_answer_counts_once() {
    let second = Duration::from_secs(1);
    let complete = outcome(End::Complete, Some(second));
    assert_eq!(sign(&complete, true), None, "its first content has counted");
    let paced = LoadSign::Answered(Some(Pace::PerToken(TOOK / 64)));
    assert_eq!(sign(&complete, false), Some(paced));
    assert_eq!(
        sign(&Outcome { usage: None, ..complete }, false),
        Some(LoadSign::Answered(None)),
        "without a count of tokens it has no pace"
    );
    assert_eq!(sign(&outcome(End::ClientGone, Some(second)), true), None);
    let left = sign(&outcome(End::ClientGone, None), true);
    assert_eq!(left, Some(LoadSign::Silent(Pace::FirstContent(TOOK))));
    assert_eq!(sign(&outcome(End::ClientGone, None), false), None);
    assert_eq!(sign(&outcome(End::Withdrawn, None), true), None);
}
