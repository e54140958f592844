use super::common::word;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::translate::{RawTranslate, RawTranslation, TranslateRules};
use llm_failsafe_translate::{Loss, Losses, ReasoningPolicy};

/// How requests are translated for a target. Losses of cost and bookkeeping are always allowed.
pub(super) fn rules(
    raw: Option<&RawTranslate>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<TranslateRules> {
    match raw? {
        RawTranslate::Plain(false) => None,
        RawTranslate::Plain(true) => {
            Some(TranslateRules { allowed: Losses::MINOR, reasoning: ReasoningPolicy::default() })
        }
        RawTranslate::Rules(RawTranslation { allow, reasoning }) => {
            let allow_at = at.field("allow");
            let mut allowed = Losses::MINOR;
            for (index, name) in allow.iter().flatten().enumerate() {
                let Some(name) = name else { continue };
                match Loss::of_name(name) {
                    Some(loss) => allowed.add(loss),
                    None => {
                        let near = hint(name, Loss::ALL.into_iter().map(Loss::name));
                        let problem =
                            format!("`{}` is not something that a translation can lose{near}", shown(name));
                        mistakes.add(&allow_at.item(index), problem);
                    }
                }
            }
            let policies = [
                ("drop", ReasoningPolicy::Drop),
                ("keep", ReasoningPolicy::Keep),
                ("refuse", ReasoningPolicy::Refuse),
            ];
            let reasoning = word(reasoning.as_ref(), &policies, &at.field("reasoning"), mistakes);
            if reasoning == ReasoningPolicy::Refuse {
                allowed = allowed.without(Losses::default().with(Loss::PastReasoning));
            }
            Some(TranslateRules { allowed, reasoning })
        }
    }
}
