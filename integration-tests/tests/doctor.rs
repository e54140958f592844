//! What `llm-failsafe doctor` says about a gateway in a real Envoy.

use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{RefusedPort, Script, ScriptedProvider, errors};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use llm_failsafe::base::WallTime;
use serde_json::{Value, json};

const CLIENT: &str = "sk-llm-client-77aa";
const OPERATOR: &str = "sk-llm-operator-3f1c";

fn configuration() -> Value {
    json!({
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "accounts": {
            "a": {"provider": "first", "key": {"value": "sk-provider-a"}},
            "s": {"provider": "spare", "key": {"value": "sk-provider-s"}},
        },
        "targets": {
            "one": {"account": "a", "model": "first-model"},
            "two": {"account": "s", "model": "spare-model"},
        },
        "models": {"chat": {"tiers": [["one"], ["two"]]}},
        "keys": {"team": {"sha256": sha256(CLIENT)}, "former": {"sha256": sha256("sk-former"), "expires": "2020-01-31"}},
        "operator": {"keys": {"anna": {"sha256": sha256(OPERATOR)}}},
        "breaker": {"consecutive": 2},
    })
}

async fn start(configuration: &Value) -> Scene<2> {
    Gateway::new(Shape::Loop).plugin(configuration).start_with(["first", "spare"]).await
}

/// Runs the doctor. The first value says whether it found problems.
async fn doctor(port: u16, options: &[&str]) -> (bool, String) {
    doctor_at(&format!("http://127.0.0.1:{port}"), options).await
}

/// The same at a URL.
async fn doctor_at(url: &str, options: &[&str]) -> (bool, String) {
    let arguments: Vec<_> = ["doctor".to_owned(), url.to_owned()]
        .into_iter()
        .chain(options.iter().map(|it| (*it).to_owned()))
        .collect();
    let run = move || llm_failsafe_cli::run(arguments, WallTime::default());
    match tokio::task::spawn_blocking(run).await.unwrap() {
        Ok(report) => (false, report),
        Err(failure @ llm_failsafe_cli::Failure::Problems(_)) => (true, failure.to_string()),
        Err(failure) => panic!("{failure}"),
    }
}

/// With both keys.
async fn examined(envoy: &Envoy, more: &[&str]) -> (bool, String) {
    let options: Vec<_> = ["--key", CLIENT, "--operator-key", OPERATOR].iter().chain(more).copied().collect();
    doctor(envoy.port(), &options).await
}

#[track_caller]
fn says(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
    for secret in [CLIENT, OPERATOR, "sk-provider"] {
        assert!(!report.contains(secret), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_gateway_has_no_problems() {
    let scene = start(&configuration()).await;
    let admin = format!("http://127.0.0.1:{}", scene.envoy.admin_port());
    let (has_problems, report) = examined(&scene.envoy, &["--admin", &admin, "--ask", "chat"]).await;
    says(
        &report,
        &[
            "good: llm-failsafe answers; models for this key: chat",
            concat!("good: version ", env!("CARGO_PKG_VERSION"), " on Envoy "),
            "good: all 2 targets of 1 model accept requests",
            "good: no counter of Envoy shows a defect",
            "good: a request for `chat` was answered by target `one`, attempt 1",
            "\n\nno problems",
        ],
    );
    assert!(!has_problems);
    let (has_problems, report) = doctor(scene.envoy.port(), &[]).await;
    says(
        &report,
        &[
            "it wants a client key, see --key",
            "not checked: the state of targets",
            "not checked: Envoy's counters",
            "\n\nnothing found; not checked: the state of targets, accounts and budgets; Envoy's counters",
        ],
    );
    assert!(!has_problems, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_and_a_blocked_account_are_explained() {
    let scene = start(&configuration()).await;
    let [first, spare] = &scene.providers;
    let chat = || Request::chat("chat", false).header("authorization", &format!("Bearer {CLIENT}"));
    first.by_default(errors::openai_500());
    for _ in 0..2 {
        assert_eq!(chat().ask(scene.envoy.port()).await.header("x-llm-target"), Some("two"));
    }
    let (has_problems, report) = examined(&scene.envoy, &["--ask", "chat"]).await;
    says(
        &report,
        &[
            "hint: model `chat`: 1 of 2 targets accept requests",
            "PROBLEM: target `one` is open for ",
            "the provider answers with errors (`server`), because of 2 failures in a row; next try in ",
            "see: docs/runbook.md#llmfailsafebreakeropened",
            "was answered by target `two`, attempt 1 instead of `one`: open",
            "1 problem",
        ],
    );
    assert!(has_problems);

    spare.by_default(errors::openai_insufficient_quota());
    let failed = chat().ask(scene.envoy.port()).await;
    assert!(failed.status.is_client_error() || failed.status.is_server_error(), "{}", failed.text());
    let (has_problems, report) = examined(&scene.envoy, &["--ask", "chat"]).await;
    says(
        &report,
        &[
            "PROBLEM: model `chat`: none of its 2 targets accepts requests",
            "PROBLEM: account `s` is blocked for ",
            "the account is out of money or quota (`quota_exhausted`)",
            "do: pay or raise the limit",
            "PROBLEM: a request for `chat` failed with status 503 (all_targets_open)",
            "hint: target `two`: blocked",
        ],
    );
    assert!(has_problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_not_valid_are_named() {
    let scene = start(&configuration()).await;
    let port = scene.envoy.port();
    for (options, text) in [
        (["--key", "sk-wrong"], "PROBLEM: the gateway does not know this client key"),
        (["--key", "sk-former"], "PROBLEM: this client key has expired"),
        (["--operator-key", "sk-wrong"], "PROBLEM: the gateway does not know this operator's key"),
        (["--operator-key", CLIENT], "PROBLEM: the gateway does not know this operator's key"),
    ] {
        let (has_problems, report) = doctor(port, &options).await;
        says(&report, &[text, "1 problem"]);
        assert!(has_problems && !report.contains(options[1]), "{report}");
    }
    let mut open = configuration();
    for section in ["keys", "operator"] {
        open.as_object_mut().unwrap().remove(section);
    }
    let scene = start(&open).await;
    let (has_problems, report) = examined(&scene.envoy, &[]).await;
    says(&report, &["models for this key: chat", "hint: the configuration has no `operator`"]);
    assert!(!has_problems, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_gateway_is_recognised() {
    let nothing = RefusedPort::reserve();
    let (has_problems, report) = doctor(nothing.port(), &[]).await;
    says(&report, &["PROBLEM: the gateway cannot be reached: nothing listens there (connection refused)"]);
    assert!(has_problems);

    let other = ScriptedProvider::start("other").await;
    other.by_default(Script::status(200).json(json!({"data": [{"id": "gpt", "owned_by": "someone"}]})));
    let (has_problems, report) =
        doctor(other.port(), &["--admin", &format!("http://127.0.0.1:{}", other.port())]).await;
    says(
        &report,
        &["PROBLEM: this is not llm-failsafe: /v1/models gave status 200", "is not Envoy's admin interface"],
    );
    assert!(has_problems);

    let scene = start(&configuration()).await;
    let (has_problems, report) = doctor(scene.envoy.admin_port(), &[]).await;
    says(&report, &["PROBLEM: this is not llm-failsafe", "this is Envoy's admin interface"]);
    assert!(has_problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_missing_is_found_in_the_counters() {
    let mut configuration = configuration();
    configuration["providers"]["first"]["cluster"] = json!("frist");
    let scene = start(&configuration).await;
    let read = Request::chat("chat", false)
        .header("authorization", &format!("Bearer {CLIENT}"))
        .ask(scene.envoy.port())
        .await;
    assert_eq!(read.header("x-llm-target"), Some("two"), "{}", read.text());
    let admin = format!("http://127.0.0.1:{}", scene.envoy.admin_port());
    let (has_problems, report) = examined(&scene.envoy, &["--admin", &admin]).await;
    says(
        &report,
        &[
            "PROBLEM: 1 request for a cluster that Envoy does not have (`http.*.no_cluster`",
            "llm-failsafe check",
        ],
    );
    assert!(has_problems);
}

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");

/// A gateway whose listener has this certificate.
async fn start_with_tls(certificate: &str) -> Scene<2> {
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [{
            "certificate_chain": {"filename": format!("{CERTIFICATES}/{certificate}")},
            "private_key": {"filename": format!("{CERTIFICATES}/server.key")},
        }]},
    });
    let gateway = Gateway::new(Shape::Loop).plugin(&configuration()).edit(|config| {
        config["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] =
            json!({"name": "tls", "typed_config": context});
    });
    gateway.start_with(["first", "spare"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_certificate_is_checked_and_what_is_wrong_with_it_is_said() {
    let scene = start_with_tls("server.pem").await;
    let trusted = format!("{CERTIFICATES}/server.pem");
    let url = format!("https://127.0.0.1:{}", scene.envoy.port());
    let (has_problems, report) = doctor_at(&url, &["--key", CLIENT, "--ca", &trusted, "--ask", "chat"]).await;
    says(&report, &["good: llm-failsafe answers; models for this key: chat", "was answered by target `one`"]);
    assert!(!has_problems, "{report}");

    let other = format!("{CERTIFICATES}/authority.pem");
    for options in [&["--key", CLIENT][..], &["--key", CLIENT, "--ca", &other]] {
        let (has_problems, report) = doctor_at(&url, options).await;
        says(
            &report,
            &["PROBLEM: the gateway cannot be reached: nobody that is trusted has signed its certificate"],
        );
        assert!(has_problems, "{report}");
    }
    let by_name = format!("https://localhost:{}", scene.envoy.port());
    let (_, report) = doctor_at(&by_name, &["--ca", &trusted]).await;
    says(&report, &["its certificate is for another name than the one in the URL"]);

    // What `openssl req -x509` makes.
    let scene = start_with_tls("authority.pem").await;
    let url = format!("https://127.0.0.1:{}", scene.envoy.port());
    let (_, report) = doctor_at(&url, &["--ca", &other]).await;
    says(&report, &["its certificate is that of an authority (`CA:TRUE`)", "CA:FALSE"]);
}
