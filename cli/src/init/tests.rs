use super::*;

use std::path::{Path, PathBuf};

use llm_failsafe::base::WallTime;

use crate::arguments;

const NOW: WallTime = WallTime::from_millis(1_780_920_000_000);

/// Runs the program.
fn init(arguments: &[&str]) -> Result<String, Failure> {
    crate::run(["init"].iter().chain(arguments).copied(), NOW)
}

fn check(path: &Path) -> Result<String, Failure> {
    crate::run(["check", "--config", path.to_str().unwrap()], NOW)
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// With `UPDATE_SHIPPED=1` it writes the file that is no template.
#[test]
fn the_shipped_descriptions_give_the_shipped_files() {
    let playground = playground::playground();
    if std::env::var_os("UPDATE_SHIPPED").is_some() {
        std::fs::write(repository(&playground.file), envoy_file::text(&playground)).unwrap();
    }
    for shipped in [examples::shipped(true), examples::shipped(false), playground] {
        assert_eq!(envoy_file::text(&shipped), read(&repository(&shipped.file)), "{}", shipped.file);
    }
}

/// Folders that the repository has, and the page that shows the command for each.
const SHIPPED: [(&str, &str); 6] = [
    ("envoy/live", "docs/live-changes.md"),
    ("deploy/kubernetes", "docs/kubernetes.md"),
    ("deploy/helm/llm-failsafe", "docs/kubernetes.md"),
    ("deploy/istio/sidecar", "docs/istio.md"),
    ("deploy/istio/gateway", "docs/istio.md"),
    ("deploy/envoy-gateway", "docs/envoy-gateway.md"),
];

/// With `UPDATE_SHIPPED=1` it writes the folders.
#[test]
fn the_shipped_folders_are_what_init_gives() {
    for (folder, page) in SHIPPED {
        let wish = shown(page, folder);
        let files = of(&grammar::describe(&wish).unwrap());
        let folder = repository(folder);
        if std::env::var_os("UPDATE_SHIPPED").is_some() {
            let _ = std::fs::remove_dir_all(&folder);
            files::write(&folder, &files, true).unwrap();
        }
        for file in &files {
            let path = folder.join(&file.name);
            assert_eq!(
                read(&path),
                file.text,
                "{}; UPDATE_SHIPPED=1 cargo test -p llm-failsafe-cli writes it",
                path.display()
            );
        }
        let shipped = files_below(&folder);
        assert_eq!(shipped.len(), files.len(), "{shipped:?}");
    }
}

/// The command that a page shows for this folder.
fn shown(page: &str, folder: &str) -> Wish {
    let (page, end) = (read(&repository(page)), format!("--output {folder}\n"));
    let command = page.split("```sh\n").find(|block| block.contains(&end)).expect(folder);
    let command = command.split("```").next().unwrap().replace("\\\n", " ");
    match arguments::parse(command.split_whitespace().skip(1)) {
        Ok(arguments::Command::Init(wish)) => wish,
        other => panic!("{command}: {other:?}"),
    }
}

#[test]
fn the_commands_that_the_pages_show_for_kubernetes_write_good_gateways() {
    for (page, name, file, image, targets) in [
        ("docs/kubernetes.md", "gateway", "deployment.yaml", "reference", "3 targets"),
        ("docs/envoy-gateway.md", "llm-gateway", "gateway/envoy-proxy.yaml", "reference", "3 targets"),
        ("docs/envoy-gateway.md", "single", "gateway/extension-policy.yaml", "url", "2 targets"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("gateway");
        let said = written(&Wish { output: Some(output.clone()), ..shown(page, name) }).unwrap();
        assert!(said.contains("The client key `team-a`. It is shown only now:\n  sk-llm-"), "{said}");
        assert!(said.contains(page), "{said}");
        let report = check(&output).unwrap();
        assert!(report.starts_with("good: 1 model") && report.contains(targets), "{report}");
        assert!(read(&output.join(file)).contains(&format!("{image}: \"REGISTRY/llm-failsafe:0.1.0\"")));
    }
}

#[test]
fn the_commands_that_the_page_shows_for_istio_write_good_folders() {
    for (kind, files) in [
        ("istio-gateway", &["envoy-filter.yaml", "filter.yaml", "deployment.yaml", "gateway.yaml"][..]),
        (
            "istio-sidecar",
            &["envoy-filter.yaml", "filter.yaml", "workload/deployment.yaml", "llm-internal.yaml"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("gateway");
        let wish = shown("docs/istio.md", "gateway");
        let kubernetes = description::Manifests::from_name(kind);
        let said = written(&Wish { output: Some(output.clone()), kubernetes, ..wish }).unwrap();
        assert!(said.contains("The client key `team-a`") && said.contains("docs/istio.md says"), "{said}");
        assert!(said.contains("keys.example.yaml") && said.contains(" apply -k "), "{said}");
        assert!(check(&output).unwrap().starts_with("good: 1 model, 3 targets"));
        for file in files {
            assert!(!read(&output.join(file)).contains("null"), "{file}");
        }
        assert!(read(&output.join("keys.example.yaml")).contains("  OPENAI_KEY_B: WRITE THE KEY HERE\n"));
        // What `check` finds, it finds in these files.
        let filter = output.join("filter.yaml");
        let good = read(&filter);
        for (from, to, expected) in [
            (
                "cluster: llm-failsafe-openai",
                "cluster: llm-failsafe-opanai",
                "no cluster `llm-failsafe-opanai`",
            ),
            ("account: openai-a", "account: opanai-a", "no account is called `opanai-a`"),
            ("name: llm-failsafe\n        typed", "name: other\n        typed", "has no EXTENSION_CONFIG"),
        ] {
            assert!(good.contains(from), "{from}");
            std::fs::write(&filter, good.replacen(from, to, 1)).unwrap();
            let problem = check(&output).unwrap_err().to_string();
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
    }
}

#[test]
fn in_istio_there_is_only_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let arguments = ["--provider", "openai", "--model", "chat=openai/m", "--output", output, "--single"];
    let problem = init(&[&arguments[..], &["--kubernetes", "istio-gateway"]].concat()).unwrap_err();
    assert!(problem.to_string().contains("--single"), "{problem}");
}

#[test]
fn variables_of_istios_proxy_are_no_place_for_keys() {
    for (variable, is_refused) in [
        ("PATH", true),
        ("POD_NAME", true),
        ("ISTIO_META_CLUSTER_ID", true),
        ("CA_ADDR", true),
        ("TRUST_DOMAIN", true),
        ("ISTIOKEY", false),
        ("HOME_KEY", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().to_str().unwrap();
        let provider = format!("openai={variable}");
        let wanted = ["--provider", &provider, "--model", "chat=openai/m", "--output", output];
        let made = init(&[&wanted[..], &["--kubernetes", "istio-sidecar"]].concat());
        let problem = made.err().map(|problem| problem.to_string());
        let expected = format!("--provider {provider}: the variable {variable} belongs to Istio's proxy");
        assert_eq!(problem, is_refused.then_some(expected));
    }
}

/// A server without TLS, or without a name, is none of Istio's hosts.
#[test]
fn only_providers_with_names_and_tls_go_through_istio() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let model = [
        "--model",
        "chat=openai/m,ip/m,vllm/m,again/m,low/m,port/m,same/m",
        "--output",
        output,
        "--kubernetes",
        "istio-sidecar",
    ];
    let providers = [
        "ip=https://10.0.0.7,A",
        "vllm=http://vllm.test:8000",
        "openai",
        "again:openai=B",
        "low=https://my_host.test,C",
        "port=https://h.test:8443,D",
        "same=https://h.test-8443,E",
    ];
    let providers: Vec<_> = providers.iter().flat_map(|provider| ["--provider", provider]).collect();
    init(&[&providers[..], &model].concat()).unwrap();
    let read = |file: &str| read(&folder.path().join("components/egress").join(file));
    let (patches, objects) = (read("kustomization.yaml"), read("providers.yaml"));
    assert_eq!(patches.matches("outbound|443|llm|api.openai.com").count(), 2);
    assert_eq!(patches.matches("op: remove").count(), 4);
    assert!(
        patches.find("configPatches/6 ") < patches.find("configPatches/5 "),
        "the last one first: {patches}"
    );
    // A host that cannot be in the name of an object keeps its cluster, and no name is there twice.
    let names: Vec<_> = objects.lines().filter_map(|line| line.strip_prefix("  name: ")).collect();
    let expected =
        ["api.openai.com", "h.test-8443", "h.test-8443-2"].map(|it| format!("llm-failsafe-sidecar-{it}"));
    assert_eq!(names, expected.iter().flat_map(|name| [name, name]).collect::<Vec<_>>());
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn templates_of_manifests_have_no_place_left() {
    for tool in ["kustomize", "helm", "istio-sidecar", "istio-gateway", "envoy-gateway"] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().to_str().unwrap();
        let wanted = ["--provider", "openai", "--model", "chat=openai/m", "--kubernetes", tool];
        let said =
            init(&[&wanted[..], &["--module-image", "r.test/m@sha256:1", "--output", output]].concat());
        assert!(said.unwrap().contains("keys.example.yaml"));
        let mut with_image = 0;
        for path in files_below(folder.path()) {
            let text = read(&path);
            with_image += usize::from(text.contains("r.test/m@sha256:1"));
            let place = text.split('@').skip(1).find(|between| {
                !between.is_empty() && between.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            });
            assert_eq!(place, None, "{}", path.display());
        }
        assert!(with_image > 0, "{tool}");
    }
}

/// A gateway whose providers need no key has no Secret to wait for.
#[test]
fn without_keys_a_pod_waits_for_no_secret() {
    for (tool, deployment) in [("kustomize", "deployment.yaml"), ("helm", "values.yaml")] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().to_str().unwrap();
        let arguments =
            ["--provider", "vllm=http://vllm.test:8000", "--model", "chat=vllm/m", "--kubernetes", tool];
        let said = init(&[&arguments[..], &["--output", output]].concat()).unwrap();
        assert!(!said.contains("keys"), "{said}");
        let text = read(&folder.path().join(deployment));
        assert!(!text.contains("llm-failsafe-keys"), "{text}");
        let ports =
            read(&folder.path().join(if tool == "helm" { "values.yaml" } else { "network-policy.yaml" }));
        assert!(ports.contains("8000") && !ports.contains("443"), "{ports}");
    }
}

#[test]
fn without_keys_and_names_istio_gets_no_secret_and_no_hosts() {
    for kind in ["istio-sidecar", "istio-gateway"] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().to_str().unwrap();
        let arguments =
            ["--provider", "vllm=http://vllm.test:8000", "--model", "chat=vllm/m", "--output", output];
        let said = init(&[&arguments[..], &["--kubernetes", kind]].concat()).unwrap();
        assert!(!said.contains("keys"), "{said}");
        for path in files_below(folder.path()) {
            let text = read(&path);
            assert!(!text.contains("llm-failsafe-keys") && !text.contains("egress"), "{}", path.display());
            assert!(!text.contains(" env:") && !text.contains("host_env_keys"), "{}", path.display());
        }
    }
}

#[test]
fn every_combination_passes_check() {
    let vertex = "vertex=https://us-central1-aiplatform.googleapis.com\
                  /v1/projects/p/locations/us-central1/endpoints/openapi";
    let bedrock = "bedrock=https://bedrock-runtime.us-west-2.amazonaws.com,AWS_BEARER_TOKEN_BEDROCK";
    let providers: [&[&str]; 5] = [
        &["openai"],
        &["openai=KEY_A,KEY_B", "anthropic", "vllm=http://10.0.0.7:8000"],
        &["gemini", "mistral", "openrouter", "eu:azure-openai=https://eu.openai.azure.com,AZURE_KEY"],
        &["vllm=http://[::1]:8000", "groq=https://api.groq.com/openai/v1,GROQ_KEY", "own=http://h.test:81/"],
        &["groq", vertex, bedrock, "ollama=http://10.0.0.7:11434"],
    ];
    let models: [&[&str]; 5] = [
        &["chat=openai/gpt-4.1-mini"],
        &[
            "chat=openai/gpt-4.1-mini,anthropic/claude-haiku-4-5,vllm/meta-llama/Llama-3.3-70B-Instruct",
            "on=vllm/4.1",
        ],
        &[
            "a:b=gemini/gemini-2.5-flash,mistral/mistral-small-latest",
            "c/d=openrouter/openai/gpt-4.1:free,eu/d",
            "*=openrouter/*",
        ],
        &["chat=vllm/m,groq/m", "1e5=own/m"],
        &["chat=groq/m,vertex/google/m,bedrock/openai.m-1:0,ollama/m:8b"],
    ];
    for (providers, models) in providers.iter().zip(models) {
        for flags in [
            &[][..],
            &["--single"],
            &["--live"],
            &["--live", "--single"],
            &["--kubernetes", "kustomize"],
            &["--kubernetes", "helm", "--single"],
            &["--kubernetes", "istio-sidecar"],
            &["--kubernetes", "istio-gateway"],
            &["--kubernetes", "envoy-gateway"],
            &["--kubernetes", "envoy-gateway", "--single"],
        ] {
            for more in [&[][..], &["--key", "team-a", "--key", "team-b", "--operator", "anna"]] {
                let folder = tempfile::tempdir().unwrap();
                let output = folder.path().join("made/here");
                let mut arguments = vec!["--output", output.to_str().unwrap()];
                arguments.extend(providers.iter().flat_map(|it| ["--provider", it]));
                arguments.extend(models.iter().flat_map(|it| ["--model", it]));
                arguments.extend(flags.iter().chain(more));
                let said = init(&arguments).unwrap_or_else(|failure| panic!("{arguments:?}: {failure}"));
                let inside = if flags.contains(&"helm") { output.join("files") } else { output.clone() };
                let report = check(&inside).unwrap_or_else(|failure| panic!("{arguments:?}: {failure}"));
                assert!(report.starts_with("good: "), "{report}");
                assert!(!report.contains("not checked"), "{report}");
                let file = if flags.contains(&"--live") || flags.iter().any(|flag| flag.starts_with("istio-"))
                {
                    inside.join("filter.yaml")
                } else if flags.ends_with(&["envoy-gateway", "--single"]) {
                    inside.join("gateway/extension-policy.yaml")
                } else if flags.contains(&"--kubernetes") {
                    inside.join("filter/filter.yaml")
                } else {
                    inside
                };
                let text = read(&file);
                assert_eq!(text.contains("retry_loop: true"), !flags.contains(&"--single"));
                let keys: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("  sk-llm-")).collect();
                assert_eq!(keys.len(), if more.is_empty() { 0 } else { 3 }, "{said}");
                assert!(keys.iter().all(|key| !text.contains(key)), "only the digest is in the file");
                assert_eq!(text.matches("sha256").count(), keys.len());
            }
        }
    }
}

/// Nobody has to look up the address of a vendor that has a kind.
#[test]
fn the_name_of_a_kind_is_enough_for_a_good_file() {
    for (name, cluster, variable) in [
        ("groq", "api.groq.com", "GROQ_API_KEY"),
        ("xai", "api.x.ai", "XAI_API_KEY"),
        ("deepseek", "api.deepseek.com", "DEEPSEEK_API_KEY"),
        ("together", "api.together.ai", "TOGETHER_API_KEY"),
        ("fireworks", "api.fireworks.ai", "FIREWORKS_API_KEY"),
        ("cohere", "api.cohere.ai", "COHERE_API_KEY"),
        ("moonshot", "api.moonshot.ai", "MOONSHOT_API_KEY"),
        ("dashscope", "dashscope-intl.aliyuncs.com", "DASHSCOPE_API_KEY"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("envoy.yaml");
        let model = format!("chat={name}/some-model");
        init(&["--provider", name, "--model", &model, "--output", output.to_str().unwrap()]).unwrap();
        let text = read(&output);
        for line in [
            format!("{name}: {{ kind: {name}, cluster: {name} }}"),
            format!("{name}: {{ provider: {name}, key: {{ env: {variable} }} }}"),
            format!("socket_address: {{ address: {cluster}, port_value: 443 }}"),
        ] {
            assert!(text.contains(&line), "{line}:\n{text}");
        }
        assert!(check(&output).unwrap().starts_with("good: "));
    }
}

#[test]
fn vertex_ai_needs_the_path_of_a_project() {
    let arguments = ["--provider", "vertex=https://aiplatform.googleapis.com", "--model", "chat=vertex/m"];
    let problem = init(&arguments).unwrap_err().to_string();
    assert!(problem.contains("providers.vertex.path_prefix: is missing"), "{problem}");
}

#[test]
fn accounts_of_one_provider_are_one_tier_and_conversations_stay() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("envoy.yaml");
    let arguments =
        ["--provider", "openai=A,B", "--model", "chat=openai/m", "--output", output.to_str().unwrap()];
    init(&arguments).unwrap();
    let text = read(&output);
    for line in [
        "chat: { tiers: [[openai-a-m, openai-b-m]], balance: { strategy: sticky } }",
        "openai-b: { provider: openai, key: { env: B } }",
        "environment_variables: { host_env_keys: [A, B] }",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn no_file_is_replaced_without_force_and_no_key_even_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let arguments = ["--provider", "openai", "--model", "chat=openai/m", "--output", output, "--live"];
    std::fs::write(folder.path().join("filter.yaml"), "mine").unwrap();
    let problem = init(&arguments).unwrap_err().to_string();
    assert!(problem.contains("filter.yaml: exists already, and nothing was written"), "{problem}");
    assert!(!folder.path().join("envoy.yaml").exists());
    let forced = [&arguments[..], &["--force"]].concat();
    init(&forced).unwrap();
    assert!(read(&folder.path().join("filter.yaml")).contains("chat: { tiers: [[openai-m]] }"));
    let key = folder.path().join("keys/openai.yaml");
    assert!(read(&key).contains("WRITE THE KEY HERE"));
    std::fs::write(&key, "the key").unwrap();
    init(&forced).unwrap();
    assert_eq!(read(&key), "the key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("keys/openai.yaml"), mode("start.sh") & 0o700), (0o600, 0o700));
    }
}

#[test]
fn what_the_filter_does_not_accept_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("envoy.yaml");
    for (provider, model, key, said) in [
        ("../x:openai", "chat=../x/m", "team", "providers"),
        ("openai", "chat=openai/m", "a b", "keys[\"a b\"]"),
        ("openai", "chat=openai/", "team", "model"),
        ("openai", "=openai/m", "team", "models"),
    ] {
        let arguments =
            ["--provider", provider, "--model", model, "--key", key, "--output", output.to_str().unwrap()];
        let problem = init(&arguments).unwrap_err().to_string();
        assert!(problem.contains(said), "{said}: {problem}");
        assert!(!output.exists());
    }
}

#[test]
fn check_reports_mistakes_of_a_filter_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    init(&["--provider", "openai", "--model", "chat=openai/m", "--output", output, "--live"]).unwrap();
    let filter = folder.path().join("filter.yaml");
    let good = read(&filter);
    for (from, to, said) in [
        ("account: openai,", "account: opanai,", "targets.openai-m.account"),
        ("cluster: openai,", "cluster: elsewhere,", "Envoy has no cluster `elsewhere`"),
        (
            "name: llm-failsafe\n  typed",
            "name: other\n  typed",
            "filter.yaml: has no resource `llm-failsafe`",
        ),
        ("resources:", "resources: [", "filter.yaml: "),
    ] {
        std::fs::write(&filter, good.replacen(from, to, 1)).unwrap();
        let problem = check(folder.path()).unwrap_err().to_string();
        assert!(problem.contains(said), "{said}: {problem}");
    }
}

#[test]
fn check_reads_the_objects_of_envoy_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let wanted = ["--kubernetes", "envoy-gateway", "--provider", "openai", "--model", "chat=openai/m"];
    for (flags, file, from, to, said) in [
        (
            &[][..],
            "filter/filter.yaml",
            "cluster: llm-failsafe-openai",
            "cluster: nowhere",
            "no cluster `nowhere`",
        ),
        (&[], "filter/filter.yaml", "account: openai,", "account: opanai,", "filter.yaml: "),
        (&[], "gateway/patches-edge.yaml", "num_retries: 9", "num_retries: 0", "num_retries"),
        (&[], "gateway/patches-edge.yaml", "op: add", "op: replace", "must be add"),
        (
            &[],
            "gateway/patches-additions.yaml",
            "server_listener_name: llm-failsafe-inner",
            "server_listener_name: other",
            "so it gets no requests",
        ),
        (&[], "gateway/patches-edge.yaml", "value: 34603008", "value: 1048576", "get no second attempt"),
        (
            &[],
            "gateway/client-traffic.yaml",
            "streamIdleTimeout: \"1200s\"",
            "streamIdleTimeout: 5s",
            "stream_idle_timeout",
        ),
        (
            &[],
            "gateway/envoy-proxy.yaml",
            "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
            "x.Y",
            "internal",
        ),
        (&[], "gateway/envoy-proxy.yaml", "- name: OPENAI_API_KEY", "- name: OTHER", "no `OPENAI_API_KEY`"),
        (&[], "gateway/client-traffic.yaml", "- x-llm-cluster", "- x-lm-cluster", "lacks x-llm-cluster"),
        (
            &["--single"],
            "gateway/extension-policy.yaml",
            "cluster: llm-failsafe-openai",
            "cluster: nowhere",
            "no cluster `nowhere`",
        ),
        (
            &["--single"],
            "gateway/extension-policy.yaml",
            "account: openai,",
            "account: opanai,",
            "extension-policy.yaml: ",
        ),
        (
            &["--single"],
            "gateway/patches-edge.yaml",
            "path: allow_on_headers_stop_iteration",
            "path: fail_open",
            "allow_on_headers_stop_iteration",
        ),
    ] {
        init(&[&wanted[..], &["--output", output, "--force"], flags].concat()).unwrap();
        let file = folder.path().join(file);
        let good = read(&file);
        assert!(good.contains(from), "{from}");
        std::fs::write(&file, good.replace(from, to)).unwrap();
        let report = check(folder.path()).unwrap_or_else(|problem| problem.to_string());
        assert!(report.contains(said), "{to}: {report}");
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}

/// The listener of its edge is on loopback, and the gateway of Istio leads there.
#[test]
fn a_gateway_of_istio_without_keys_is_open_to_everyone_and_a_sidecar_is_not() {
    for (folder, is_open) in [("deploy/istio/gateway", true), ("deploy/istio/sidecar", false)] {
        let report = check(&repository(folder)).unwrap();
        let warning = "everyone who reaches the gateway of Istio can use the providers' keys";
        assert_eq!(report.contains(warning), is_open, "{report}");
        assert!(!report.contains("lacks"), "{report}");
    }
}
