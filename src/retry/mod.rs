//! What follows a failed attempt: another target, or the end.
//!
//! The class of the failure, the model's policy and what the request has used up decide; who may be tried next is the
//! business of `fallback` and `balance`. A failure after the first byte went to the client never comes here.

use crate::base::ErrorClass;
use crate::config::Model;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another target gets the request.
    Elsewhere,
    /// The client gets this failure.
    Stop(Stop),
}

/// Why a failure went to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model's policy does not move on after this class.
    Policy,
    /// The client asked for no fallback, or there is no retry loop to fall back in.
    NotAllowed,
    /// The request has had all its attempts.
    AttemptsUsedUp,
    /// Every target that may take the request has been tried.
    NothingLeft,
}

/// What a request has used up, and whether anything is left for it.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Attempts made, the failed one included.
    pub attempts: u8,
    /// Whether the request may be attempted more than once at all.
    pub may_move: bool,
    /// Whether a target is left that may take it and has not been tried.
    pub untried: bool,
}

/// Decides what follows a failure of this class.
pub fn after_failure(model: &Model, class: ErrorClass, standing: Standing) -> Next {
    if !standing.may_move {
        Next::Stop(Stop::NotAllowed)
    } else if !model.fallback_on.contains(class) {
        Next::Stop(Stop::Policy)
    } else if standing.attempts >= model.attempts {
        Next::Stop(Stop::AttemptsUsedUp)
    } else if !standing.untried {
        Next::Stop(Stop::NothingLeft)
    } else {
        Next::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClassSet;
    use crate::config::WhenAllOpen;

    fn model(attempts: u8) -> Model {
        Model {
            name: "chat".into(),
            tiers: Vec::new(),
            balance: crate::config::Balance::default(),
            attempts,
            fallback_on: ClassSet::of(&[ErrorClass::Server, ErrorClass::Transport]),
            when_all_open: WhenAllOpen::default(),
            stream: crate::config::StreamPolicy::default(),
        }
    }

    #[test]
    fn every_rule_stops_what_it_should() {
        let fresh = Standing { attempts: 1, may_move: true, untried: true };
        let check = |class, standing| after_failure(&model(3), class, standing);
        assert_eq!(check(ErrorClass::Server, fresh), Next::Elsewhere);
        assert_eq!(check(ErrorClass::Invalid, fresh), Next::Stop(Stop::Policy));
        assert_eq!(check(ErrorClass::ClientAbort, fresh), Next::Stop(Stop::Policy));
        let standing = Standing { may_move: false, ..fresh };
        assert_eq!(check(ErrorClass::Server, standing), Next::Stop(Stop::NotAllowed));
        let standing = Standing { attempts: 3, ..fresh };
        assert_eq!(check(ErrorClass::Server, standing), Next::Stop(Stop::AttemptsUsedUp));
        let standing = Standing { untried: false, ..fresh };
        assert_eq!(check(ErrorClass::Server, standing), Next::Stop(Stop::NothingLeft));
    }
}
