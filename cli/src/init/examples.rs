//! The gateways of the shipped examples, which are also the templates.

use llm_failsafe::provider::ProviderKind;

use super::description::{Account, Description, Model, Provider, Secret, Socket, Target};

/// The description of the shipped examples.
pub fn shipped(in_loop: bool) -> Description {
    let provider = |name: &str, kind, host: &str| Provider {
        name: name.to_owned(),
        kind,
        server: Socket { host: host.to_owned(), port: 443 },
        tls: true,
        host: None,
        path_prefix: None,
    };
    let account = |name: &str, provider: &str, variable: &str| Account {
        name: name.to_owned(),
        provider: provider.to_owned(),
        secret: Secret::Variable(variable.to_owned()),
    };
    let target = |name: &str, account: &str, model: &str, weight| Target {
        name: name.to_owned(),
        account: account.to_owned(),
        model: model.to_owned(),
        weight,
    };
    let socket = |host: &str, port| Socket { host: host.to_owned(), port };
    Description {
        in_loop,
        purpose: None,
        live: false,
        kubernetes: None,
        file: if in_loop { "envoy/envoy.yaml" } else { "envoy/single.yaml" }.to_owned(),
        module: "dist/llm_failsafe.wasm".to_owned(),
        listen: socket("0.0.0.0", 10000),
        admin: socket("127.0.0.1", 9901),
        probes: socket("0.0.0.0", 10001),
        providers: vec![
            provider("openai", ProviderKind::OpenAi, "api.openai.com"),
            provider("anthropic", ProviderKind::Anthropic, "api.anthropic.com"),
        ],
        accounts: vec![
            account("openai-a", "openai", "OPENAI_KEY_A"),
            account("openai-b", "openai", "OPENAI_KEY_B"),
            account("claude", "anthropic", "ANTHROPIC_KEY"),
        ],
        targets: vec![
            target("gpt-a", "openai-a", "gpt-4.1-mini", Some(2)),
            target("gpt-b", "openai-b", "gpt-4.1-mini", Some(1)),
            target("haiku", "claude", "claude-haiku-4-5", None),
        ],
        models: vec![Model {
            name: "chat".to_owned(),
            tiers: vec![vec!["gpt-a".to_owned(), "gpt-b".to_owned()], vec!["haiku".to_owned()]],
            sticky: false,
        }],
        keys: Vec::new(),
        operators: Vec::new(),
    }
}
