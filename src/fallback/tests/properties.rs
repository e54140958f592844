//! Properties over arbitrary targets, boundaries and needs.

use proptest::prelude::*;

use super::*;

/// Targets and boundaries of every kind, drawn from few values so that they interact.
pub fn some_targets() -> impl Strategy<Value = Value> {
    let field = |name: &'static str, values: Vec<Value>| {
        prop::option::of(prop::sample::select(values)).prop_map(move |value| (name, value))
    };
    let fields = (
        field("tools", vec![json!(true), json!(false)]),
        field("region", vec![json!("eu"), json!("us")]),
        field("zero_retention", vec![json!(true), json!(false)]),
        field("quality", vec![json!(1), json!(2), json!(3)]),
        field("price", vec![json!({"input": 1, "output": 2}), json!({"input": 3, "output": 4})]),
        field("context_window", vec![json!(4_000), json!(20_000)]),
    );
    let target = fields.prop_map(|(a, b, c, d, e, f)| {
        let written =
            [a, b, c, d, e, f].into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(written.collect())
    });
    prop::collection::vec(target, 4).prop_map(|targets| {
        let names = ["first", "other", "near", "far"];
        Value::Object(names.into_iter().map(str::to_owned).zip(targets).collect())
    })
}

/// Each kind of boundary in two strengths: the second is stricter.
pub const STRENGTHS: [(&str, [&str; 2]); 12] = [
    ("region", [r#"["eu", "us"]"#, r#"["eu"]"#]),
    ("zero_retention", ["", r#""required""#]),
    ("min_quality", ["1", "3"]),
    ("max_price", [r#"{"input": 3}"#, r#"{"input": 1, "output": 2}"#]),
    ("max_request_cost", ["1", "0.001"]),
    ("max_price_ratio", ["3", "1"]),
    ("same_billing_owner", ["false", "true"]),
    ("leave_account", [r#"["server", "timeout"]"#, "[]"]),
    ("leave_provider", [r#"["server"]"#, "[]"]),
    (
        "approved",
        [
            r#"[{"from": "first", "to": "far"}, {"from": "first", "to": "other"}]"#,
            r#"[{"from": "first", "to": "far"}]"#,
        ],
    ),
    ("targets", [r#"{"deny": ["near"]}"#, r#"{"allow": ["first", "far"], "deny": ["near"]}"#]),
    ("providers", [r#"{"allow": ["near", "far"]}"#, r#"{"allow": ["near"]}"#]),
];

fn some_needs() -> impl Strategy<Value = Needs> {
    let (tools, state, long) = (any::<bool>(), any::<bool>(), any::<bool>());
    (tools, state, long).prop_map(|(tools, state, long)| {
        let mut body = json!({"max_tokens": 100});
        if tools {
            body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        }
        if state {
            body["previous_response_id"] = json!("r");
        }
        if long {
            body["messages"] = json!([{"role": "user", "content": "x".repeat(30_000)}]);
        }
        chat(body)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Each boundary is absent, weak or strict. One step stricter in any of them admits no further target.
    #[test]
    fn tightening_never_admits_more(
        targets in some_targets(),
        needs in some_needs(),
        levels in prop::collection::vec(0..3_usize, STRENGTHS.len()),
        at in 0..STRENGTHS.len(),
        failed in prop::option::of(prop::sample::select(
            vec![ErrorClass::Server, ErrorClass::Timeout, ErrorClass::ContextLength]
        )),
    ) {
        let of = |levels: &[usize]| {
            let mut fallback = json!({});
            for ((name, strengths), level) in STRENGTHS.iter().zip(levels) {
                let written = level.checked_sub(1).map_or("", |level| strengths[level]);
                if !written.is_empty() {
                    fallback[*name] = serde_json::from_str(written).unwrap();
                }
            }
            config(targets.clone(), fallback)
        };
        let mut tighter = levels.clone();
        tighter[at] = (tighter[at] + 1).min(2);
        let (loose, tight) = (of(&levels), of(&tighter));
        let failed: Vec<_> = failed.into_iter().map(|class| ("first", class)).collect();
        for name in ["first", "other", "near", "far"] {
            if closed(&tight, name, &needs, &failed).is_empty() {
                let before = closed(&loose, name, &needs, &failed);
                prop_assert!(before.is_empty(), "{} {}", STRENGTHS[at].0, name);
            }
        }
    }

    /// An admitted target meets every requirement, checked again without the gates.
    #[test]
    fn no_target_is_admitted_against_a_boundary(
        targets in some_targets(),
        needs in some_needs(),
        region in prop::option::of(prop::sample::select(vec!["eu", "us"])),
        quality in prop::option::of(1..4_u64),
        most in prop::option::of(prop::sample::select(vec![1_u64, 3])),
    ) {
        let mut fallback = json!({"zero_retention": "required"});
        if let Some(region) = region { fallback["region"] = json!([region]); }
        if let Some(quality) = quality { fallback["min_quality"] = json!(quality); }
        if let Some(most) = most { fallback["max_price"] = json!({"input": most}); }
        let config = config(targets.clone(), fallback);
        for name in ["first", "other", "near", "far"] {
            if !closed(&config, name, &needs, &[]).is_empty() {
                continue;
            }
            let written = &targets[name];
            prop_assert_eq!(&written["zero_retention"], &json!(true));
            if let Some(region) = region { prop_assert_eq!(&written["region"], &json!(region)); }
            if let Some(quality) = quality { prop_assert!(written["quality"].as_u64().unwrap() >= quality); }
            if let Some(most) = most { prop_assert!(written["price"]["input"].as_u64().unwrap() <= most); }
            // What is not declared at the equal of the first choice is that one's, and is otherwise open.
            let is_equal = matches!(name, "first" | "near");
            let declared = |field: &str| match &written[field] {
                Value::Null if is_equal => targets["first"][field].clone(),
                own => own.clone(),
            };
            if needs.capabilities.contains(Capability::Tools) {
                let tools = declared("tools");
                prop_assert!(tools == json!(true) || (is_equal && tools.is_null()), "{}", name);
            }
            let window = declared("context_window").as_u64().unwrap_or(if is_equal { u64::MAX } else { 8_192 });
            prop_assert!(needs.size.tokens() + needs.asked_output.unwrap_or(0) <= window, "{}", name);
            if !needs.state.is_empty() { prop_assert!(name == "first" || name == "other"); }
        }
    }

    /// A client's own limits only restrict.
    #[test]
    fn a_client_never_loosens(
        targets in some_targets(), needs in some_needs(), eu in any::<bool>(), no_fallback in any::<bool>()
    ) {
        let config = config(targets, json!({"region": ["eu", "us"], "min_quality": 2}));
        let regions = eu.then(|| vec![Rc::from("eu"), Rc::from("moon")]);
        let client = ClientLimits { regions, no_fallback };
        for name in ["first", "other", "near", "far"] {
            if closed_for(&config, name, &needs, &[], &client, NOON).is_empty() {
                prop_assert!(closed(&config, name, &needs, &[]).is_empty());
            }
        }
    }
}
