//! The filter's own configuration.

use super::description::{Account, Description, Model, NamedDigest, Provider, Secret, Target};
use super::yaml;

/// The configuration as YAML, without indentation.
pub fn text(description: &Description) -> String {
    let mut text = String::new();
    if description.in_loop {
        text.push_str("retry_loop: true\n");
    }
    text.push_str("route_strips_headers: true\n");
    if description.is_in_istio() {
        text.push_str("metric_labels: istio\n");
    }
    let mut section = |name: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{name}:\n{}", lines.concat()));
        }
    };
    section("providers", description.providers.iter().map(|it| provider(description, it)).collect());
    section("accounts", description.accounts.iter().map(|it| account(description, it)).collect());
    section("targets", description.targets.iter().map(target).collect());
    section("models", description.models.iter().map(model).collect());
    section("keys", description.keys.iter().map(key).collect());
    let operators: String = description.operators.iter().map(key).collect();
    if !operators.is_empty() {
        section("operator", vec!["  keys:\n".to_owned(), yaml::indented(&operators, 2)]);
    }
    text
}

fn entry(name: &str, fields: &[String]) -> String {
    format!("  {}: {{ {} }}\n", yaml::text(name), fields.join(", "))
}

fn provider(description: &Description, provider: &Provider) -> String {
    let mut fields = vec![format!("kind: {}", provider.kind.name())];
    if !description.has_own_clusters(&provider.name) {
        fields.push(format!("cluster: {}", yaml::text(&description.in_envoy(&provider.name))));
    }
    fields.extend(provider.host.as_ref().map(|host| format!("host: {}", yaml::text(host))));
    fields.extend(provider.path_prefix.as_ref().map(|path| format!("path_prefix: {}", yaml::text(path))));
    entry(&provider.name, &fields)
}

fn account(description: &Description, account: &Account) -> String {
    let mut fields = vec![format!("provider: {}", yaml::text(&account.provider))];
    if description.has_own_clusters(&account.provider) {
        fields.push(format!("cluster: {}", yaml::text(&description.in_envoy(&account.name))));
    }
    match &account.secret {
        Secret::None => {}
        Secret::Variable(name) => fields.push(format!("key: {{ env: {} }}", yaml::text(name))),
        Secret::File => fields.push("key: { injected: true }".to_owned()),
    }
    entry(&account.name, &fields)
}

fn target(target: &Target) -> String {
    let mut fields = vec![
        format!("account: {}", yaml::text(&target.account)),
        format!("model: {}", yaml::text(&target.model)),
    ];
    fields.extend(target.weight.map(|weight| format!("weight: {weight}")));
    entry(&target.name, &fields)
}

fn model(model: &Model) -> String {
    let tiers: Vec<_> = model.tiers.iter().map(|tier| yaml::list(tier.iter().map(String::as_str))).collect();
    let mut fields = vec![format!("tiers: [{}]", tiers.join(", "))];
    if model.sticky {
        fields.push("balance: { strategy: sticky }".to_owned());
    }
    entry(&model.name, &fields)
}

fn key(key: &NamedDigest) -> String {
    entry(&key.name, &[format!("sha256: \"{}\"", key.sha256)])
}
