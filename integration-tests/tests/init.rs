//! What `llm-failsafe init` writes, in a real Envoy: from nothing to the first answer.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::paths;
use integration_tests::provider::{ScriptedProvider, errors};
use llm_failsafe::base::WallTime;

/// Addresses where the kernel chooses the port.
const ADDRESSES: [&str; 6] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--probes", "127.0.0.1:0"];

/// Runs the program, which must succeed.
pub fn run(arguments: &[&str]) -> String {
    let report = llm_failsafe_cli::run(arguments, WallTime::from_millis(1_780_920_000_000));
    report.unwrap_or_else(|failure| panic!("{arguments:?}: {failure}"))
}

/// Runs `init` with ports that the kernel chooses and the built module.
pub fn init(output: &Path, arguments: &[&str]) -> String {
    let module = paths::wasm();
    let usual = ["init", "--module", module.to_str().unwrap(), "--output", output.to_str().unwrap()];
    run(&[&usual, &ADDRESSES[..], arguments].concat())
}

/// The key that `init` has made with this name.
fn key<'s>(said: &'s str, name: &str) -> &'s str {
    let (_, rest) = said.split_once(&format!("`{name}`. It is shown only now:\n  ")).expect(said);
    rest.lines().next().unwrap()
}

async fn doctor(arguments: Vec<String>) -> String {
    let run = move || llm_failsafe_cli::run(arguments, WallTime::default());
    let report = tokio::task::spawn_blocking(run).await.unwrap();
    report.unwrap_or_else(|failure| panic!("{failure}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_init_wrote_passes_check_and_serves() {
    let (openai, own) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("own").await);
    let providers = [
        format!("openai=http://127.0.0.1:{}/v1,KEY_A,KEY_B", openai.port()),
        format!("own=http://127.0.0.1:{}/prefix", own.port()),
    ];
    for shape in [&["--single"][..], &[]] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made/envoy.yaml");
        let arguments = [
            "--provider",
            &providers[0],
            "--provider",
            &providers[1],
            "--model",
            "chat=openai/gpt-4.1-mini,own/small",
            "--key",
            "team-a",
            "--operator",
            "anna",
        ];
        let said = init(&file, &[&arguments, shape].concat());
        assert!(run(&["check", "--config", file.to_str().unwrap()]).starts_with("good: 1 model, 3 targets"));
        let config = EnvoyConfig::from_file(&file).env("KEY_A", "sk-a").env("KEY_B", "sk-b");
        let envoy = Envoy::start(config).await;
        let ask = async || {
            let bearer = format!("Bearer {}", key(&said, "team-a"));
            Request::chat("chat", false).header("authorization", &bearer).ask(envoy.port()).await
        };
        assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 401);
        let read = ask().await;
        assert_eq!(read.status, 200, "{}", read.text());
        let sent = openai.received().last().unwrap().header("authorization").unwrap().to_owned();
        assert!(["Bearer sk-a", "Bearer sk-b"].contains(&sent.as_str()), "{sent}");

        // The doctor sees everything and finds nothing.
        let mut arguments = vec!["doctor".to_owned(), format!("http://127.0.0.1:{}", envoy.port())];
        for (option, value) in [
            ("--key", key(&said, "team-a").to_owned()),
            ("--operator-key", key(&said, "anna").to_owned()),
            ("--admin", format!("http://127.0.0.1:{}", envoy.admin_port())),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        let report = doctor(arguments).await;
        assert!(report.ends_with("no problems"), "{report}");
        assert!(!report.contains("not checked"), "{report}");

        if shape.is_empty() {
            openai.by_default(errors::openai_500());
            let read = ask().await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("own-small")));
            assert_eq!(own.received().last().unwrap().path, "/prefix/chat/completions");
        }
    }
}

/// The commands of the README, with free ports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_through_of_the_readme_leads_to_the_first_answer() {
    let page = std::fs::read_to_string(paths::root().join("README.md")).unwrap();
    let section = page.split("## From nothing to the first answer").nth(1).unwrap();
    let blocks: Vec<_> =
        section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let double = crate::playground::Provider::start("double");
    let sh = |script: &str| {
        let script =
            format!("set -eu\nPATH=\"{}:$PATH\"\n{script}", paths::program().parent().unwrap().display());
        let output = Command::new("sh").current_dir(folder.path()).args(["-c", &script]).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{out}\n{err}");
        out.into_owned()
    };
    let here = |text: &str| text.replace("/tmp/gateway", folder.path().to_str().unwrap());

    let (first, second) = (here(blocks[0]), blocks[1]);
    let started = ["make setup build", "python3 envoy/playground/provider.py double 8081", "envoy -c "];
    assert!(started.iter().all(|line| first.contains(line)), "{first}");
    let commands: Vec<_> = first.lines().filter(|line| line.starts_with("llm-failsafe ")).collect();
    let module = paths::wasm();
    let usual = format!("init --module {} {}", module.display(), ADDRESSES.join(" "));
    let script = commands.join("\n").replace("init", &usual).replace(":8081", &format!(":{}", double.port));
    let said = sh(&script);
    assert!(said.contains("good: 1 model, 1 target,"), "{said}");

    let envoy = Envoy::start(EnvoyConfig::from_file(folder.path().join("envoy.yaml"))).await;
    let script = second
        .replace("target/debug/", "")
        .replace(":10000", &format!(":{}", envoy.port()))
        .replace(":9901", &format!(":{}", envoy.admin_port()));
    let said = sh(&script);
    assert!(said.contains("Hello from double."), "{said}");
    // Without an operator's key it cannot ask everything.
    assert!(said.contains("nothing found"), "{said}");

    // The line for real providers.
    let line = blocks[2].replace("\\\n", " ");
    let output = folder.path().join("real.yaml");
    sh(&format!("{} --output {}", line.trim(), output.display()));
    assert!(run(&["check", "--config", output.to_str().unwrap()]).starts_with("good: 1 model, 3 targets"));
}

/// Vertex AI takes access tokens that live for an hour. Something outside writes a new one into the watched file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_for_vertex_ai_is_replaced_while_envoy_runs() {
    let vertex = ScriptedProvider::start("vertex").await;
    let folder = tempfile::tempdir().unwrap();
    let path = "/v1/projects/p/locations/l/endpoints/openapi";
    let provider = format!("vertex=http://127.0.0.1:{}{path}", vertex.port());
    let arguments = ["--live", "--provider", &provider, "--model", "chat=vertex/google/gemini-2.5-flash"];
    let made = folder.path().join("gateway");
    init(&made, &arguments);
    let file = "keys/vertex.yaml";
    let text = std::fs::read_to_string(made.join(file)).unwrap();
    let with_token = |token: &str| text.replace("WRITE THE KEY HERE", token);
    let config = EnvoyConfig::from_folder(&made).replace_in(file, "WRITE THE KEY HERE", "token-1");
    let envoy = Envoy::start(config).await;
    let token = async || {
        let read = Request::chat("chat", false).ask(envoy.port()).await;
        assert_eq!(read.status, 200, "{}", read.text());
        let seen = vertex.received().pop().unwrap();
        assert_eq!(seen.path, format!("{path}/chat/completions"));
        seen.header("authorization").unwrap().to_owned()
    };
    assert_eq!(token().await, "Bearer token-1");
    envoy.replace_file(file, &with_token("token-2"));
    let deadline = Instant::now() + SOON;
    while token().await != "Bearer token-2" {
        assert!(Instant::now() < deadline, "the new token is not used");
    }
}

/// The shipped folder with ports that the kernel chooses, the built module and keys.
fn shipped_folder() -> EnvoyConfig {
    let mut config = EnvoyConfig::from_folder(&paths::root().join("envoy/live"))
        .replace("address: 0.0.0.0, port_value: 10000", "address: 127.0.0.1, port_value: 0")
        .replace("address: 0.0.0.0, port_value: 10001", "address: 127.0.0.1, port_value: 0")
        .replace("address: 127.0.0.1, port_value: 9901", "address: 127.0.0.1, port_value: 0")
        .replace_in("filter.yaml", "../../dist/llm_failsafe.wasm", "{{wasm}}");
    for account in ["openai-a", "openai-b", "anthropic"] {
        config = config.replace_in(&format!("keys/{account}.yaml"), "WRITE THE KEY HERE", "sk-test");
    }
    config
}

#[tokio::test]
async fn the_shipped_folder_starts_and_a_bad_one_does_not() {
    let envoy = Envoy::start(shipped_folder()).await;
    let models = Request::get("/v1/models").ask(envoy.port()).await;
    assert!(models.status == 200 && models.text().contains("\"chat\""), "{}", models.text());
    drop(envoy);

    let bad = shipped_folder().replace_in("filter.yaml", "provider: openai,", "provider: opanai,");
    let log = Envoy::expect_start_failure(bad).await;
    assert!(log.contains("accounts.openai-a.provider: no provider is called `opanai`"), "{log}");
    let without = shipped_folder().replace_in("keys/openai-b.yaml", "sk-test", "WRITE THE KEY HERE");
    let log = Envoy::expect_start_failure(without).await;
    assert!(log.contains("These files have no key yet:\nkeys/openai-b.yaml"), "{log}");
    let cluster = shipped_folder().replace_in("filter.yaml", "cluster: openai-b", "cluster: openai-c");
    let log = Envoy::expect_start_failure(cluster).await;
    assert!(log.contains("Envoy has no cluster `openai-c`"), "{log}");
}
