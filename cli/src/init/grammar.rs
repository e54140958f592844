//! Reads what the user wrote.

use std::path::{Component, Path};

use llm_failsafe::provider::{self, ProviderKind};
use ureq::http::Uri;

use super::description::{
    Account, Description, Kubernetes, Manifests, Model, Provider, Secret, Socket, Target,
};
use super::kubernetes;
use super::live;
use super::wish::Wish;

/// The names of a provider's accounts end with a letter.
const MAX_ACCOUNTS: usize = 26;
/// The filter accepts no longer name.
const MAX_NAME: usize = 64;
/// The cluster between the listeners of the loop.
const LOOP_CLUSTER: &str = "loop";

/// Where clients connect to a pod.
const IN_POD: &str = "0.0.0.0:10000";
/// Where Istio's own listeners, and the application beside a sidecar, reach the gateway.
const BESIDE_ISTIO: &str = "127.0.0.1:10000";
/// Longer than the longest name of an image with a tag and a digest.
const MAX_REFERENCE: usize = 512;

/// The gateway that the user wants. Its keys are not made yet.
pub fn describe(wish: &Wish) -> Result<Description, String> {
    let output = wish.output().display().to_string();
    if output.chars().chain(wish.module.chars()).any(char::is_control) {
        return Err("--output and --module cannot contain control characters".to_owned());
    }
    // A pod has addresses of its own, so every gateway there has the same.
    let listen = match wish.kubernetes {
        Some(Manifests::IstioSidecar | Manifests::IstioGateway) => BESIDE_ISTIO,
        Some(_) => IN_POD,
        None => &wish.listen,
    };
    let listen = socket("--listen", listen)?;
    let probes = match &wish.probes {
        Some(text) => socket("--probes", text)?,
        None => Socket { host: listen.host.clone(), port: 10001 },
    };
    if wish.single && wish.kubernetes.is_some_and(Manifests::is_istio) {
        return Err("--single: in Istio there is only the retry loop".to_owned());
    }
    let is_folder = wish.is_folder();
    // Control planes bring keys as environment variables.
    let is_live = is_folder && !wish.kubernetes.is_some_and(Manifests::is_mesh);
    let kubernetes = wish.kubernetes.map(|manifests| Kubernetes {
        manifests,
        module_image: wish.module_image.clone().unwrap_or_else(kubernetes::usual_module_image),
    });
    if let Some(bad) = kubernetes.as_ref().map(|it| &it.module_image).filter(|image| !is_reference(image)) {
        return Err(format!(
            "--module-image {bad}: it must be the name of an image, such as {}",
            kubernetes::usual_module_image()
        ));
    }
    let module = match &kubernetes {
        Some(_) => live::MODULE_IN_POD.to_owned(),
        None if wish.live => seen_from(&wish.folder(), &wish.module),
        None => wish.module.clone(),
    };
    let mut description = Description {
        in_loop: !wish.single,
        purpose: None,
        live: is_live,
        kubernetes,
        file: if is_folder { "envoy.yaml".to_owned() } else { output },
        module,
        admin: socket("--admin", &wish.admin)?,
        listen,
        probes,
        providers: Vec::new(),
        accounts: Vec::new(),
        targets: Vec::new(),
        models: Vec::new(),
        keys: Vec::new(),
        operators: Vec::new(),
    };
    for text in &wish.providers {
        let (provider, accounts) =
            provider(text, is_live).map_err(|problem| format!("--provider {text}: {problem}"))?;
        let of_proxy = accounts.iter().find_map(|account| match &account.secret {
            Secret::Variable(name) if kubernetes::is_of_proxy(name) => Some(name),
            _ => None,
        });
        if let Some(name) = of_proxy.filter(|_| wish.kubernetes.is_some_and(Manifests::is_istio)) {
            return Err(format!("--provider {text}: the variable {name} belongs to Istio's proxy"));
        }
        description.providers.push(provider);
        description.accounts.extend(accounts);
    }
    are_different("provider", description.providers.iter().map(|it| &it.name)).map_err(|problem| {
        format!("{problem}; write two accounts of one provider as NAME=KEY_A,KEY_B, and a second provider of a kind as OTHER:KIND")
    })?;
    are_different("account", description.accounts.iter().map(|it| &it.name))?;
    let clusters = description.providers.iter().map(|it| &it.name);
    let mut clusters = clusters.chain(description.accounts.iter().map(|it| &it.name));
    if let Some(name) = clusters.find(|name| [LOOP_CLUSTER, live::ADMIN_CLUSTER].contains(&name.as_str())) {
        return Err(format!("--provider {name}: the gateway has a cluster with this name for itself"));
    }
    for text in &wish.models {
        let model = model(text, &mut description).map_err(|problem| format!("--model {text}: {problem}"))?;
        description.models.push(model);
    }
    are_different("model", description.models.iter().map(|it| &it.name))?;
    are_different("key", &wish.keys)?;
    are_different("operator's key", &wish.operators)?;
    Ok(description)
}

/// The variable that SDKs read the key of this provider from.
pub fn usual_variable(provider: &str) -> String {
    format!("{}_API_KEY", provider.to_ascii_uppercase().replace('-', "_"))
}

/// Name and kind of a provider, from `NAME` or `NAME:KIND`.
pub fn name_and_kind(text: &str) -> Result<(&str, ProviderKind), String> {
    let (name, kind) = match text.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (text, None),
    };
    let kind = match kind {
        Some(kind) => {
            ProviderKind::from_name(kind).ok_or_else(|| format!("the kinds are {}", kinds().join(", ")))?
        }
        None => ProviderKind::from_name(name).unwrap_or(ProviderKind::OpenAiCompatible),
    };
    Ok((name, kind))
}

fn kinds() -> Vec<&'static str> {
    ProviderKind::ALL.iter().map(|kind| kind.name()).collect()
}

fn are_different<'n>(what: &str, names: impl IntoIterator<Item = &'n String>) -> Result<(), String> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(format!("there are two {what}s with the name `{name}`"));
        }
        seen.push(name);
    }
    Ok(())
}

fn provider(text: &str, live: bool) -> Result<(Provider, Vec<Account>), String> {
    let (head, rest) = text.split_once('=').unwrap_or((text, ""));
    let (name, kind) = name_and_kind(head)?;
    let items: Vec<_> = rest.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let (url, variables) = match items.split_first() {
        Some((first, others)) if first.contains("://") => (Some(*first), others),
        _ => (None, items.as_slice()),
    };
    if let Some(bad) = variables.iter().find(|name| !is_variable(name)) {
        return Err(format!(
            "`{bad}` is not the name of an environment variable; the key itself is not written here"
        ));
    }
    let provider = match url {
        Some(url) => called_at(url, name, kind)?,
        None => {
            let host = provider::default_host(kind)
                .ok_or_else(|| format!("it needs an address, such as {head}=https://llm.example.com"))?;
            let server = Socket { host: host.to_owned(), port: 443 };
            Provider { name: name.to_owned(), kind, server, tls: true, host: None, path_prefix: None }
        }
    };
    let needs_none = url.is_some() && !provider::needs_key(kind);
    let variables: Vec<_> = match variables {
        [] if needs_none => Vec::new(),
        [] => vec![usual_variable(name)],
        named => named.iter().map(|name| (*name).to_owned()).collect(),
    };
    Ok((provider, accounts(name, variables, live)?))
}

fn accounts(provider: &str, variables: Vec<String>, live: bool) -> Result<Vec<Account>, String> {
    let secret = |variable| if live { Secret::File } else { Secret::Variable(variable) };
    let account = |name, secret| Account { name, provider: provider.to_owned(), secret };
    if variables.len() > MAX_ACCOUNTS {
        return Err(format!("it can have {MAX_ACCOUNTS} keys at most"));
    }
    if variables.is_empty() {
        return Ok(vec![account(provider.to_owned(), Secret::None)]);
    }
    let is_only = variables.len() == 1;
    let letters = 'a'..='z';
    let name = |letter| if is_only { provider.to_owned() } else { format!("{provider}-{letter}") };
    Ok(letters.zip(variables).map(|(letter, variable)| account(name(letter), secret(variable))).collect())
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A provider at an address of its own.
fn called_at(url: &str, name: &str, kind: ProviderKind) -> Result<Provider, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(format!("{url}: it must begin with http:// or https://")),
    };
    let authority = uri.authority().map_or("", |it| it.as_str());
    if authority.contains('@') || uri.query().is_some() {
        return Err(format!("{url}: it can have a host, a port and a path only"));
    }
    let usual = if tls { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(usual);
    let host = uri.host().unwrap_or_default();
    let called = if port == usual { host.to_owned() } else { format!("{host}:{port}") };
    let path = uri.path().trim_end_matches('/');
    Ok(Provider {
        name: name.to_owned(),
        kind,
        server: Socket { host: without_brackets(host).to_owned(), port },
        tls,
        host: Some(called).filter(|it| provider::default_host(kind) != Some(it.as_str())),
        path_prefix: Some(path.to_owned())
            .filter(|path| !path.is_empty() && provider::default_prefix(kind) != Some(path.as_str())),
    })
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The model, whose targets are added to the description. All accounts of a provider make one tier.
fn model(text: &str, description: &mut Description) -> Result<Model, String> {
    let (name, rest) =
        text.split_once('=').ok_or("it must be NAME=PROVIDER/MODEL, such as chat=openai/gpt-4.1-mini")?;
    let mut tiers = Vec::new();
    for item in rest.split(',').map(str::trim) {
        let (provider, of_provider) =
            item.split_once('/').ok_or_else(|| format!("`{item}` must be PROVIDER/MODEL"))?;
        let accounts: Vec<_> = description.accounts_of(provider).map(|it| it.name.clone()).collect();
        if accounts.is_empty() {
            let known: Vec<_> = description.providers.iter().map(|it| it.name.as_str()).collect();
            return Err(format!("there is no provider `{provider}`; the providers are {}", known.join(", ")));
        }
        tiers.push(accounts.into_iter().map(|it| target(description, it, of_provider)).collect());
    }
    let sticky = tiers.iter().any(|tier: &Vec<String>| tier.len() > 1);
    Ok(Model { name: name.to_owned(), tiers, sticky })
}

/// The name of the target for this model of an account, which is added unless it exists.
fn target(description: &mut Description, account: String, model: &str) -> String {
    let is_it = |target: &&Target| target.account == account && target.model == model;
    if let Some(target) = description.targets.iter().find(is_it) {
        return target.name.clone();
    }
    let last = model.rsplit('/').next().unwrap_or_default();
    let plain: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let plain = format!("{account}-{}", plain.trim_matches('-'));
    let plain = plain.trim_end_matches('-');
    let shortened = |most: usize| plain.chars().take(most).collect::<String>();
    let mut name = shortened(MAX_NAME);
    let mut number = 2;
    while description.targets.iter().any(|target| target.name == name) {
        let end = format!("-{number}");
        name = shortened(MAX_NAME.saturating_sub(end.len())) + &end;
        number += 1;
    }
    description.targets.push(Target { name: name.clone(), account, model: model.to_owned(), weight: None });
    name
}

fn socket(option: &str, text: &str) -> Result<Socket, String> {
    let parsed =
        text.rsplit_once(':').and_then(|(host, port)| Some((without_brackets(host), port.parse().ok()?)));
    match parsed {
        // Envoy does not look up the addresses that it listens on.
        Some((host, port)) if host.parse::<std::net::IpAddr>().is_ok() => {
            Ok(Socket { host: host.to_owned(), port })
        }
        _ => Err(format!("{option} {text}: it must be an IP address and a port, such as 127.0.0.1:10000")),
    }
}

/// Whether this can be the name of an image. The registry has the last word.
fn is_reference(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, digest.strip_prefix("sha256:")),
        None => (text, Some("0")),
    };
    let is_digest = digest.is_some_and(|digits| {
        !digits.is_empty() && digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
    });
    (1..=MAX_REFERENCE).contains(&text.len())
        && is_digest
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c))
}

/// A path that begins here, as seen from a folder.
fn seen_from(folder: &Path, path: &str) -> String {
    let relative =
        |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if Path::new(path).is_absolute() {
        return path.to_owned();
    }
    if relative(folder) {
        let depth = folder.components().filter(|part| matches!(part, Component::Normal(_))).count();
        return "../".repeat(depth) + path;
    }
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
