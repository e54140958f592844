//! The section `balance`: every strategy and every mistake.

use super::*;

fn balance_of(balance: Value) -> Balance {
    load_json(&with(smallest(), "/models/chat/balance", balance)).unwrap().models()[0].balance.clone()
}

#[test]
fn every_strategy_can_be_configured_and_weighted_is_the_default() {
    assert_eq!(load_json(&smallest()).unwrap().models()[0].balance, Balance::Weighted);
    assert_eq!(balance_of(json!({})), Balance::Weighted);
    assert_eq!(balance_of(json!({"strategy": "weighted"})), Balance::Weighted);
    assert_eq!(balance_of(json!({"strategy": "least_pending"})), Balance::LeastPending);
    assert_eq!(balance_of(json!({"strategy": "fastest"})), Balance::Fastest);
    assert_eq!(balance_of(json!({"strategy": "cheapest"})), Balance::Cheapest);
    assert_eq!(balance_of(json!({"strategy": "sticky"})), Balance::Sticky { by: SessionKey::ALL.to_vec() });
    let by = vec![SessionKey::Key, SessionKey::User];
    assert_eq!(balance_of(json!({"strategy": "sticky", "by": ["key", "user"]})), Balance::Sticky { by });
}

#[test]
fn mistakes_are_reported_with_their_paths() {
    for (balance, expected) in [
        (
            json!({"strategy": "stiky"}),
            "models.chat.balance.strategy: `stiky` is not a valid value, did you mean `sticky`?",
        ),
        (json!({"by": ["key"]}), "models.chat.balance.by: applies only to `strategy: sticky`"),
        (json!({"strategy": "sticky", "by": []}), "models.chat.balance.by: is empty, expected at least one"),
        (
            json!({"strategy": "sticky", "by": ["user", "user"]}),
            "models.chat.balance.by[1]: `user` is listed twice",
        ),
        (
            json!({"strategy": "sticky", "by": ["usr"]}),
            "models.chat.balance.by[0]: `usr` is not a session key, did you mean `user`?",
        ),
        (
            json!("sticky"),
            "models.chat.balance: found text, expected a mapping such as `{ strategy: least_pending }`",
        ),
    ] {
        check(&with(smallest(), "/models/chat/balance", balance), &[expected]);
    }
}
