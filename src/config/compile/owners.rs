//! Who owns what providers keep for conversations.
//!
//! Providers keep responses, items and files for an organisation. A key shows no organisation, so the operator
//! says with `quota_pool` which accounts are of one. Accounts with the same credential at the same provider are
//! one owner anyway: each target with a key of its own makes an account.

use std::collections::BTreeSet;

use crate::base::{Endpoint, FNV_BASIS, Owner, fnv1a};
use crate::config::compiled::{Account, Model, Provider, Target};

/// Sets the owner of each account, and which models have several.
pub(super) fn set(accounts: &mut [Account], targets: &[Target], models: &mut [Model]) {
    let owners: Vec<_> = accounts.iter().map(|account| owner_of(account, accounts)).collect();
    for (account, owner) in accounts.iter_mut().zip(owners) {
        account.owner = owner;
    }
    for model in models {
        let accounts = model.tiers.iter().flatten().filter_map(|target| {
            let target = targets.get(target.index())?;
            accounts.get(target.account.index())
        });
        let owners: BTreeSet<_> = accounts.map(|account| account.owner.number()).collect();
        model.has_many_owners = owners.len() > 1;
    }
}

/// Whether accounts of several owners keep responses for which clients may ask.
pub(super) fn several_keep_responses(
    accounts: &[Account],
    targets: &[Target],
    providers: &[Provider],
) -> bool {
    let keepers = targets.iter().filter(|target| {
        let provider = providers.get(target.provider.index());
        provider.is_some_and(|provider| provider.endpoints.contains(Endpoint::Responses))
    });
    let owners: BTreeSet<_> =
        keepers.filter_map(|target| Some(accounts.get(target.account.index())?.owner.number())).collect();
    owners.len() > 1
}

fn owner_of(account: &Account, accounts: &[Account]) -> Owner {
    let (kind, name) = match &account.quota_pool {
        Some(pool) => (b"pool/", pool),
        None => (b"acct/", &first_alike(account, accounts).name),
    };
    let hash = fnv1a(fnv1a(FNV_BASIS, kind), name.as_bytes());
    // The cast takes the lower half, which depends on every byte.
    Owner::of(hash as u32)
}

/// The first account with the same credential at the same provider.
fn first_alike<'a>(account: &'a Account, accounts: &'a [Account]) -> &'a Account {
    let key = |account: &Account| account.key.secret().map(|key| key.expose().to_owned());
    let Some(own) = key(account) else { return account };
    let mut alike = accounts.iter().filter(|other| {
        other.quota_pool.is_none() && other.provider == account.provider && key(other).as_ref() == Some(&own)
    });
    alike.next().unwrap_or(account)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::load;

    #[test]
    fn accounts_of_one_pool_or_with_one_credential_are_one_owner() {
        let config = br#"{
            "providers": {"p": {"kind": "openai"}, "q": {"kind": "openai-compatible", "host": "q.test"}},
            "accounts": {
                "a": {"provider": "p", "key": {"value": "1"}, "quota_pool": "org"},
                "b": {"provider": "q", "key": {"value": "2"}, "quota_pool": "org"},
                "c": {"provider": "p", "key": {"value": "2"}}
            },
            "targets": {
                "a": {"account": "a", "model": "m"}, "b": {"account": "b", "model": "m"},
                "c": {"account": "c", "model": "m"},
                "same": {"provider": "p", "model": "n", "key": {"value": "2"}},
                "other-key": {"provider": "p", "model": "m", "key": {"value": "3"}},
                "elsewhere": {"provider": "q", "model": "m", "key": {"value": "3"}}
            },
            "models": {
                "pool": {"targets": ["a", "b"]}, "key": {"targets": ["c", "same"]},
                "keys": {"targets": ["c", "other-key"]}, "tiers": {"tiers": [["other-key"], ["elsewhere"]]},
                "mixed": {"targets": ["a", "c"]}
            }
        }"#;
        let config = load(config, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let many: BTreeMap<_, _> =
            config.models().iter().map(|model| (&*model.name, model.has_many_owners)).collect();
        let expected = [("key", false), ("keys", true), ("mixed", true), ("pool", false), ("tiers", true)];
        assert_eq!(many, BTreeMap::from(expected));
        assert!(config.tracks_state && config.keeps_responses);
    }
}
