//! Who can use the gateway.

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{Address, Listener, Manager};

/// HTTP filters that let only some clients in.
const GUARDS: [&str; 7] =
    ["ApiKeyAuth", "BasicAuth", "ExtAuthz", "ExternalProcessor", "JwtAuthentication", "OAuth2", "RBAC"];

/// Listeners through which everyone can use the operator's accounts.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let pays = subject.config.accounts().iter().any(|account| account.key.is_own());
    if subject.config.keys.is_some() || !pays {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = Vec::new();
    for position in subject.positions {
        let behind = is_guarded(position.manager);
        let own = (position.listener, position.manager);
        let entrances = position.ways.iter().map(|way| (way.listener, way.manager)).chain([own]);
        for (listener, manager) in entrances {
            let leads_there = subject.file.entrance.filter(|_| listener.address != Address::Internal);
            let public = public_address(listener).or_else(|| leads_there.map(str::to_owned));
            let Some(address) = public.filter(|_| !behind && !is_guarded(manager)) else {
                continue;
            };
            let problem = format!(
                "everyone who reaches {address} can use the providers' keys, because the filter has no `keys`"
            );
            let finding = Finding::warning(format!("{}.address", listener.path), problem)
                .write("keys: { … }   # llm-failsafe keys add NAME prints an entry; or bind to 127.0.0.1");
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

fn public_address(listener: &Listener) -> Option<String> {
    match &listener.address {
        Address::Socket(host, port) if listener.is_public() && !listener.is_guarded => {
            Some(format!("{host}:{port}"))
        }
        _ => None,
    }
}

fn is_guarded(manager: &Manager) -> bool {
    manager.filter_types.iter().any(|kind| GUARDS.contains(&kind.as_str()))
}
