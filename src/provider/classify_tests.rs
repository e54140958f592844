use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::provider::{MAX_ERROR_BODY, MAX_NAME};
use ErrorClass::*;
use ProviderKind::{
    Anthropic, AzureOpenAi as Azure, Gemini, Mistral, OpenAi, OpenAiCompatible as Compatible, OpenRouter,
};

fn none() -> HeaderBlock {
    HeaderBlock::default()
}

fn waits() -> HeaderBlock {
    HeaderBlock::of(&[("retry-after", "7")])
}

fn check(kind: ProviderKind, status: u16, body: &str, expected: ErrorClass) -> Failure {
    let failure = classify(kind, status, &none(), body.as_bytes());
    assert_eq!(failure.class, expected, "{kind:?} {status} {body}");
    failure
}

fn openai(kind: Value, code: Value, message: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

fn anthropic(kind: &str, message: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"})
        .to_string()
}

fn gemini(code: u16, status: &str, message: &str, details: Value) -> String {
    json!({"error": {"code": code, "message": message, "status": status, "details": details}}).to_string()
}

fn mistral(kind: &str, code: Value, message: Value) -> String {
    json!({"object": "error", "message": message, "type": kind, "param": null, "code": code}).to_string()
}

fn openrouter(code: u16, message: &str, metadata: Value) -> String {
    json!({"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "user_1"})
        .to_string()
}

#[test]
fn openais_errors_are_told_apart() {
    let invalid = "invalid_request_error";
    for (status, kind, code, message, expected) in [
        (
            400,
            json!(invalid),
            json!("context_length_exceeded"),
            "This model's maximum context length is 8192 tokens.",
            ContextLength,
        ),
        (400, json!(invalid), json!(null), "Invalid value for 'temperature'.", Invalid),
        (
            400,
            json!(invalid),
            json!("invalid_prompt"),
            "Your prompt was flagged as potentially violating our usage policy.",
            ContentPolicy,
        ),
        (400, json!(invalid), json!("invalid_prompt"), "Invalid prompt: messages[0].", Invalid),
        (400, json!(invalid), json!("content_policy_violation"), "Your request was rejected.", ContentPolicy),
        (401, json!(invalid), json!("invalid_api_key"), "Incorrect API key provided: sk-…", Auth),
        (401, json!(invalid), json!(null), "You didn't provide an API key.", Auth),
        (
            403,
            json!("request_forbidden"),
            json!("unsupported_country_region_territory"),
            "Country not supported",
            Permission,
        ),
        (
            403,
            json!(invalid),
            json!(null),
            "You have insufficient permissions for this operation.",
            Permission,
        ),
        (
            403,
            json!(invalid),
            json!("model_not_found"),
            "Project `p` does not have access to model `m`",
            NotFound,
        ),
        (404, json!(invalid), json!("model_not_found"), "The model `m` does not exist", NotFound),
        (
            400,
            json!(invalid),
            json!("previous_response_not_found"),
            "Previous response with id 'r' not found.",
            Invalid,
        ),
        (
            429,
            json!("tokens"),
            json!("rate_limit_exceeded"),
            "Rate limit reached for gpt-4o on tokens per min (TPM).",
            RateLimited,
        ),
        (
            429,
            json!("tokens"),
            json!("rate_limit_exceeded"),
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 43817.",
            TooLarge,
        ),
        (429, json!("rate_limit_error"), json!("slow_down"), "Slow down.", RateLimited),
        (503, json!("service_unavailable_error"), json!("slow_down"), "Slow down.", RateLimited),
        (
            429,
            json!("insufficient_quota"),
            json!("insufficient_quota"),
            "You exceeded your current quota.",
            QuotaExhausted,
        ),
        (429, json!("insufficient_quota"), json!(null), "You exceeded your current quota.", QuotaExhausted),
        (429, json!("insufficient_quota"), json!("credit_balance_exhausted"), "No credits.", QuotaExhausted),
        (429, json!("billing"), json!("credit_balance_exhausted"), "No credits.", QuotaExhausted),
        (429, json!("billing"), json!("project_spend_limit_exceeded"), "Limit.", QuotaExhausted),
        (429, json!("billing"), json!("organization_spend_limit_exceeded"), "Limit.", QuotaExhausted),
        (429, json!("billing"), json!("organization_usage_limit_exceeded"), "Limit.", QuotaExhausted),
        (500, json!("server_error"), json!(null), "The server had an error.", Server),
        (503, json!("service_unavailable_error"), json!("server_is_overloaded"), "Overloaded.", Overloaded),
    ] {
        check(OpenAi, status, &openai(kind, code, message), expected);
    }
}

#[test]
fn a_missing_item_of_the_client_is_not_a_missing_model() {
    let body = |param: &str| json!({"error": {"message": "Not found.", "type": "invalid_request_error", "param": param}});
    check(OpenAi, 404, &body("previous_response_id").to_string(), Invalid);
    check(OpenAi, 404, &body("input").to_string(), Invalid);
    check(OpenAi, 404, &body("model").to_string(), NotFound);
    check(OpenAi, 404, "", NotFound);
}

#[test]
fn azures_errors_are_told_apart() {
    let filtered = json!({"error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": null, "param": "prompt", "code": "content_filter", "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": true, "severity": "medium"}}},
    }});
    let failure = check(Azure, 400, &filtered.to_string(), ContentPolicy);
    assert_eq!((failure.kind.as_deref(), failure.code.as_deref()), (None, Some("content_filter")));
    let inner_only =
        json!({"error": {"message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}}});
    check(Azure, 400, &inner_only.to_string(), ContentPolicy);
    check(
        Azure,
        401,
        r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key."}}"#,
        Auth,
    );
    check(Azure, 401, r#"{"statusCode":401,"message":"Access denied."}"#, Auth);
    check(
        Azure,
        404,
        r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}"#,
        NotFound,
    );
    check(Azure, 404, r#"{"error":{"code":"404","message":"Resource not found"}}"#, NotFound);
    check(
        Azure,
        429,
        r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation have exceeded call rate limit."}}"#,
        RateLimited,
    );
    check(Azure, 408, r#"{"error":{"code":"Timeout","message":"The operation was timeout."}}"#, Timeout);
    check(Azure, 500, r#"{"error":{"code":"InternalServerError","message":"m"}}"#, Server);
}

#[test]
fn anthropics_errors_are_told_apart() {
    for (status, kind, message, expected) in [
        (400, "invalid_request_error", "max_tokens: Field required", Invalid),
        (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", ContextLength),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 198214 + 8192 > 200000",
            ContextLength,
        ),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain access on 2026-12-01.",
            QuotaExhausted,
        ),
        (
            400,
            "invalid_request_error",
            "You have reached your specified workspace API usage limits.",
            QuotaExhausted,
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            QuotaExhausted,
        ),
        (400, "invalid_request_error", "Output blocked by content filtering policy", ContentPolicy),
        (401, "authentication_error", "invalid x-api-key", Auth),
        (402, "billing_error", "There is a problem with your billing.", QuotaExhausted),
        (403, "permission_error", "Your API key may not use this resource.", Permission),
        (404, "not_found_error", "model: claude-x", NotFound),
        (409, "conflict_error", "Conflict.", Server),
        (413, "request_too_large", "Request exceeds the maximum size", TooLarge),
        (429, "rate_limit_error", "This request would exceed your organization's rate limit.", RateLimited),
        (500, "api_error", "Internal server error", Server),
        (504, "timeout_error", "Timed out", Timeout),
        (529, "overloaded_error", "Overloaded", Overloaded),
    ] {
        let failure = check(Anthropic, status, &anthropic(kind, message), expected);
        assert_eq!(failure.kind.as_deref(), Some(kind));
    }
}

#[test]
fn anthropics_monthly_cap_is_no_rate_limit() {
    let body = json!({"type": "error", "error": {
        "type": "rate_limit_error", "message": "Your organization has reached its monthly limit.",
        "details": {"error_code": "enforced_spend_limit_reached"},
    }});
    let failure = check(Anthropic, 429, &body.to_string(), QuotaExhausted);
    assert_eq!(failure.code.as_deref(), Some("enforced_spend_limit_reached"));
    let waiting = classify(Anthropic, 429, &waits(), body.to_string().as_bytes());
    assert_eq!(waiting.class, RateLimited);
}

#[test]
fn a_client_that_has_itself_quoted_blocks_no_account() {
    let quoting = "messages.0: unexpected role 'You have reached your specified API usage limits'";
    check(Anthropic, 400, &anthropic("invalid_request_error", quoting), Invalid);
    let quoting = "Invalid value: 'API key not valid'";
    check(Gemini, 400, &gemini(400, "INVALID_ARGUMENT", quoting, json!([])), Invalid);
}

#[test]
fn geminis_errors_are_told_apart_with_and_without_the_array() {
    let bad_key = json!([
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
        {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": "m"},
    ]);
    let quota = |id: &str| {
        json!([
            {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "d", "url": "u"}]},
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaMetric": "m", "quotaId": id, "quotaValue": "20"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"},
        ])
    };
    let minute = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
    let day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
    let none = json!([]);
    for (code, status, message, details, expected) in [
        (400, "INVALID_ARGUMENT", "Invalid JSON payload received.", none.clone(), Invalid),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", bad_key, Auth),
        (400, "INVALID_ARGUMENT", "Missing or invalid Authorization header.", none.clone(), Auth),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            none.clone(),
            ContextLength,
        ),
        (
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            none.clone(),
            Permission,
        ),
        (402, "FAILED_PRECONDITION", "Prepaid balance used up.", none.clone(), QuotaExhausted),
        (403, "PERMISSION_DENIED", "m", none.clone(), Permission),
        (404, "NOT_FOUND", "models/x is not found", none.clone(), NotFound),
        (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", quota(minute), RateLimited),
        (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", quota(day), QuotaExhausted),
        (429, "RESOURCE_EXHAUSTED", "m", none.clone(), RateLimited),
        (500, "INTERNAL", "m", none.clone(), Server),
        (503, "UNAVAILABLE", "The model is overloaded.", none.clone(), Overloaded),
        (504, "DEADLINE_EXCEEDED", "m", none, Timeout),
    ] {
        let body = gemini(code, status, message, details);
        let failure = check(Gemini, code, &body, expected);
        assert_eq!(failure, check(Gemini, code, &format!("[{body}\n]"), expected));
        assert_eq!(failure.kind.as_deref(), Some(status));
        assert_eq!(failure.code, Some(code.to_string().into()));
    }
}

#[test]
fn mistrals_flat_errors_are_told_apart() {
    let no_room = "Service tier capacity exceeded for this model.";
    for (status, kind, code, message, expected) in [
        (
            400,
            "invalid_request_error",
            json!("3051"),
            json!("Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
            ContextLength,
        ),
        (400, "invalid_request_error", json!(null), json!("Invalid model: x"), Invalid),
        (401, "invalid_request_error", json!(null), json!("Unauthorized"), Auth),
        (402, "invalid_request_error", json!(null), json!("Payment required"), QuotaExhausted),
        (403, "invalid_request_error", json!(null), json!("Forbidden"), Permission),
        (404, "invalid_request_error", json!(null), json!("Not found"), NotFound),
        (
            422,
            "invalid_request_error",
            json!(null),
            json!({"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required"}]}),
            Invalid,
        ),
        (429, "rate_limited", json!("1300"), json!("Rate limit exceeded"), RateLimited),
        (429, "invalid_request_error", json!(null), json!(no_room), Overloaded),
        (429, "service_tier_capacity_exceeded", json!("3505"), json!(no_room), Overloaded),
        (500, "internal_server_error", json!("1000"), json!("m"), Server),
        (503, "internal_server_proxy_error", json!("1000"), json!("m"), Overloaded),
    ] {
        let failure = check(Mistral, status, &mistral(kind, code, message), expected);
        assert_eq!(failure.kind.as_deref(), Some(kind));
    }
    check(Mistral, 401, r#"{"detail":"Unauthorized"}"#, Auth);
    check(Mistral, 429, r#"{"message":"Requests rate limit exceeded","request_id":"1"}"#, RateLimited);
}

#[test]
fn openrouters_errors_are_told_apart() {
    let flagged =
        json!({"reasons": ["violence"], "flagged_input": "…", "provider_name": "OpenAI", "model_slug": "m"});
    let upstream = |raw: &str| json!({"provider_name": "Azure", "raw": raw});
    for (code, message, metadata, expected) in [
        (400, "Provider returned error", upstream(r#"{"error":{"message":"bad"}}"#), Invalid),
        (
            400,
            "Provider returned error",
            upstream(r#"{"error":{"message":"This model's maximum context length is 8192 tokens."}}"#),
            ContextLength,
        ),
        (400, "m", json!({"error_type": "context_length_exceeded"}), ContextLength),
        (401, "User not found.", json!(null), Auth),
        (402, "Insufficient credits", json!(null), QuotaExhausted),
        (403, "Your chosen model requires moderation and your input was flagged", json!(null), ContentPolicy),
        (403, "Flagged", flagged, ContentPolicy),
        (403, "m", json!({"error_type": "content_policy_violation"}), ContentPolicy),
        (403, "This key may not use that model", json!(null), Permission),
        (404, "No endpoints found for m.", json!(null), NotFound),
        (408, "Timed out", json!(null), Timeout),
        (429, "Rate limit exceeded: free-models-per-min.", json!(null), RateLimited),
        (502, "Provider returned error", json!(null), Server),
        (503, "No instances available", json!(null), Overloaded),
        (529, "Overloaded", json!(null), Overloaded),
    ] {
        let body = openrouter(code, message, metadata);
        let failure = check(OpenRouter, code, &body, expected);
        assert_eq!(
            failure_in_success(OpenRouter, body.as_bytes()),
            Some(failure.clone()),
            "under a 200: {body}"
        );
        assert_eq!(classify_event(OpenRouter, body.as_bytes()), Some(failure), "in a stream: {body}");
    }
    let waiting = classify(OpenRouter, 402, &waits(), openrouter(402, "m", json!(null)).as_bytes());
    assert_eq!(waiting.class, RateLimited);
}

#[test]
fn servers_like_openais_may_use_any_shape() {
    for (status, body, expected) in [
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"error":{"message":"You passed 1015 input tokens. However, the model's context length is only 1024 tokens.","type":"BadRequestError","param":"input_tokens","code":400}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"object":"error","message":"max_tokens must be at least 1, got -186.","type":"BadRequestError","code":400}"#,
            Invalid,
        ),
        (401, r#"{"error":"Unauthorized"}"#, Auth),
        (
            404,
            r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}"#,
            NotFound,
        ),
        (404, r#"{"detail":"Not Found"}"#, NotFound),
        (404, r#"{"error":"model 'x' not found"}"#, NotFound),
        (
            413,
            r#"{"error":{"message":"Request too large for model `m`","type":"tokens","code":"rate_limit_exceeded"}}"#,
            TooLarge,
        ),
        (429, r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, Overloaded),
        (429, r#"{"error":{"message":"m","type":"engine_overloaded_error"}}"#, Overloaded),
        (429, r#"{"error":{"message":"m","type":"exceeded_current_quota_error"}}"#, QuotaExhausted),
        (500, r#"{"object":"error","message":"m","type":"InternalServerError","code":500}"#, Server),
        (503, "upstream connect error or disconnect/reset before headers", Overloaded),
        (502, "<html><body>502 Bad Gateway</body></html>", Server),
    ] {
        check(Compatible, status, body, expected);
    }
}

#[test]
fn without_a_readable_body_the_status_alone_decides() {
    for (status, expected) in [
        (302, Server),
        (400, Invalid),
        (401, Auth),
        (402, QuotaExhausted),
        (403, Permission),
        (404, NotFound),
        (405, Invalid),
        (408, Timeout),
        (409, Server),
        (410, NotFound),
        (413, TooLarge),
        (415, Invalid),
        (422, Invalid),
        (424, Server),
        (425, Server),
        (429, RateLimited),
        (431, Invalid),
        (451, Permission),
        (499, Server),
        (500, Server),
        (501, Server),
        (502, Server),
        (503, Overloaded),
        (504, Timeout),
        (520, Server),
        (524, Timeout),
        (529, Overloaded),
        (599, Server),
        (999, Server),
    ] {
        for kind in ProviderKind::ALL {
            let failure = classify(kind, status, &none(), b"");
            assert_eq!(failure, Failure { class: expected, kind: None, code: None }, "{kind:?} {status}");
        }
    }
}

#[test]
fn a_body_past_the_limit_is_read_up_to_it() {
    let padding = "x".repeat(MAX_ERROR_BODY);
    let error = r#""error":{"type":"insufficient_quota"}"#;
    check(OpenAi, 429, &format!(r#"{{{error},"p":"{padding}"}}"#), QuotaExhausted);
    check(OpenAi, 429, &format!(r#"{{"p":"{padding}",{error}}}"#), RateLimited);
    check(OpenAi, 429, &openai(json!("insufficient_quota"), json!(null), &padding), RateLimited);
}

#[test]
fn a_byte_order_mark_hides_nothing() {
    check(OpenAi, 429, "\u{feff} {\"error\":{\"type\":\"insufficient_quota\"}}", QuotaExhausted);
}

#[test]
fn names_are_cut_between_characters_and_never_carry_control_characters() {
    let long = format!("{}é{}", "a".repeat(MAX_NAME - 1), "b".repeat(100));
    let failure = check(OpenAi, 400, &openai(json!(long), json!("a\r\nx-injected: 1"), "m"), Invalid);
    assert_eq!(failure.kind.as_deref(), Some("a".repeat(MAX_NAME - 1).as_str()));
    assert_eq!(failure.code, None);
}

#[test]
fn an_answer_that_speaks_of_errors_is_none() {
    let answers = [
        json!({"id": "1", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "{\"error\":{\"type\":\"server_error\"}}", "refusal": null}}]}),
        json!({"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [{"function": {"name": "error", "arguments": "{}"}}]}}]}),
        json!({"choices": [{"finish_reason": "stop", "message": {"error": {"message": "not mine"}}}]}),
        json!({"object": "response", "status": "completed", "error": null, "output": [{"type": "message", "error": {"code": "x"}}]}),
        json!({"object": "response", "status": "in_progress", "error": null}),
        json!({"type": "response.created", "response": {"object": "response", "status": "in_progress", "error": null}}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "tool_use", "name": "error", "input": {"error": {"type": "x"}}}]}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "\"error\""}}),
        json!({"choices": [], "error": ""}),
        json!({"choices": [], "error": {"code": null, "message": ""}}),
        json!({"choices": [], "error": false}),
        json!([{"id": "error"}, {"error": {"message": "only the first counts"}}]),
        json!("error"),
        json!({"choices": [{"finish_reason": "content_filter"}], "prompt_filter_results": [{"content_filter_results": {"error": {"code": "content_filter_error", "message": "m"}}}]}),
    ];
    for kind in ProviderKind::ALL {
        for answer in &answers {
            assert_eq!(failure_in_success(kind, answer.to_string().as_bytes()), None, "{answer}");
            assert_eq!(classify_event(kind, answer.to_string().as_bytes()), None, "{answer}");
        }
        assert_eq!(classify_event(kind, b"[DONE]"), None);
    }
}

#[test]
fn an_error_under_a_200_is_found_in_every_shape() {
    for (kind, body, expected) in [
        (OpenAi, json!({"error": {"message": "m", "type": "server_error", "code": null}}), Server),
        (
            OpenAi,
            json!({"object": "response", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "m"}, "output": []}),
            RateLimited,
        ),
        (OpenAi, json!({"object": "response", "status": "failed", "error": null}), Server),
        (
            Anthropic,
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            Overloaded,
        ),
        (Gemini, json!([{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]), Overloaded),
        (
            Mistral,
            json!({"object": "error", "message": "m", "type": "rate_limited", "code": "1300"}),
            RateLimited,
        ),
        (OpenRouter, json!({"id": "gen-1", "choices": [], "error": {"code": 502, "message": "m"}}), Server),
        (
            OpenRouter,
            json!({"choices": [{"finish_reason": "error", "error": {"code": 429, "message": "m"}}]}),
            RateLimited,
        ),
        (
            Compatible,
            json!({"error": {"message": "The input (5000 tokens) is longer than the model's context length (4096 tokens).", "code": 400}}),
            ContextLength,
        ),
        (Compatible, json!({"error": {"message": "m", "type": "BadRequestError", "code": 400}}), Invalid),
        (Compatible, json!({"error": "something"}), Server),
        (Compatible, json!({"choices": [{"finish_reason": "error", "message": {"content": ""}}]}), Server),
    ] {
        let found = failure_in_success(kind, body.to_string().as_bytes());
        assert_eq!(found.map(|failure| failure.class), Some(expected), "{body}");
    }
}

#[test]
fn an_error_event_tells_its_class_or_is_a_stream_error() {
    for (kind, data, expected) in [
        (
            OpenAi,
            json!({"error": {"message": "The server had an error", "type": "server_error", "code": null}}),
            Server,
        ),
        (
            OpenAi,
            json!({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": null, "sequence_number": 3}),
            RateLimited,
        ),
        (
            OpenAi,
            json!({"type": "error", "sequence_number": 1, "error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "m", "param": "input"}}),
            ContextLength,
        ),
        (
            OpenAi,
            json!({"type": "response.failed", "sequence_number": 1, "response": {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "m"}, "output": []}}),
            Server,
        ),
        (OpenAi, json!({"type": "response.failed", "response": {"status": "failed"}}), StreamError),
        (OpenAi, json!({"error": {"message": "m", "type": "insufficient_quota"}}), QuotaExhausted),
        (Azure, json!({"error": {"code": "content_filter", "message": "m"}}), ContentPolicy),
        (
            Anthropic,
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            Overloaded,
        ),
        (
            Anthropic,
            json!({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}),
            RateLimited,
        ),
        (Anthropic, json!({"type": "error", "error": {"type": "api_error", "message": "m"}}), Server),
        (Anthropic, json!({"type": "error", "error": {"type": "timeout_error", "message": "m"}}), Timeout),
        (
            Gemini,
            json!([{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]),
            RateLimited,
        ),
        (
            Mistral,
            json!({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}),
            StreamError,
        ),
        (
            OpenRouter,
            json!({"id": "g", "error": {"code": "server_error", "message": "Provider disconnected"}, "choices": [{"finish_reason": "error"}]}),
            Server,
        ),
        (
            Compatible,
            json!({"error": {"object": "error", "message": "m", "type": "BadRequestError", "code": 400}}),
            Invalid,
        ),
        (Compatible, json!({"error": {"message": "who knows"}}), StreamError),
        (Compatible, json!({"error": "who knows"}), StreamError),
    ] {
        let found = classify_event(kind, data.to_string().as_bytes());
        assert_eq!(found.map(|failure| failure.class), Some(expected), "{data}");
    }
}

#[test]
fn an_error_too_large_to_be_read_is_still_an_error() {
    let event =
        json!({"error": {"type": "overloaded_error", "message": "x".repeat(MAX_ERROR_BODY)}}).to_string();
    assert_eq!(classify_event(OpenAi, event.as_bytes()).map(|failure| failure.class), Some(StreamError));
}

#[test]
fn hostile_bodies_leave_the_decision_to_the_status() {
    let deep =
        |open: &str, close: &str, n: usize| format!("{{\"error\":{}{}}}", open.repeat(n), close.repeat(n));
    let bodies = [
        deep("[", "]", 5_000),
        deep("{\"error\":", "}", 1_500),
        deep("{\"a\":[", "", 2_000),
        r#"{"error":{"type":7,"code":{"a":1},"message":["x"],"details":7,"metadata":"x","innererror":[]}}"#
            .to_owned(),
        r#"{"error":{"code":1e400}}"#.to_owned(),
        r#"{"error":{"code":-99999999999999999999}}"#.to_owned(),
        r#"{"error":{"type":"\ud800"}}"#.to_owned(),
        r#"{"error":null,"error":7}"#.to_owned(),
        "{\"error\"".to_owned(),
        "[[[[{\"error\":{}}]]]]".to_owned(),
        "null".to_owned(),
    ];
    for kind in ProviderKind::ALL {
        for body in &bodies {
            assert_eq!(classify(kind, 500, &none(), body.as_bytes()).class, Server);
            assert_eq!(classify(kind, 429, &none(), body.as_bytes()).class, RateLimited);
            let _ = (failure_in_success(kind, body.as_bytes()), classify_event(kind, body.as_bytes()));
        }
        let not_utf8 = b"{\"error\":{\"type\":\"\xff\xfe\"}}";
        assert_eq!(classify(kind, 400, &none(), not_utf8).class, Invalid);
    }
}

/// Error bodies with any member of any type, so that the readers of every vendor see what they do not expect.
fn oddly_typed() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        "error",
        "type",
        "code",
        "status",
        "message",
        "details",
        "metadata",
        "reason",
        "violations",
        "quotaId",
        "innererror",
        "choices",
        "response",
        "param",
        "detail",
        "object",
        "finish_reason",
        "error_type",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u16..700).prop_map(Value::from),
        "\\PC{0,80}".prop_map(Value::from),
        prop::sample::select(vec!["error", "failed", "content_filter", "429"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(Value::from_iter),
        ]
    })
    .prop_map(|value| value.to_string().into_bytes())
}

proptest! {
    #[test]
    fn no_body_makes_it_panic_and_names_stay_short(
        body in prop_oneof![oddly_typed(), prop::collection::vec(any::<u8>(), 0..400)],
        cut in 0..2_000_usize,
        kind in prop::sample::select(ProviderKind::ALL.to_vec()),
        status: u16,
        waiting: bool,
    ) {
        let body = body.get(..cut).unwrap_or(&body);
        let headers = if waiting { waits() } else { none() };
        let failures = [
            Some(classify(kind, status, &headers, body)),
            failure_in_success(kind, body),
            classify_event(kind, body),
        ];
        for name in failures.into_iter().flatten().flat_map(|failure| [failure.kind, failure.code]).flatten() {
            prop_assert!(!name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control));
        }
    }

    #[test]
    fn bytes_that_are_no_json_leave_the_decision_to_the_status(
        body in "[^{\\[]{0,200}",
        kind in prop::sample::select(ProviderKind::ALL.to_vec()),
        status in 300_u16..600,
    ) {
        prop_assert_eq!(classify(kind, status, &none(), body.as_bytes()).class, by_status(status));
    }
}

#[test]
fn bedrocks_errors_are_told_by_status_and_header() {
    for (status, name, expected) in [
        (400, "ValidationException:http://internal.amazon.com/", ErrorClass::Invalid),
        (400, "ServiceQuotaExceededException", ErrorClass::RateLimited),
        (403, "AccessDeniedException", ErrorClass::Permission),
        (404, "ResourceNotFoundException", ErrorClass::NotFound),
        (408, "ModelTimeoutException", ErrorClass::Timeout),
        (424, "ModelErrorException", ErrorClass::Server),
        (424, "ModelStreamErrorException", ErrorClass::Server),
        (429, "ThrottlingException", ErrorClass::RateLimited),
        (429, "ModelNotReadyException", ErrorClass::RateLimited),
        (500, "InternalServerException", ErrorClass::Server),
        (503, "ServiceUnavailableException", ErrorClass::Overloaded),
    ] {
        let headers = HeaderBlock::of(&[("x-amzn-errortype", name)]);
        let body = br#"{"message":"Too bad."}"#;
        let failure = classify(ProviderKind::OpenAiCompatible, status, &headers, body);
        assert_eq!(failure.class, expected, "{status} {name}");
    }
}
