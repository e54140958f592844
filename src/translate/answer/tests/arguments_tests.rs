use proptest::prelude::*;
use serde_json::Value;

use super::*;

proptest! {
    #[test]
    fn brackets_close_at_the_end_of_the_object(text in "[a-z\"\\\\{}\\[\\]é😀]{0,8}", cut in 0..64_usize) {
        let json = serde_json::json!({"a": [text, {"b": text}]}).to_string();
        let escape = |part: &str| {
            let quoted = Value::from(part).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let mut cut = cut.min(json.len() - 1);
        while !json.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut brackets = Brackets::default();
        brackets.take(escape(&json[..cut]).as_bytes());
        prop_assert!(!brackets.are_closed());
        brackets.take(escape(&json[cut..]).as_bytes());
        prop_assert!(brackets.are_closed());
    }
}
