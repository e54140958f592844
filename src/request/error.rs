//! Why a scan fails.

use super::limits::{MAX_DEPTH, MAX_MODEL_MEMBERS};

/// Why a body is rejected. Offsets count bytes from the start of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The body is empty or only white space.
    #[error("the body is empty, expected a JSON object")]
    Empty,
    /// The body is not JSON.
    #[error("the body is not JSON: expected {expected} at byte {offset}")]
    NotJson {
        /// The position of the first wrong byte.
        offset: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// The body ends inside its object.
    #[error("the body ends in the middle of its JSON object, after {offset} bytes")]
    Truncated {
        /// The number of bytes received.
        offset: usize,
    },
    /// The body is a JSON value other than an object.
    #[error("the body is JSON but not an object, at byte {offset}")]
    NotAnObject {
        /// Where the value begins.
        offset: usize,
    },
    /// Objects and arrays are nested more than [`MAX_DEPTH`] deep.
    #[error("the body nests objects and arrays more than {} deep, at byte {offset}", MAX_DEPTH)]
    TooDeep {
        /// Where the first excess one begins.
        offset: usize,
    },
    /// A member spells `model` in another case. A server that ignores case could take it for the model, which nobody
    /// has checked and which is not rewritten.
    #[error(
        "the body has a member that is `model` in another case, at byte {offset}; write it in lower case"
    )]
    ModelInOtherCase {
        /// Where its value begins.
        offset: usize,
    },
    /// The member `model` is repeated more than [`MAX_MODEL_MEMBERS`] times.
    #[error("the body has more than {} members named model, at byte {offset}", MAX_MODEL_MEMBERS)]
    TooManyModels {
        /// Where the value of the first excess member begins.
        offset: usize,
    },
}
