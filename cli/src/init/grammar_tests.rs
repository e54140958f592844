use super::super::description::Manifests;
use super::*;

fn wish(providers: &[&str], models: &[&str]) -> Wish {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Wish {
        providers: owned(providers),
        models: owned(models),
        listen: "127.0.0.1:10000".to_owned(),
        admin: "127.0.0.1:9901".to_owned(),
        module: "dist/llm_failsafe.wasm".to_owned(),
        ..Wish::default()
    }
}

#[test]
fn an_address_gives_server_host_and_path() {
    for (text, server, tls, host, path) in [
        ("vllm=http://10.0.0.7:8000", "10.0.0.7:8000", false, Some("10.0.0.7:8000"), None),
        ("vllm=http://llm.test/", "llm.test:80", false, Some("llm.test"), None),
        (
            "other=https://api.groq.com/openai/v1",
            "api.groq.com:443",
            true,
            Some("api.groq.com"),
            Some("/openai/v1"),
        ),
        ("groq=https://api.groq.com/openai/v1", "api.groq.com:443", true, None, None),
        ("groq", "api.groq.com:443", true, None, None),
        ("deepseek", "api.deepseek.com:443", true, None, None),
        ("deepseek=https://api.deepseek.com/v1", "api.deepseek.com:443", true, None, Some("/v1")),
        (
            "bedrock=https://bedrock-runtime.us-west-2.amazonaws.com",
            "bedrock-runtime.us-west-2.amazonaws.com:443",
            true,
            Some("bedrock-runtime.us-west-2.amazonaws.com"),
            None,
        ),
        (
            "cn:moonshot=https://api.moonshot.cn/v1,K",
            "api.moonshot.cn:443",
            true,
            Some("api.moonshot.cn"),
            None,
        ),
        ("ollama=http://10.0.0.7:11434", "10.0.0.7:11434", false, Some("10.0.0.7:11434"), None),
        ("v6=http://[::1]:8000/v1/", "[::1]:8000", false, Some("[::1]:8000"), None),
        ("openai", "api.openai.com:443", true, None, None),
        ("openai=https://api.openai.com/v1", "api.openai.com:443", true, None, None),
        ("my:gemini", "generativelanguage.googleapis.com:443", true, None, None),
    ] {
        let (provider, _) = provider(text, false).unwrap();
        assert_eq!(provider.server.for_clients(), server, "{text}");
        assert_eq!(
            (provider.tls, provider.host.as_deref(), provider.path_prefix.as_deref()),
            (tls, host, path),
            "{text}"
        );
    }
}

#[test]
fn keys_are_variables_or_files() {
    let secrets = |text: &str, live| {
        let (_, accounts) = provider(text, live).unwrap();
        accounts.into_iter().map(|it| (it.name, it.secret)).collect::<Vec<_>>()
    };
    let variable = |name: &str| Secret::Variable(name.to_owned());
    let named = |name: &str, secret| (name.to_owned(), secret);
    assert_eq!(secrets("openai", false), [named("openai", variable("OPENAI_API_KEY"))]);
    assert_eq!(secrets("openai=KEY", false), [named("openai", variable("KEY"))]);
    assert_eq!(
        secrets("openai=KEY_A, KEY_B", false),
        [named("openai-a", variable("KEY_A")), named("openai-b", variable("KEY_B"))]
    );
    assert_eq!(
        secrets("openai=KEY_A,KEY_B", true),
        [named("openai-a", Secret::File), named("openai-b", Secret::File)]
    );
    assert_eq!(secrets("vllm=http://10.0.0.7:8000", true), [named("vllm", Secret::None)]);
    assert_eq!(secrets("vllm=http://10.0.0.7:8000,K", false), [named("vllm", variable("K"))]);
    assert_eq!(secrets("groq", false), [named("groq", variable("GROQ_API_KEY"))]);
    assert_eq!(secrets("groq=http://proxy.test", false), [named("groq", variable("GROQ_API_KEY"))]);
    assert_eq!(secrets("box:lm-studio=http://10.0.0.7:1234", false), [named("box", Secret::None)]);
    assert_eq!(
        secrets("eu:azure-openai=https://eu.openai.azure.com", false),
        [named("eu", variable("EU_API_KEY"))]
    );
}

#[test]
fn a_target_has_a_short_name_of_its_own() {
    let long = "m".repeat(100);
    let described = describe(&wish(
        &["openai=A,B", "vllm=http://10.0.0.7:8000"],
        &[
            "chat=openai/gpt-4.1-mini,vllm/meta-llama/Llama-3.3-70B",
            "other=vllm/else/Llama-3.3-70B,openai/gpt-4.1-mini",
            "openai/*=openai/*",
            &format!("long=vllm/{long},vllm/{long}x"),
        ],
    ))
    .unwrap();
    let names: Vec<_> = described.targets.iter().map(|target| target.name.as_str()).collect();
    let (short, second) = (format!("vllm-{}", "m".repeat(59)), format!("vllm-{}-2", "m".repeat(57)));
    assert_eq!(
        names,
        [
            "openai-a-gpt-4-1-mini",
            "openai-b-gpt-4-1-mini",
            "vllm-Llama-3-3-70B",
            "vllm-Llama-3-3-70B-2",
            "openai-a",
            "openai-b",
            &short,
            &second
        ]
    );
    assert!(names.iter().all(|name| name.len() <= MAX_NAME));
    let sticky: Vec<_> = described.models.iter().map(|model| model.sticky).collect();
    assert_eq!(sticky, [true, true, true, false]);
}

#[test]
fn mistakes_name_the_option() {
    let accounts: Vec<_> = (0..=MAX_ACCOUNTS).map(|number| format!("K{number}")).collect();
    for (providers, models, said) in [
        (&["vllm"][..], &[][..], "--provider vllm: it needs an address"),
        (&["bedrock"], &[], "--provider bedrock: it needs an address"),
        (&["a:opanai"], &[], "the kinds are openai, azure-openai"),
        (&["openai=1KEY"], &[], "`1KEY` is not the name of an environment variable"),
        (&["v=ftp://h"], &[], "it must begin with http:// or https://"),
        (&["v=http://u@h"], &[], "a host, a port and a path only"),
        (&["v=http://h?q"], &[], "a host, a port and a path only"),
        (&["openai", "openai=B"], &[], "two providers with the name `openai`"),
        (&["openai=A,B", "openai-a:openai"], &[], "two accounts with the name `openai-a`"),
        (&["loop:openai"], &[], "a cluster with this name for itself"),
        (&["envoy-admin:openai"], &[], "a cluster with this name for itself"),
        (&["openai"], &["chat"], "--model chat: it must be NAME=PROVIDER/MODEL"),
        (&["openai"], &["chat=gpt"], "`gpt` must be PROVIDER/MODEL"),
        (&["openai"], &["chat=opanai/gpt"], "no provider `opanai`; the providers are openai"),
        (&["openai"], &["c=openai/a", "c=openai/b"], "two models with the name `c`"),
        (&[&format!("openai={}", accounts.join(","))], &[], "26 keys at most"),
    ] {
        let problem = describe(&wish(providers, models)).unwrap_err();
        assert!(problem.contains(said), "{said}: {problem}");
    }
    let most = format!("openai={}", accounts[..MAX_ACCOUNTS].join(","));
    assert_eq!(describe(&wish(&[&most], &[])).unwrap().accounts.len(), MAX_ACCOUNTS);
    for listen in ["10000", "localhost:10000", "127.0.0.1:x", "::1:70000"] {
        let wish = Wish { listen: listen.to_owned(), ..wish(&["openai"], &[]) };
        assert!(describe(&wish).unwrap_err().contains("an IP address and a port"), "{listen}");
    }
}

#[test]
fn the_image_of_the_module_is_named_or_the_usual_one() {
    let described = |image: Option<&str>| {
        let image = image.map(str::to_owned);
        let wish =
            Wish { kubernetes: Some(Manifests::Kustomize), module_image: image, ..wish(&["openai"], &[]) };
        describe(&wish).map(|description| description.kubernetes.unwrap().module_image)
    };
    let usual = concat!("registry.example.com/llm-failsafe:", env!("CARGO_PKG_VERSION"));
    assert_eq!(described(None).unwrap(), usual);
    let longest = "a".repeat(MAX_REFERENCE);
    for good in ["r.test:5000/a/b_c:1.2-x@sha256:0123", &longest] {
        assert_eq!(described(Some(good)).unwrap(), good);
    }
    for bad in [
        "",
        "a b",
        "-a",
        "a@env@b",
        "a@",
        "a@sha256:",
        "a@sha256:x",
        "a@@sha256:1",
        "a\n",
        "a\"",
        &format!("{longest}a"),
    ] {
        assert!(described(Some(bad)).unwrap_err().contains("--module-image"), "{bad}");
    }
}

#[test]
fn a_module_is_found_from_the_folder_of_a_live_gateway() {
    for (folder, module, expected) in [
        ("gateway", "dist/f.wasm", "../dist/f.wasm"),
        ("./envoy/live", "dist/f.wasm", "../../dist/f.wasm"),
        (".", "dist/f.wasm", "dist/f.wasm"),
        ("gateway", "/opt/f.wasm", "/opt/f.wasm"),
    ] {
        assert_eq!(seen_from(Path::new(folder), module), expected, "{folder}");
    }
    assert!(seen_from(Path::new("/elsewhere"), "dist/f.wasm").starts_with('/'));
}
