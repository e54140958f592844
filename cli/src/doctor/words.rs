//! Words of the status report, in plain English. A newer gateway may send words that are not known here.

/// What a failure means.
pub fn failure(class: &str) -> String {
    let known = match class {
        "transport" => "the connection failed",
        "timeout" => "there was no answer in time",
        "overloaded" => "the provider is overloaded",
        "server" => "the provider answers with errors",
        "rate_limited" => "its rate limit was reached",
        "quota_exhausted" => "the account is out of money or quota",
        "auth" => "the provider does not accept the key, or has suspended the account",
        "permission" => "the account may not use this",
        "not_found" => "the provider does not know the model or the path",
        "model_quota" => "the allowance for this model is used up",
        "empty" => "answers have no content",
        "malformed" => "answers cannot be read",
        "redirected" => "the provider redirects",
        "stream_truncated" => "streams end too early",
        "stream_error" => "streams report errors",
        "stream_stalled" => "streams stall",
        other => return other.to_owned(),
    };
    format!("{known} (`{class}`)")
}

/// Why a breaker opened. `in_a_row` counts the failures since the last success.
pub fn rule(rule: &str, in_a_row: u64) -> String {
    match rule {
        "consecutive" if in_a_row > 1 => format!("because of {in_a_row} failures in a row"),
        "consecutive" => "because of failures in a row".to_owned(),
        "ratio" => "because of too large a share of failures".to_owned(),
        "blocked" => "because the provider refuses the account".to_owned(),
        "probe" => "because the last probe failed".to_owned(),
        "unanswered" => "because several clients left before it began to answer".to_owned(),
        other => format!("because of the rule `{other}`"),
    }
}

/// What to do about a failure.
pub fn advice(class: &str) -> &'static str {
    match class {
        "transport" => {
            "check the cluster of this provider in Envoy (`check` finds a missing one), then DNS, TLS and the network"
        }
        "auth" => "check the key at the provider; put a new one into Envoy's environment and restart Envoy",
        "quota_exhausted" | "model_quota" => {
            "pay or raise the limit at the provider, then give the order `probe`"
        }
        "not_found" => {
            "check `model` and `path_prefix` of the target: the provider may have withdrawn the model"
        }
        "redirected" => "check `host` and `path_prefix` of the provider",
        _ => "see the provider's status page and the decision records; the breaker probes by itself",
    }
}

/// A span of time, roughly.
pub fn span(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (ms, text) in [
            (999, "0 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn every_rule_makes_a_sentence() {
        assert_eq!(rule("consecutive", 5), "because of 5 failures in a row");
        // A gateway that does not send the number.
        assert_eq!(rule("consecutive", 0), "because of failures in a row");
        assert_eq!(rule("novel", 5), "because of the rule `novel`");
        for known in ["ratio", "blocked", "probe", "unanswered"] {
            let said = rule(known, 5);
            assert!(said.starts_with("because ") && !said.contains('`'), "{said}");
        }
    }
}
