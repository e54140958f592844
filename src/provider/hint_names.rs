//! The members of error bodies that hold a wait.

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds from now.
    Seconds,
    /// Only a moment is meant.
    Moment,
}

/// Members that hold a wait or a moment, and what a small number in them counts. Letter case, `_` and `-` do
/// not matter.
const MEMBERS: [(&str, Unit); 27] = [
    ("retryaftermilliseconds", Unit::Milliseconds),
    ("retryafterms", Unit::Milliseconds),
    ("xmsretryafterms", Unit::Milliseconds),
    ("resetsinms", Unit::Milliseconds),
    ("retrydelayms", Unit::Milliseconds),
    ("retryafterseconds", Unit::Seconds),
    ("retryaftersec", Unit::Seconds),
    ("retryafter", Unit::Seconds),
    ("retryin", Unit::Seconds),
    ("retryinseconds", Unit::Seconds),
    ("retrydelay", Unit::Seconds),
    ("quotaresetdelay", Unit::Seconds),
    ("resetsinseconds", Unit::Seconds),
    ("resetinseconds", Unit::Seconds),
    ("resetafterseconds", Unit::Seconds),
    ("resetafter", Unit::Seconds),
    ("resetsin", Unit::Seconds),
    ("resetin", Unit::Seconds),
    ("waitseconds", Unit::Seconds),
    ("quotaresettimestamp", Unit::Seconds),
    ("retryat", Unit::Seconds),
    ("resetat", Unit::Seconds),
    ("resetsat", Unit::Seconds),
    ("resettime", Unit::Seconds),
    ("nextreset", Unit::Seconds),
    ("xratelimitreset", Unit::Seconds),
    ("ratelimitreset", Unit::Seconds),
];

/// The longest name of a member that is compared, in bytes.
const MAX_MEMBER_NAME: usize = 32;

/// Whether a member of this name holds a wait.
pub(super) fn is_hint(name: &str) -> bool {
    unit(name).is_some()
}

/// The place of a member in [`MEMBERS`], and what a number in it counts.
pub(super) fn unit(name: &str) -> Option<(usize, Unit)> {
    if name.len() > MAX_MEMBER_NAME {
        return None;
    }
    let is_same = |known: &str| {
        let letters = name.bytes().filter(|byte| *byte != b'_' && *byte != b'-');
        letters.map(|byte| byte.to_ascii_lowercase()).eq(known.bytes())
    };
    MEMBERS.iter().enumerate().find(|(_, (known, _))| is_same(known)).map(|(place, (_, unit))| (place, *unit))
}
