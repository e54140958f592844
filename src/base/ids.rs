//! Positions in the compiled configuration. They are valid only for the configuration that created them, so a
//! journey keeps the configuration it began with.

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
