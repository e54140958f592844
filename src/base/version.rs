//! Which filter this is.

/// The version of the filter.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from. Only `make release` sets it, so that other builds need not compile again after a commit.
pub const COMMIT: Option<&str> = option_env!("LLM_FAILSAFE_COMMIT");
