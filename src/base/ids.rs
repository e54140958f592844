//! Positions in the compiled configuration. They are valid only for the configuration that created them, so a
//! journey keeps the configuration it began with. An [`Owner`] is not one of them: it is the same in every configuration.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u16);

        impl $name {
            /// The identifier of the entry at `index`; `None` beyond 65,535.
            pub fn from_index(index: usize) -> Option<Self> {
                u16::try_from(index).ok().map(Self)
            }

            /// The entry's position in its list.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A provider: one API host of one vendor.
    ProviderId
);
id!(
    /// An account: one credential at one provider.
    AccountId
);
id!(
    /// A target: one model reached through one account.
    TargetId
);
id!(
    /// A logical model: the name that clients request.
    ModelId
);

/// Who owns what a provider keeps for conversations: an account, or all accounts of one `quota_pool`. It is a
/// hash of the name, so it means the same in every worker and every configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(u32);

impl Owner {
    /// The largest number of an owner. The bit above is free for records.
    pub const MAX: u32 = u32::MAX >> 1;

    /// The owner with this number. The highest bit is ignored.
    pub const fn of(number: u32) -> Self {
        Self(number & Self::MAX)
    }

    /// Its number, at most [`MAX`](Self::MAX).
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The owner of the state of a conversation, as earlier turns have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownOwner {
    /// The owner.
    pub owner: Owner,
    /// An earlier turn went on there without the encrypted reasoning of another owner. So the conversation may
    /// contain reasoning of both, and none of it is sent.
    pub mixed: bool,
}
