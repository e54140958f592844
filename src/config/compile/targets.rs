use std::rc::Rc;

use super::common::{Env, needed, number};
use super::limits::MAX_WEIGHT;
use super::names::Names;
use super::quota::LimitsOf;
use super::{offers, quota, text, translate};
use crate::base::{AccountId, FNV_BASIS, Owner, ProviderId, fnv1a};
use crate::config::compiled::{Account, AccountKey, Provider, Quota, Target};
use crate::config::keys::Secret;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::model_names::WILDCARD;
use crate::config::raw::{Mapping, RawAccount, RawCredential, RawTarget};
use crate::provider::ProviderKind;

/// The maximum length of a credential in bytes. Tokens of cloud identity providers have a few thousand.
const MAX_CREDENTIAL: usize = 8192;

pub(super) fn account(
    name: &str,
    raw: &RawAccount,
    providers: &Names<'_>,
    env: Env<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Account> {
    let provider = needed(&raw.provider, "provider", at, mistakes);
    let provider = provider.and_then(|name| provider_id(name, providers, at, mistakes));
    let key = credential(raw.key.as_ref(), env, &at.field("key"), mistakes);
    let cluster = match &raw.cluster {
        Some(cluster) => text::checked(cluster, text::cluster, &at.field("cluster"), mistakes).map(Some),
        None => Some(None),
    };
    let billing_owner = match &raw.billing_owner {
        Some(owner) => Some(text::checked(owner, text::owner, &at.field("billing_owner"), mistakes)?),
        None => None,
    };
    let billing_owner = billing_owner.map(Rc::from);
    let quota_pool = match &raw.quota_pool {
        Some(pool) => Some(text::checked(pool, text::owner, &at.field("quota_pool"), mistakes)?),
        None => None,
    };
    Some(Account {
        name: Rc::from(name),
        provider: provider?,
        key: key?,
        cluster: cluster?,
        billing_owner,
        limits: quota::quota(raw.limits.as_ref(), LimitsOf::Account, at, mistakes),
        quota_pool: quota_pool.map(Rc::from),
        owner: Owner::of(0),
    })
}

/// Envoy injects one credential per cluster, so accounts with one cluster would be the same account. The first
/// `written` accounts are those of `accounts`, the others those of targets with a key of their own.
pub(super) fn injected_once(
    accounts: &[Account],
    written: usize,
    providers: &[Option<Provider>],
    mistakes: &mut Mistakes,
) {
    let injected = accounts.iter().enumerate();
    let injected = injected.filter(|(_, account)| matches!(account.key, AccountKey::Injected));
    let cluster = |account: &Account| match &account.cluster {
        Some(cluster) => Some(cluster.clone()),
        None => Some(providers.get(account.provider.index())?.as_ref()?.cluster.clone()),
    };
    let mut seen: Vec<(String, &str)> = Vec::new();
    for (index, account) in injected {
        let Some(cluster) = cluster(account) else { continue };
        if let Some((_, other)) = seen.iter().find(|(name, _)| *name == cluster) {
            let problem = format!(
                "gets the key that Envoy injects in the cluster `{cluster}`, like `{other}`: give each account its own `cluster`"
            );
            let section = if index < written { "accounts" } else { "targets" };
            mistakes.add(&Trail::Root.field(section).field(&account.name), problem);
        } else {
            seen.push((cluster, &account.name));
        }
    }
}

fn provider_id(
    name: &str,
    providers: &Names<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<ProviderId> {
    ProviderId::from_index(providers.find(name, &at.field("provider"), mistakes)?)
}

/// The names and entries that targets refer to.
pub(super) struct Targets<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) providers: &'a [Option<Provider>],
    pub(super) accounts: &'a Names<'a>,
    pub(super) env: Env<'a>,
}

impl Targets<'_> {
    /// Compiles a target. A target with a provider of its own adds an account with the target's name to
    /// `accounts`.
    pub(super) fn target(
        &self,
        name: &str,
        raw: &RawTarget,
        accounts: &mut Vec<Option<Account>>,
        at: &Trail<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<Target> {
        let account = match (&raw.account, &raw.provider) {
            (Some(account), None) => self.shared_account(account, raw, accounts, at, mistakes),
            (None, Some(provider)) => self.own_account(name, provider, raw, accounts, at, mistakes),
            (Some(_), Some(_)) => {
                mistakes.add(
                    at,
                    "has both `account` and `provider`, expected one: an account already has a provider",
                );
                None
            }
            (None, None) => {
                if !mistakes.holds(&at.field("account")) && !mistakes.holds(&at.field("provider")) {
                    mistakes.add(at, "has neither `account` nor `provider`, expected one of them");
                }
                None
            }
        };
        let model = needed(&raw.model, "model", at, mistakes);
        let model = model.and_then(|model| text::checked(model, text::model, &at.field("model"), mistakes));
        let weight = number(raw.weight, 1, 1..=u64::from(MAX_WEIGHT), &at.field("weight"), mistakes);
        // If the provider is a mistake, the offers are still checked.
        let provider = account.and_then(|(_, provider)| self.providers.get(provider.index())?.as_ref());
        let (kind, host) = provider
            .map_or((ProviderKind::OpenAiCompatible, ""), |provider| (provider.kind, provider.host.as_str()));
        let offers = offers::offers(raw, kind, host, at, mistakes);
        let (account, provider) = account?;
        let weight = u32::try_from(weight).ok()?;
        let model: Rc<str> = Rc::from(model?);
        Some(Target {
            takes_rest: model.contains(WILDCARD),
            name: Rc::from(name),
            name_hash: fnv1a(FNV_BASIS, name.as_bytes()),
            account,
            provider,
            model,
            weight,
            limits: quota::quota(raw.limits.as_ref(), LimitsOf::Target, at, mistakes),
            offers: offers?,
            translates: translate::rules(raw.translate.as_ref(), &at.field("translate"), mistakes),
        })
    }

    fn shared_account(
        &self,
        account: &str,
        raw: &RawTarget,
        accounts: &[Option<Account>],
        at: &Trail<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(AccountId, ProviderId)> {
        if raw.key.is_some() {
            mistakes
                .add(&at.field("key"), "cannot be combined with `account`: the key of the account is used");
        }
        let position = self.accounts.find(account, &at.field("account"), mistakes)?;
        let provider = accounts.get(position)?.as_ref()?.provider;
        Some((AccountId::from_index(position)?, provider))
    }

    fn own_account(
        &self,
        name: &str,
        provider: &str,
        raw: &RawTarget,
        accounts: &mut Vec<Option<Account>>,
        at: &Trail<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(AccountId, ProviderId)> {
        if self.accounts.contains(name) {
            let problem =
                format!("creates an account `{name}`, but `accounts.{name}` also exists; rename one of them");
            mistakes.add(at, problem);
        }
        let provider = provider_id(provider, self.names, at, mistakes);
        let key = credential(raw.key.as_ref(), self.env, &at.field("key"), mistakes);
        let (provider, key) = (provider?, key?);
        let id = AccountId::from_index(accounts.len())?;
        accounts.push(Some(Account {
            name: Rc::from(name),
            provider,
            key,
            cluster: None,
            billing_owner: None,
            limits: Quota::default(),
            quota_pool: None,
            owner: Owner::of(0),
        }));
        Some((id, provider))
    }
}

/// The credential: written, from the environment, or set by Envoy. `None` is a mistake.
fn credential(
    raw: Option<&Mapping<RawCredential>>,
    env: Env<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<AccountKey> {
    let Some(Mapping(raw)) = raw else {
        return if mistakes.holds(at) { None } else { Some(AccountKey::OfClient) };
    };
    let is_injected = raw.injected == Some(true);
    if raw.injected.is_some() && (raw.env.is_some() || raw.value.is_some()) {
        mistakes.add(at, "has `injected` and a key of its own, expected one: Envoy would replace the key");
        return None;
    }
    if is_injected {
        return Some(AccountKey::Injected);
    }
    let (text, at) = match (&raw.env, &raw.value) {
        (Some(variable), None) => (from_env(variable, env, &at.field("env"), mistakes)?, at.field("env")),
        (None, Some(value)) => (value.clone(), at.field("value")),
        (Some(_), Some(_)) => {
            mistakes.add(at, "has both `env` and `value`, expected one");
            return None;
        }
        (None, None) => {
            if !mistakes.holds(&at.field("env")) && !mistakes.holds(&at.field("value")) {
                mistakes.add(at, "has none of `env`, `value` and `injected: true`, expected one of them");
            }
            return None;
        }
    };
    let secret = usable(&text).map_err(|problem| mistakes.add(&at, problem)).ok()?;
    Some(AccountKey::Own(secret))
}

/// Reads an environment variable. Its name is shown only if it looks like one, because a key pasted in its
/// place must not reach the log.
fn from_env(variable: &str, env: Env<'_>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let is_name = variable.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        mistakes.add(
            at,
            "is not the name of an environment variable such as `OPENAI_KEY`; write a key itself \
             into `value`",
        );
        return None;
    }
    let value = env(variable).filter(|value| !value.is_empty());
    if value.is_none() {
        let is_conventional = variable.len() <= 64 && !variable.bytes().any(|byte| byte.is_ascii_lowercase());
        let shown = if is_conventional { format!("`{variable}` ") } else { String::new() };
        mistakes.add(
            at,
            format!(
                "environment variable {shown}is unset or empty in the filter's VM; set it for Envoy and list it in \
                 `vm_config.environment_variables.host_env_keys`"
            ),
        );
    }
    value
}

/// A credential that is valid in a header. A line break at its end is removed, because files and
/// here-documents add one.
fn usable(text: &str) -> Result<Secret, &'static str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("holds an empty key");
    }
    if text.len() > MAX_CREDENTIAL {
        return Err("holds a key of more than 8192 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "holds a key with spaces, line breaks or other characters that are not visible ASCII; write the bare \
             key, without `Bearer`",
        );
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_visible_ascii_and_may_end_with_a_line_break() {
        for text in ["sk-1", "sk-1\n", "sk-1\r\n"] {
            assert_eq!(usable(text).unwrap().expose(), "sk-1");
        }
        for text in ["", "\n", "Bearer sk-1", "sk-1\n\n", "sk\n1", "sk\0", "sk-ä", &"x".repeat(8193)] {
            assert!(usable(text).is_err(), "{text:?}");
        }
    }
}
