//! What a record says about the client only as a hash, or only if it is harmless.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::builder::RecordBuilder;
use crate::base::{TargetId, looks_like_key};
use crate::config::{AskedName, FoundBy, Redact};

/// The longest unknown model name that is shown. Anything longer is not a name.
const MAX_UNKNOWN_MODEL: usize = 64;

impl RecordBuilder {
    pub(super) fn is_strict(&self) -> bool {
        self.config().record.redact == Redact::Strict
    }

    /// The name by which the client asks for its model, if it may be shown. A client may put anything into a name
    /// that is not configured.
    pub(super) fn shown_name(&self) -> Option<&AskedName> {
        let asked = self.asked_name.as_ref()?;
        let shown = match asked.found {
            FoundBy::Alias => true,
            FoundBy::Pattern(_) => !self.is_strict() && !looks_like_key(&asked.text),
            FoundBy::Default => !self.is_strict() && looks_like_a_model(&asked.text),
        };
        shown.then_some(asked)
    }

    /// What the provider of `target` calls the model, if that follows from a name that the client has made up and
    /// may be shown.
    pub(super) fn made_up_model(&self, target: TargetId) -> Option<Rc<str>> {
        self.asked_name.as_ref()?;
        let target = self.config().target(target).filter(|target| target.takes_rest)?;
        Some(target.model_for(Some(self.shown_name()?)))
    }

    /// The hash of the session's name. It is hashed because it may be a person's name or address.
    pub(super) fn session_hash(&self) -> Option<u64> {
        if let Some(session) = &self.identity.session {
            return Some(hash(session.as_bytes()));
        }
        let affinity = self.needs()?.affinity;
        let named = affinity.prompt_cache_key.or(affinity.user).or(affinity.metadata_user)?;
        Some(hash(&named.to_le_bytes()))
    }
}

#[cold]
fn hash(name: &[u8]) -> u64 {
    let mut hash = Sha256::new_with_prefix(b"llm-failsafe session\0");
    hash.update(name);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// A client may put anything into `model` by mistake, so only a plausible model name is shown.
pub(super) fn looks_like_a_model(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte);
    (1..=MAX_UNKNOWN_MODEL).contains(&name.len()) && name.bytes().all(plain) && !looks_like_key(name)
}
