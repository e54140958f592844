//! What a record says about the client only as a hash, or only if it is harmless.

use sha2::{Digest, Sha256};

use super::builder::RecordBuilder;
use crate::base::looks_like_key;
use crate::config::Redact;

/// The longest unknown model name that is shown. Anything longer is not a name.
const MAX_UNKNOWN_MODEL: usize = 64;

impl RecordBuilder {
    pub(super) fn is_strict(&self) -> bool {
        self.config().record.redact == Redact::Strict
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
