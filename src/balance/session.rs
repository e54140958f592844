//! Which requests belong to one session, for the strategy `sticky`.

use crate::base::{FNV_BASIS, HeaderBlock, fnv1a, mix};
use crate::config::{Balance, SessionKey};
use crate::request::Affinity;

/// What related requests have in common, as a hash. It is used to choose among targets and shown nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session(u64);

impl Session {
    /// The session with this hash.
    pub const fn of(hash: u64) -> Self {
        Self(hash)
    }

    /// A hash of this session and `salt`, spread over all 64 bits.
    pub const fn hash_with(self, salt: u64) -> u64 {
        mix(self.0 ^ mix(salt))
    }

    /// A number below `bound` that replaces a random draw. So a share of the traffic always consists of the
    /// same sessions, and includes more of them as the share grows.
    pub fn draw(self, salt: u64, bound: u32) -> u32 {
        // The result is below `bound`, so the cast loses nothing.
        ((u128::from(self.hash_with(salt)) * u128::from(bound)) >> 64) as u32
    }
}

/// The session identifiers that a request carries.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionHints {
    /// Hash of the header `x-llm-session`.
    pub header: Option<u64>,
    /// Hash of the name of the client's key.
    pub client_key: Option<u64>,
}

impl SessionHints {
    /// Reads the headers of a client whose key is called `key_name`.
    pub fn read(headers: &HeaderBlock, key_name: Option<&str>) -> Self {
        let header = headers.get_bytes("x-llm-session").map(<[u8]>::trim_ascii);
        let header = header.filter(|value| !value.is_empty()).map(|value| fnv1a(FNV_BASIS, value));
        Self { header, client_key: key_name.map(|name| fnv1a(FNV_BASIS, name.as_bytes())) }
    }

    /// The session that the request's conversation makes, whatever the strategy.
    pub fn conversation(self, affinity: Affinity) -> Option<Session> {
        self.by(&[SessionKey::Session, SessionKey::PromptCacheKey, SessionKey::Conversation], affinity)
    }

    /// The request's session, if `how` uses sessions and the request has one.
    pub fn session(self, how: &Balance, affinity: Affinity) -> Option<Session> {
        let Balance::Sticky { by } = how else { return None };
        self.by(by, affinity)
    }

    fn by(self, by: &[SessionKey], affinity: Affinity) -> Option<Session> {
        by.iter().find_map(|key| {
            let hash = match key {
                SessionKey::Session => self.header?,
                SessionKey::PromptCacheKey => affinity.prompt_cache_key?,
                SessionKey::User => affinity.user.or(affinity.metadata_user)?,
                SessionKey::Conversation => affinity.conversation?,
                SessionKey::Key => self.client_key?,
            };
            // A user and a session of the same name must differ.
            Some(Session(mix(hash.wrapping_add(*key as u64))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky(by: &[SessionKey]) -> Balance {
        Balance::Sticky { by: by.to_vec() }
    }

    #[test]
    fn the_first_identifier_present_makes_the_session() {
        let headers = HeaderBlock::of(&[("x-llm-session", "s1")]);
        let affinity = Affinity {
            prompt_cache_key: Some(1),
            user: Some(2),
            metadata_user: Some(3),
            conversation: Some(4),
        };
        let all = SessionHints::read(&headers, Some("team-a"));
        let none = SessionHints::default();
        for known in SessionKey::ALL {
            let how = sticky(&[known]);
            let session = all.session(&how, affinity);
            assert!(
                session.is_some() && session == all.session(&sticky(&[known, SessionKey::Key]), affinity)
            );
            assert_eq!(none.session(&how, Affinity::default()), None);
            for other in SessionKey::ALL.into_iter().filter(|other| *other != known) {
                assert_ne!(session, all.session(&sticky(&[other]), affinity));
            }
        }
        assert_eq!(all.session(&Balance::Weighted, affinity), None);
        let user = Affinity { metadata_user: Some(2), ..Affinity::default() };
        assert_eq!(
            none.session(&sticky(&[SessionKey::Session, SessionKey::User]), user),
            all.session(&sticky(&[SessionKey::User]), affinity),
            "`user` and `metadata.user_id` say the same"
        );
    }

    #[test]
    fn a_growing_share_keeps_its_sessions_and_adds_more() {
        let inside = |share: u32| -> Vec<u64> {
            (0..1000).filter(|hash| Session::of(*hash).draw(0, 1000) < share).collect()
        };
        let (some, more) = (inside(300), inside(600));
        assert!(some.len().abs_diff(300) < 75 && more.len().abs_diff(600) < 75);
        assert!(some.iter().all(|session| more.contains(session)));
    }
}
