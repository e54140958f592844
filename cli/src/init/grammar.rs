//! Reads what the user wrote.

use std::path::{Component, Path};

use llm_failsafe::provider::{self, ProviderKind};
use ureq::http::Uri;

use super::description::{Account, Description, Kubernetes, Model, Provider, Secret, Socket, Target};
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
/// Longer than the longest name of an image with a tag and a digest.
const MAX_REFERENCE: usize = 512;

/// The gateway that the user wants. Its keys are not made yet.
pub fn describe(wish: &Wish) -> Result<Description, String> {
    let output = wish.output().display().to_string();
    if output.chars().chain(wish.module.chars()).any(char::is_control) {
        return Err("--output and --module cannot contain control characters".to_owned());
    }
    // A pod has addresses of its own, so every gateway there has the same.
    let listen = if wish.kubernetes.is_some() { IN_POD } else { &wish.listen };
    let listen = socket("--listen", listen)?;
    let probes = match &wish.probes {
        Some(text) => socket("--probes", text)?,
        None => Socket { host: listen.host.clone(), port: 10001 },
    };
    let is_folder = wish.is_folder();
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
        live: is_folder,
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
            provider(text, is_folder).map_err(|problem| format!("--provider {text}: {problem}"))?;
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
    let needs_none = url.is_some() && kind == ProviderKind::OpenAiCompatible;
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
            .filter(|path| !path.is_empty() && *path != provider::default_prefix(kind)),
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
    (1..=MAX_REFERENCE).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c))
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
mod tests {
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
                "groq=https://api.groq.com/openai/v1",
                "api.groq.com:443",
                true,
                Some("api.groq.com"),
                Some("/openai/v1"),
            ),
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
            (&["a:opanai"], &[], "the kinds are openai, azure-openai"),
            (&["openai=1KEY"], &[], "`1KEY` is not the name of an environment variable"),
            (&["v=ftp://h"], &[], "it must begin with http:// or https://"),
            (&["v=http://u@h"], &[], "a host, a port and a path only"),
            (&["v=http://h?q"], &[], "a host, a port and a path only"),
            (&["openai", "openai=B"], &[], "two providers with the name `openai`"),
            (&["openai=A,B", "openai-a:openai"], &[], "two accounts with the name `openai-a`"),
            (&["loop:openai"], &[], "a cluster with this name for itself"),
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
}
