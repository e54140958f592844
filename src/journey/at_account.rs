//! Requests for what lives at one account: a response that it has made, a file, a batch.
//!
//! They go there and nowhere else, and pass unread: no other account could answer, and an upload may have any size.

use super::exchange::{Exchange, Phase, RequestHost, RequestStep};
use super::worker::Worker;
use crate::attempt::address_to_account;
use crate::base::{AccountId, HeaderBlock, Timestamp, digest};
use crate::config::OtherPaths;
use crate::intake::{self, CallHeaders, KeptResponse, OtherPath};
use crate::ownership;
use crate::refusal::Refusal;

/// Where such a request goes.
struct Home<'p> {
    account: AccountId,
    /// What follows the version in its path; `None` if the path stays as it is.
    rest: Option<&'p str>,
}

impl Exchange {
    /// Sends a request to the account that has what it asks for. `None` if no account is configured for that.
    pub(super) fn request_at_account<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        (method, meant): (&str, &OtherPath),
        headers: &HeaderBlock,
        now: Timestamp,
        host: &mut H,
    ) -> Option<RequestStep> {
        let dialect = intake::usual_dialect(headers);
        let home = match home(worker, (method, meant), headers, now) {
            Ok(home) => home?,
            Err(refusal) => return Some(self.refuse(worker, refusal, dialect)),
        };
        let config = &*worker.generation.config;
        let call = CallHeaders::take(headers, config, host);
        if !address_to_account(config, home.account, home.rest, &call, host) {
            return Some(self.refuse(worker, Refusal::Internal, dialect));
        }
        self.phase = Phase::AtAccount;
        Some(RequestStep::Send)
    }
}

fn home<'p>(
    worker: &mut Worker,
    (method, meant): (&str, &'p OtherPath),
    headers: &HeaderBlock,
    now: Timestamp,
) -> Result<Option<Home<'p>>, Refusal> {
    if let OtherPath::Response(response) = meant
        && let Some(account) = maker(worker, (method, response), headers, now)?
    {
        return Ok(Some(Home { account, rest: Some(&response.rest) }));
    }
    let config = &worker.generation.config;
    let home = match (meant, config.resources, &config.other_paths) {
        (OtherPath::Resource(rest), Some(account), _) => Home { account, rest: Some(rest) },
        (
            OtherPath::Response(_) | OtherPath::Resource(_) | OtherPath::Unknown { hides_known: false, .. },
            _,
            OtherPaths::Account(account),
        ) => Home { account: *account, rest: None },
        _ => return Ok(None),
    };
    let key = intake::authenticate(&worker.generation, headers, now)?;
    if intake::may_use_resources(config, key) { Ok(Some(home)) } else { Err(Refusal::ResourcesNotAllowed) }
}

/// The account that has made a response: the one that is remembered, or the only one that can have. `None` if no account
/// of the configuration makes any.
fn maker(
    worker: &mut Worker,
    (method, response): (&str, &KeptResponse),
    headers: &HeaderBlock,
    now: Timestamp,
) -> Result<Option<AccountId>, Refusal> {
    let key = intake::authenticate(&worker.generation, headers, now)?;
    let keepers = intake::response_keepers(&worker.generation, key, now);
    if keepers.is_empty() {
        return Ok(None);
    }
    if !response.methods.split(", ").any(|allowed| allowed == method) {
        return Err(Refusal::Method { allowed: response.methods });
    }
    let digests = [digest(response.id.as_bytes())];
    let known = ownership::find(&mut *worker.store, digests.into_iter(), now);
    let account = match (known, keepers.as_slice()) {
        (Some(known), _) => keepers.iter().find(|(owner, _)| *owner == known.owner).map(|(_, id)| *id),
        (None, [(_, only)]) => Some(*only),
        (None, _) => None,
    };
    account.map(Some).ok_or(Refusal::ResponseNotFound)
}
