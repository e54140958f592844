//! The bounds of a configuration that other code or the documentation names.

/// The maximum number of providers.
pub const MAX_PROVIDERS: usize = 64;
/// The maximum number of entries of `accounts`. Each target with its own provider adds one account to them.
pub const MAX_ACCOUNTS: usize = 256;
/// The maximum number of targets.
pub const MAX_TARGETS: usize = 512;
/// The maximum number of logical models.
pub const MAX_MODELS: usize = 256;
/// The maximum number of aliases of one model.
pub const MAX_ALIASES: usize = 64;
/// The maximum number of client keys.
pub const MAX_CLIENT_KEYS: usize = 1000;
/// The maximum number of digests of one key: the old and the new one while the key is rotated.
pub const MAX_DIGESTS: usize = 2;
/// The maximum number of operators' keys.
pub const MAX_OPERATOR_KEYS: usize = 32;
/// The maximum number of headers that are set for one provider, and of those that are forwarded to it.
pub const MAX_HEADERS: usize = 32;
/// The maximum number of tiers of one model.
pub const MAX_TIERS: usize = 16;
/// The maximum number of attempts per request, including the first.
pub const MAX_ATTEMPTS: u8 = 10;
/// The maximum weight of a target.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// The maximum of `limits.max_body`, in bytes.
pub const MAX_BODY_BYTES: u64 = 256 * 1024 * 1024;
/// The maximum of `limits.max_held_bytes`, in bytes.
pub const MAX_HELD_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// The maximum of `limits.max_journeys`.
pub const MAX_JOURNEYS: usize = 100_000;
/// The maximum of `breaker.probes`: a breaker's shared record has room for this many leases.
pub const MAX_PROBES: u8 = 4;
