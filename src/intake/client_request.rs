//! A client request as later stages see it.

use std::rc::Rc;
use std::time::Duration;

use super::paths::Spelling;
use crate::balance::Session;
use crate::base::{Endpoint, ModelId, TargetId, Timestamp, Tokens};
use crate::config::{
    AskedName, Balance, ClientKey, Config, EmptyStop, Model, Priority, ResponseModel, SealedReasoning,
    StreamPolicy, Target,
};
use crate::fallback::{ClientLimits, Encrypted, Needs};
use crate::generation::Generation;
use crate::request::Facts;

/// One client request as it was understood. It never changes: what happens to it is kept in its journey.
#[derive(Debug)]
pub struct ClientRequest {
    /// The configuration that serves it, also after a newer one has come.
    pub generation: Rc<Generation>,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// The logical model that it asks for.
    pub model: ModelId,
    /// The name by which it asks for the model, if that is not the model's own.
    pub asked_name: Option<AskedName>,
    /// How the client spelled the endpoint's path.
    pub spelling: Spelling,
    /// The facts about its body.
    pub facts: Facts,
    /// What it needs of a target.
    pub needs: Needs,
    /// The session that it belongs to, if it is balanced by session.
    pub session: Option<Session>,
    /// The client's key, by its position in the configuration.
    pub client_key: Option<usize>,
    /// A hash of the address that it comes from, if it is known and no keys are configured.
    pub address: Option<u64>,
    /// The limits that the client sets for its request.
    pub client_limits: ClientLimits,
    /// When its first attempt was chosen.
    pub began: Timestamp,
    /// How long the client waits for the first byte of its response, if it says so.
    pub patience: Option<Duration>,
    /// Its priority in a queue.
    pub priority: Priority,
    /// Attempts that Envoy has counted and this VM does not know: made before a crash of the VM or a change
    /// of its code.
    pub forgotten: u8,
}

impl ClientRequest {
    /// The configuration that serves it.
    pub fn config(&self) -> &Config {
        &self.generation.config
    }

    /// The model that it asks for.
    pub fn model(&self) -> Option<&Model> {
        self.config().model(self.model)
    }

    /// The client's key, if keys are configured.
    pub fn client_key(&self) -> Option<&ClientKey> {
        self.config().keys.as_ref()?.get(self.client_key?)
    }

    /// Whether the account that answers keeps state for a later request, which could go to another one.
    pub fn keeps_state(&self) -> bool {
        self.endpoint == Endpoint::Responses && self.config().keeps_responses
    }

    /// Whether its encrypted reasoning may be dropped for a target that cannot read it.
    pub fn may_drop_reasoning(&self) -> bool {
        self.needs.encrypted == Encrypted::Removable
            && self.model().is_some_and(|model| model.substitution.sealed_reasoning == SealedReasoning::Drop)
    }

    /// The model name that the response body is to have, if it is not the provider's.
    pub fn response_model(&self) -> Option<Rc<str>> {
        let model = self.model()?;
        let asked = || self.asked_name.as_ref().map_or(&model.name, |asked| &asked.text);
        (model.response_model == ResponseModel::Logical).then(|| Rc::clone(asked()))
    }

    /// What the provider of `target` calls the model.
    pub fn model_at(&self, target: &Target) -> Rc<str> {
        target.model_for(self.asked_name.as_ref())
    }

    /// Whether the provider of `target` gets a model's name that the client has made up, so that it is the client's
    /// doing if there is no such model.
    pub fn names_model_of(&self, target: TargetId) -> bool {
        self.asked_name.is_some() && self.config().target(target).is_some_and(|target| target.takes_rest)
    }

    /// The time limits of a response of `target`, and how it is passed on.
    pub fn stream_policy(&self, target: TargetId) -> StreamPolicy {
        let may_reason = self.config().target(target).is_none_or(|target| target.offers.may_reason());
        self.model().map_or_else(StreamPolicy::default, |model| model.stream.of_target(may_reason))
    }

    /// What an ordinary end without content or output tokens is.
    pub fn empty_stop(&self) -> EmptyStop {
        self.model().map(|model| model.empty_stop).unwrap_or_default()
    }

    /// When the client must have got something.
    pub fn deadline(&self) -> Timestamp {
        let total = self.model().map_or_else(|| StreamPolicy::default().total, |model| model.stream.total());
        self.began.after(self.patience.map_or(total, |patience| patience.min(total)))
    }

    /// The tokens that it is expected to take at `target`: the estimate that the gates use, without their
    /// margin.
    pub fn expected(&self, target: TargetId) -> Tokens {
        self.needs.expected(target, Some(&self.generation.estimates))
    }

    /// The configured name of a target, for logs.
    pub fn target_name(&self, target: TargetId) -> &str {
        self.config().target(target).map_or("?", |target| &*target.name)
    }

    /// The strategy that chooses among its targets. A request without a session is balanced by weight. One
    /// with a session whose model balances by weight keeps the conversation at the account that serves it.
    pub fn balance(&self) -> Option<&Balance> {
        const BY_SESSION: &Balance = &Balance::Sticky { by: Vec::new() };
        let strategy = &self.model()?.balance;
        Some(match (strategy, self.session) {
            (Balance::Sticky { .. }, None) => &Balance::Weighted,
            (Balance::Weighted, Some(_)) => BY_SESSION,
            _ => strategy,
        })
    }

    /// The name of that strategy.
    pub fn strategy(&self) -> Option<&'static str> {
        self.balance().map(Balance::name)
    }

    /// Whether its stream reports usage only when asked to, and the client did not ask.
    pub const fn lacks_usage(&self) -> bool {
        let reports_unasked = !matches!(self.endpoint, Endpoint::Chat | Endpoint::Completions);
        self.facts.stream && !self.facts.include_usage && !reports_unasked
    }

    /// The client key's name, if Envoy's rate-limit filter is to charge the request.
    pub fn key_to_charge(&self) -> Option<Rc<str>> {
        let key = self.client_key().filter(|_| self.config().fleet_rate_limit)?;
        Some(Rc::clone(&key.name))
    }
}
