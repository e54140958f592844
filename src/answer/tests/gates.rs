//! How a gatekeeper judges the beginning of a response.

use super::super::{Appearance, Gatekeeper, MAX_HELD_PLAIN, Rejection, Release, Terms, Verdict};
use super::{NOW, OK_JSON, OK_STREAM, terms};
use crate::base::{Endpoint, ErrorClass, HeaderBlock};
use crate::config::{HoldPolicy, HoldUntil};
use crate::provider::ProviderKind;
use crate::request::test_support::FakeWire;
use crate::retry::Received;

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}\n\n";
const PAGE: &[(&str, &str)] = &[(":status", "200"), ("content-type", "text/html")];

const COMMIT: Verdict = Verdict::Commit { content: true };
const NO_ANSWER: Appearance = Appearance::Answer { meant: 502 };

fn success(headers: &[(&str, &str)]) -> Gatekeeper {
    Gatekeeper::of_success(terms(Endpoint::Chat), HeaderBlock::of(headers)).unwrap()
}

/// The gatekeeper of a stream under this policy.
fn gated(gate: HoldPolicy) -> Gatekeeper {
    let terms = Terms { gate, ..terms(Endpoint::Chat) };
    Gatekeeper::of_success(terms, HeaderBlock::of(OK_STREAM)).unwrap()
}

/// Adds `bytes` to the host's buffer and lets the gatekeeper read them.
fn read(gatekeeper: &mut Gatekeeper, host: &mut FakeWire, bytes: &str, end: bool) -> Verdict {
    host.body.extend_from_slice(bytes.as_bytes());
    let available = host.body.len();
    gatekeeper.chunk(host, available, end, NOW.wall())
}

fn rejected(mut gatekeeper: Gatekeeper, body: &str) -> Rejection {
    match read(&mut gatekeeper, &mut FakeWire::default(), body, true) {
        Verdict::Reject(rejection) => rejection,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_meaningful_event_decides_about_a_stream() {
    use HoldUntil::{FirstContent, FirstEvent};
    for (until, events, verdict) in [
        (FirstContent, ": wait\n\n", Verdict::Hold),
        (FirstContent, ROLE, Verdict::Hold),
        (FirstContent, CONTENT, COMMIT),
        (FirstEvent, ": wait\n\n", Verdict::Hold),
        (FirstEvent, ROLE, Verdict::Commit { content: false }),
    ] {
        let mut gatekeeper = gated(HoldPolicy { until, ..HoldPolicy::default() });
        let read = read(&mut gatekeeper, &mut FakeWire::default(), events, false);
        assert_eq!(read, verdict, "{until:?} {events}");
    }
    // Later events of the same chunk do not change the verdict, but their content counts.
    let mut gatekeeper = gated(HoldPolicy { until: FirstEvent, ..HoldPolicy::default() });
    assert_eq!(
        read(&mut gatekeeper, &mut FakeWire::default(), &[ROLE, CONTENT, ERROR].concat(), false),
        COMMIT
    );
    assert_eq!(
        rejected(success(OK_STREAM), &[ROLE, ERROR, CONTENT].concat()).failed.class,
        ErrorClass::Overloaded
    );
}

#[test]
fn no_more_of_a_stream_is_held_than_the_gate_allows() {
    let mut gatekeeper = gated(HoldPolicy { max_bytes: 2 * ROLE.len(), ..HoldPolicy::default() });
    let host = &mut FakeWire::default();
    assert_eq!(read(&mut gatekeeper, host, ROLE, false), Verdict::Hold);
    assert_eq!(gatekeeper.held(), ROLE.len());
    assert_eq!(read(&mut gatekeeper, host, ROLE, false), Verdict::Commit { content: false });
}

#[test]
fn a_plain_response_is_held_to_its_end_up_to_the_size_of_an_error() {
    let host = &mut FakeWire::default();
    let mut gatekeeper = success(OK_JSON);
    let open = format!("{{\"x\":\"{}", "x".repeat(MAX_HELD_PLAIN));
    assert_eq!(read(&mut gatekeeper, host, &open[..MAX_HELD_PLAIN - 1], false), Verdict::Hold);
    assert_eq!(read(&mut gatekeeper, host, "x", false), COMMIT);
    let mut gatekeeper = success(OK_JSON);
    let answer = "{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}";
    assert_eq!(read(&mut gatekeeper, &mut FakeWire::default(), answer, true), COMMIT);
}

#[test]
fn a_recording_passes_whatever_its_bytes_and_is_not_counted_as_unread() {
    let speech = |label: Option<&str>| {
        let headers: Vec<_> = [Some((":status", "200")), label.map(|label| ("content-type", label))]
            .into_iter()
            .flatten()
            .collect();
        let terms = Terms { streamed: false, ..terms(Endpoint::Speech) };
        Gatekeeper::of_success(terms, HeaderBlock::of(&headers)).unwrap()
    };
    // MP3 with and without a tag, WAV, samples that look like JSON, a page, events and gzip.
    let recordings: [&[u8]; 7] =
        [b"ID3\x04", b"\xff\xfb\x90", b"RIFF", b"{\"\x00", b"<\x00", b"data: x", b"\x1f\x8b\x08"];
    for (label, recording) in
        [Some("audio/mpeg"), Some("Audio/PCM;rate=24000"), Some("application/octet-stream")]
            .into_iter()
            .flat_map(|label| recordings.map(|recording| (label, recording)))
            .chain([(None, recordings[0]), (None, recordings[1])])
    {
        let (mut gatekeeper, mut host) = (speech(label), FakeWire::default());
        host.body.extend_from_slice(recording);
        let verdict = gatekeeper.chunk(&mut host, recording.len(), false, NOW.wall());
        assert_eq!(verdict, COMMIT, "{label:?} {}", recording.escape_ascii());
        let mut follower = gatekeeper.commit(false, &mut host);
        assert!(!follower.is_unread());
        assert_eq!(follower.pass_held(&mut host, recording.len(), true).release, Release::Pass);
        assert_eq!((&*host.body, follower.finish()), (recording, None));
    }
    for (label, body, class) in [
        (
            Some("application/json"),
            "{\"error\":{\"message\":\"busy\",\"code\":429}}",
            ErrorClass::RateLimited,
        ),
        (Some("text/html"), "<html>", ErrorClass::Server),
        (Some("text/plain"), "Internal Server Error", ErrorClass::Malformed),
        (None, "{\"error\":{\"message\":\"busy\"}}", ErrorClass::Server),
        (Some("audio/mpeg"), "", ErrorClass::Empty),
    ] {
        assert_eq!(rejected(speech(label), body).failed.class, class, "{label:?} {body}");
    }
}

#[test]
fn an_error_of_nothing_beside_an_answer_is_none() {
    for error in ["null", "{}", r#"{"message":"","type":null}"#, r#"{"code":0,"message":""}"#] {
        let answer = format!(r#"{{"choices":[{{"message":{{"content":"hi"}}}}],"error":{error}}}"#);
        assert_eq!(read(&mut success(OK_JSON), &mut FakeWire::default(), &answer, true), COMMIT, "{error}");
    }
    for error in [r#"{"code":1}"#, r#"{"code":0,"message":"busy"}"#] {
        let answer = format!(r#"{{"choices":[],"error":{error}}}"#);
        assert_eq!(rejected(success(OK_JSON), &answer).failed.class, ErrorClass::Server, "{error}");
    }
}

#[test]
fn a_rejection_has_the_failure_class_and_its_appearance_to_clients() {
    let envoy = |status| Gatekeeper::of_envoy(ProviderKind::OpenAi, status, Received::Never);
    let error = Gatekeeper::of_error(ProviderKind::OpenAi, 429, HeaderBlock::of(&[("retry-after", "7")]));
    let redirect = Gatekeeper::of_error(ProviderKind::OpenAi, 302, HeaderBlock::default());
    let nothing = Gatekeeper::of_nothing(ProviderKind::OpenAi);
    let error_object = "{\"error\":{\"message\":\"busy\",\"code\":429}}";
    let under_success = Appearance::ErrorUnderSuccess { meant: 429 };
    for (gatekeeper, body, class, appearance) in [
        (envoy(504), "upstream timeout", ErrorClass::Timeout, Appearance::EnvoyText { status: 504 }),
        (envoy(503), "no route", ErrorClass::Transport, Appearance::EnvoyText { status: 503 }),
        (error, error_object, ErrorClass::RateLimited, Appearance::Error),
        (redirect, error_object, ErrorClass::Redirected, NO_ANSWER),
        (success(OK_JSON), error_object, ErrorClass::RateLimited, under_success),
        (success(OK_JSON), "{\"choices\":", ErrorClass::StreamTruncated, NO_ANSWER),
        (nothing, "", ErrorClass::Empty, NO_ANSWER),
        (success(PAGE), "<html>", ErrorClass::Server, NO_ANSWER),
        (success(OK_STREAM), ERROR, ErrorClass::Overloaded, Appearance::Error),
        (success(OK_STREAM), ROLE, ErrorClass::StreamTruncated, NO_ANSWER),
    ] {
        let rejection = rejected(gatekeeper, body);
        assert_eq!((rejection.failed.class, rejection.failure.class), (class, class), "{body}");
        assert_eq!(rejection.appearance, appearance, "{body}");
        let never = matches!(appearance, Appearance::EnvoyText { .. });
        assert_eq!(rejection.failed.received == Received::Never, never, "{body}");
        assert_eq!(
            rejection.failed.hint.map(|hint| hint.as_secs()),
            (appearance == Appearance::Error && class == ErrorClass::RateLimited).then_some(7)
        );
    }
}

#[test]
fn only_responses_that_may_lead_to_another_attempt_are_held() {
    let never: fn() -> bool = || panic!("must not be called");
    let holds = |mut gatekeeper: Gatekeeper, gate_is_over, could_move: fn() -> bool| {
        gatekeeper.holds(gate_is_over, could_move)
    };
    assert!(holds(success(OK_STREAM), false, || true));
    assert!(!holds(success(OK_STREAM), false, || false), "a stream can report failures later");
    assert!(!holds(success(OK_STREAM), true, never), "the gate's time is over");
    assert!(!holds(gated(HoldPolicy { until: HoldUntil::Headers, ..HoldPolicy::default() }), false, never));
    assert!(holds(success(PAGE), false, || false), "a page is never an answer");
    for label in [&OK_JSON[1..], &OK_STREAM[1..]] {
        let terms = Terms { streamed: false, ..terms(Endpoint::Chat) };
        let gatekeeper = Gatekeeper::of_success(terms, HeaderBlock::of(label)).unwrap();
        assert!(holds(gatekeeper, true, never), "its status would go to the client first");
    }
}

#[test]
fn a_doubtful_label_holds_a_response_until_its_first_bytes() {
    for label in ["application/json", "text/plain", "application/octet-stream", "application/x-ndjson", ""] {
        let headers = if label.is_empty() { vec![] } else { vec![("content-type", label)] };
        for (bytes, expected, shown) in [
            ("\n", Verdict::Hold, None),
            ("da", Verdict::Hold, None),
            (ROLE, Verdict::Commit { content: false }, Some("text/event-stream")),
            (CONTENT, COMMIT, Some("text/event-stream")),
            ("{\"choices\":[", Verdict::Hold, None),
        ] {
            let mut gatekeeper =
                Gatekeeper::of_success(terms(Endpoint::Chat), HeaderBlock::of(&headers)).unwrap();
            assert!(gatekeeper.holds(false, || false), "{label}");
            let host = &mut FakeWire::default();
            assert_eq!(read(&mut gatekeeper, host, bytes, false), expected, "{label} {bytes:?}");
            if let Some(shown) = shown {
                gatekeeper.commit(false, host);
                assert_eq!(host.get("content-type"), Some(shown), "{label}");
                assert_eq!(host.get("x-accel-buffering"), Some("no"), "{label}");
            }
        }
    }
}

#[test]
fn the_client_reads_the_label_that_fits_the_bytes() {
    let answer = "{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}";
    let stream = [CONTENT, "data: [DONE]\n\n"].concat();
    for (label, body, shown) in [
        (Some("application/json"), answer, None),
        (Some("application/vnd.api+json"), answer, None),
        (Some("text/event-stream"), answer, Some("application/json")),
        (Some("text/plain"), answer, Some("application/json")),
        (None, answer, Some("application/json")),
        (Some("text/event-stream"), &stream, None),
        (Some("application/json"), &stream, Some("text/event-stream")),
        (Some("text/html"), &stream, Some("text/event-stream")),
        (None, &stream, Some("text/event-stream")),
        (Some("application/json"), "\u{1f}\u{8b}", None),
        (Some("audio/mpeg"), "\u{0}\u{1}", None),
    ] {
        let headers: Vec<_> = label.map(|label| ("content-type", label)).into_iter().collect();
        for streamed in [true, false] {
            let terms = Terms { streamed, ..terms(Endpoint::Chat) };
            let mut gatekeeper = Gatekeeper::of_success(terms, HeaderBlock::of(&headers)).unwrap();
            assert!(gatekeeper.holds(false, || true));
            let host = &mut FakeWire::default();
            // As bytes, because these are no characters.
            let bytes: Vec<u8> = body.chars().map(|c| c as u8).collect();
            host.body.extend_from_slice(&bytes);
            assert_eq!(gatekeeper.chunk(host, bytes.len(), true, NOW.wall()), COMMIT, "{label:?} {body:?}");
            gatekeeper.commit(false, host);
            assert_eq!(host.get("content-type"), shown, "{label:?} {body:?} {streamed}");
        }
    }
}

#[test]
fn unreadable_responses_have_no_gatekeeper() {
    let gzip = &[OK_JSON, &[("content-encoding", "gzip")]].concat();
    let identity = &[OK_JSON, &[("content-encoding", "Identity")]].concat();
    for (headers, streamed, known) in [
        (gzip.as_slice(), true, false),
        (identity, true, true),
        (&[(":status", "200")], true, true),
        (&[("content-type", "text/plain")], false, true),
    ] {
        let terms = Terms { streamed, ..terms(Endpoint::Chat) };
        let gatekeeper = Gatekeeper::of_success(terms, HeaderBlock::of(headers));
        assert_eq!(gatekeeper.is_some(), known, "{headers:?}");
    }
}

#[test]
fn the_commit_releases_held_bytes_up_to_the_last_whole_event() {
    let (half, rest) = CONTENT.split_at(20);
    let mut host = FakeWire::new(&[("content-length", "999")]);
    let mut gatekeeper = success(OK_STREAM);
    assert_eq!(read(&mut gatekeeper, &mut host, ROLE, false), Verdict::Hold);
    assert_eq!(read(&mut gatekeeper, &mut host, &[CONTENT, half].concat(), false), COMMIT);
    let held = gatekeeper.held();
    let mut follower = gatekeeper.commit(true, &mut host);
    assert_eq!(host.get("content-length"), None, "a notice may make the body longer");
    let report = follower.pass_held(&mut host, held, false);
    assert_eq!((report.release, report.new_bytes, report.content), (Release::Stage, 0, None));
    assert_eq!(std::mem::take(&mut host.body), [ROLE, CONTENT].concat().as_bytes());
    follower.released();
    host.body = rest.as_bytes().to_vec();
    let report = follower.chunk(&mut host, rest.len(), false);
    assert_eq!((report.release, report.content), (Release::Flow, Some(1)));
    assert_eq!(host.body, CONTENT.as_bytes());
}

#[test]
fn text_can_be_inserted_at_once_after_the_gate_opened_by_time() {
    let (half, rest) = CONTENT.split_at(20);
    let mut host = FakeWire::default();
    let mut gatekeeper = success(OK_STREAM);
    assert_eq!(read(&mut gatekeeper, &mut host, &[ROLE, half].concat(), false), Verdict::Hold);
    let held = gatekeeper.held();
    let mut follower = gatekeeper.commit(false, &mut host);
    let report = follower.pass_held_outside_callback(&mut host, held);
    assert!(report.forwarded && follower.keep_alive().is_some());
    assert_eq!(std::mem::take(&mut host.body), ROLE.as_bytes());
    host.body = rest.as_bytes().to_vec();
    assert_eq!(follower.chunk(&mut host, rest.len(), false).release, Release::Flow);
    assert_eq!(host.body, CONTENT.as_bytes());
}

/// The host reads no exact time for what cannot pass yet.
#[test]
fn only_a_short_plain_answer_is_sure_to_be_held_to_its_end() {
    let holds = |streamed: bool, headers: &[(&str, &str)], body: &str, available: usize| {
        let terms = Terms { streamed, ..terms(Endpoint::Chat) };
        let mut gatekeeper = Gatekeeper::of_success(terms, HeaderBlock::of(headers)).unwrap();
        read(&mut gatekeeper, &mut FakeWire::default(), body, false);
        gatekeeper.holds_all_of(available)
    };
    let plain = "{\"choices\":[";
    assert!(holds(false, OK_JSON, "", 100));
    assert!(holds(false, OK_JSON, plain, 100));
    assert!(!holds(false, OK_JSON, plain, MAX_HELD_PLAIN), "it passes when it is so long");
    assert!(!holds(true, OK_JSON, "", 100), "it may be a stream");
    assert!(!holds(false, OK_STREAM, "", 100));
    assert!(!holds(false, &[], "", 100), "it may be of another kind");
    assert!(!holds(false, OK_JSON, "data: {\"id\":\"x\"}\n\n", 100), "its label was wrong");
}
