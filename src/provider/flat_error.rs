//! Recognises errors that have none of the dialects' formats.
//!
//! Vendors and relays send them under a success status: `{"code":1002,"msg":"busy"}`, `{"detail":"…"}`,
//! `{"errors":[…]}`, `{"error":true}`. Only an object that has nothing of an answer is looked at here,
//! because an answer may have members of these names.

use crate::base::json::{first_element, is_filled, members};

/// Codes with which vendors say that all is well.
const GOOD_CODES: [&[u8]; 9] =
    [b"0", b"200", b"null", b"\"\"", b"\"0\"", b"\"200\"", b"\"ok\"", b"\"OK\"", b"\"success\""];

/// What an object says, as far as it tells an error from anything else.
#[derive(Default)]
struct Signs {
    /// A member that only errors have.
    certain: bool,
    /// A code; whether it is one of success.
    code: Option<bool>,
    /// A text about what happened.
    message: bool,
    /// A type, and it is not one of an error.
    other_type: bool,
}

/// Whether an object without an answer is an error in a vendor's flat format.
pub fn is_flat_error(body: &[u8]) -> bool {
    let mut signs = Signs::default();
    for (name, value) in first_element(body).into_iter().flat_map(members) {
        signs.read(name, value);
    }
    signs.certain
        || signs.message
            && match signs.code {
                Some(is_good) => !is_good,
                // An event of an unknown type may well have a message.
                None => !signs.other_type,
            }
}

impl Signs {
    fn read(&mut self, name: &[u8], value: &[u8]) {
        let is_text = value.starts_with(b"\"");
        match name {
            b"error" => {
                self.certain |= !matches!(value, b"null" | b"false" | b"\"\"" | b"0" | b"[]");
            }
            b"errors" | b"detail" | b"error_msg" | b"error_message" | b"errmsg" | b"err_msg" => {
                self.certain |= is_filled(value);
            }
            b"error_code" | b"errcode" | b"err_code" => self.certain |= !GOOD_CODES.contains(&value),
            b"success" => self.certain |= value == b"false",
            b"base_resp" => {
                let mut codes = members(value).filter(|(name, _)| *name == b"status_code");
                self.certain |= codes.any(|(_, code)| !GOOD_CODES.contains(&code));
            }
            b"code" => self.code = Some(GOOD_CODES.contains(&value)),
            b"message" | b"msg" => self.message |= is_text && is_filled(value),
            b"type" | b"object" => self.other_type |= is_text && !says_error(value),
            _ => {}
        }
    }
}

fn says_error(text: &[u8]) -> bool {
    text.windows(5).any(|part| part.eq_ignore_ascii_case(b"error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_any_vendor_are_recognized() {
        for body in [
            r#"{"code":1002,"msg":"busy"}"#,
            r#"{"code":"InternalError","message":"x","request_id":"1"}"#,
            r#"{"error_code":110,"error_msg":"token expired"}"#,
            r#"{"errcode":5}"#,
            r#"{"detail":"Internal Server Error"}"#,
            r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
            r#"{"message":"no healthy upstream"}"#,
            r#"{"errors":[{"message":"x"}],"success":false}"#,
            r#"{"error":true}"#,
            r#"{"error":{}}"#,
            r#"{"error":1}"#,
            r#"{"success":false}"#,
            r#"{"id":"1","choices":null,"base_resp":{"status_code":1004,"status_msg":"no"}}"#,
            r#"{"type":"about:blank","status":500,"title":"x","detail":"y"}"#,
            r#"{"type":"server_error","message":"x"}"#,
            r#"[{"message":"x"}]"#,
            r#"{"object":"error","message":"x"}"#,
        ] {
            assert!(is_flat_error(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn anything_else_is_no_error() {
        for body in [
            "{}",
            "null",
            "[]",
            r#"{"error":null}"#,
            r#"{"error":false,"errors":[]}"#,
            r#"{"code":0,"msg":""}"#,
            r#"{"code":500}"#,
            r#"{"code":0,"message":"success","data":{}}"#,
            r#"{"type":"response.queued","message":"x"}"#,
            r#"{"object":"chat.completion.chunk","message":"searching"}"#,
            r#"{"message":{"role":"assistant","content":"x"},"done":false}"#,
            r#"{"base_resp":{"status_code":0,"status_msg":"success"}}"#,
            r#"{"object":"chat.completion.chunk","id":"x"}"#,
        ] {
            assert!(!is_flat_error(body.as_bytes()), "{body}");
        }
    }
}
