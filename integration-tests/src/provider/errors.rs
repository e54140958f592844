//! The vendors' errors as scripts, with their real status, headers and body.

use serde_json::{Value, json};

use super::script::{Event, Script};

fn openai(status: u16, kind: &str, code: Value, message: &str) -> Script {
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    Script::status(status).json(json!({ "error": error })).header("x-request-id", "req_scripted")
}

/// 400, the prompt does not fit.
pub fn openai_context_length() -> Script {
    let message = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. \
                   Please reduce the length of the messages.";
    openai(400, "invalid_request_error", json!("context_length_exceeded"), message)
}

/// 400, the request is wrong.
pub fn openai_400() -> Script {
    openai(400, "invalid_request_error", json!(null), "Invalid value for 'temperature'.")
}

/// 401, a wrong key.
pub fn openai_401() -> Script {
    openai(401, "invalid_request_error", json!("invalid_api_key"), "Incorrect API key provided.")
}

/// 403, country not supported.
pub fn openai_403() -> Script {
    openai(403, "request_forbidden", json!("unsupported_country_region_territory"), "Country not supported")
}

/// 404, no such model.
pub fn openai_404() -> Script {
    openai(404, "invalid_request_error", json!("model_not_found"), "The model does not exist.")
}

/// 429 with `retry-after: 1` and an emptied request bucket.
pub fn openai_429() -> Script {
    openai(429, "requests", json!("rate_limit_exceeded"), "Rate limit reached for requests")
        .header("retry-after", "1")
        .header("x-ratelimit-limit-requests", "500")
        .header("x-ratelimit-remaining-requests", "0")
        .header("x-ratelimit-reset-requests", "1s")
}

/// 429 with code `slow_down`.
pub fn openai_slow_down() -> Script {
    openai(429, "requests", json!("slow_down"), "Please reduce the rate of your requests.")
}

/// 429 for an exhausted quota. Waiting does not help.
pub fn openai_insufficient_quota() -> Script {
    let message = "You exceeded your current quota, please check your plan and billing details.";
    openai(429, "insufficient_quota", json!("insufficient_quota"), message)
}

/// 500.
pub fn openai_500() -> Script {
    let message = "The server had an error while processing your request. Sorry about that!";
    openai(500, "server_error", json!(null), message)
}

/// 503, overloaded.
pub fn openai_503() -> Script {
    let message = "The server is currently overloaded. Please try again later.";
    openai(503, "server_error", json!("server_is_overloaded"), message)
}

/// 200 and a chat stream whose first event is an error.
pub fn openai_error_event() -> Script {
    Script::stream([Event::data(
        json!({ "error": { "message": "Internal error", "type": "server_error", "code": null } }),
    )])
}

/// 200 and a responses stream that fails after it began.
pub fn openai_response_failed() -> Script {
    let response = json!({ "id": "resp_scripted", "object": "response", "status": "failed", "output": [],
        "error": { "code": "server_error", "message": "The model failed to generate a response." } });
    let started =
        json!({ "id": "resp_scripted", "object": "response", "status": "in_progress", "output": [] });
    Script::stream([
        Event::named(
            "response.created",
            json!({ "type": "response.created", "sequence_number": 0, "response": started }),
        ),
        Event::named(
            "response.failed",
            json!({ "type": "response.failed", "sequence_number": 1, "response": response }),
        ),
    ])
}

/// 400, Azure's content filter.
pub fn azure_content_filter() -> Script {
    Script::status(400).json(json!({ "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": null, "param": "prompt", "code": "content_filter", "status": 400,
        "innererror": { "code": "ResponsibleAIPolicyViolation", "content_filter_result": {} },
    } }))
}

/// 429 from Azure, the hint in milliseconds.
pub fn azure_429() -> Script {
    Script::status(429)
        .json(json!({ "error": { "code": "429", "message": "Requests have exceeded the call rate limit." } }))
        .header("retry-after-ms", "750")
        .header("retry-after", "1")
        .header("apim-request-id", "apim-scripted")
}

fn anthropic(status: u16, kind: &str, message: &str) -> Script {
    let error = json!({ "type": kind, "message": message });
    Script::status(status)
        .json(json!({ "type": "error", "error": error, "request_id": "req_scripted" }))
        .header("request-id", "req_scripted")
}

/// 400, the request is wrong.
pub fn anthropic_400() -> Script {
    anthropic(400, "invalid_request_error", "max_tokens: Field required")
}

/// 400, the prompt does not fit.
pub fn anthropic_context_length() -> Script {
    anthropic(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
}

/// 400 for a usage limit that lasts until next month.
pub fn anthropic_usage_limit() -> Script {
    anthropic(400, "invalid_request_error", "You have reached your specified API usage limits.")
}

/// 401.
pub fn anthropic_401() -> Script {
    anthropic(401, "authentication_error", "invalid x-api-key")
}

/// 402.
pub fn anthropic_402() -> Script {
    anthropic(402, "billing_error", "Your credit balance is too low.")
}

/// 403.
pub fn anthropic_403() -> Script {
    anthropic(403, "permission_error", "Your API key does not have permission to use this model.")
}

/// 404.
pub fn anthropic_404() -> Script {
    anthropic(404, "not_found_error", "model: claude-none")
}

/// 409, retryable.
pub fn anthropic_409() -> Script {
    anthropic(409, "conflict_error", "Conflict")
}

/// 413.
pub fn anthropic_413() -> Script {
    anthropic(413, "request_too_large", "Request exceeds the maximum size")
}

/// 429 with `retry-after: 1` and the reset headers.
pub fn anthropic_429() -> Script {
    anthropic(429, "rate_limit_error", "This request would exceed your organization's rate limit.")
        .header("retry-after", "1")
        .header("anthropic-ratelimit-requests-limit", "50")
        .header("anthropic-ratelimit-requests-remaining", "0")
}

/// 429 without a hint: the spending limit.
pub fn anthropic_spend_limit() -> Script {
    anthropic(429, "rate_limit_error", "enforced_spend_limit_reached: the workspace has no budget left.")
}

/// 500.
pub fn anthropic_500() -> Script {
    anthropic(500, "api_error", "Internal server error")
}

/// 504.
pub fn anthropic_504() -> Script {
    anthropic(504, "timeout_error", "Request timed out")
}

/// 529, overloaded.
pub fn anthropic_529() -> Script {
    anthropic(529, "overloaded_error", "Overloaded")
}

/// 200 and a stream whose first event is an overloaded error.
pub fn anthropic_overloaded_event() -> Script {
    let payload =
        json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    Script::stream([Event::named("error", payload)])
}

fn gemini(code: u16, status: &str, message: &str, details: Value) -> Value {
    json!({ "error": { "code": code, "message": message, "status": status, "details": details } })
}

/// 400 for a wrong key.
pub fn gemini_api_key_invalid() -> Script {
    let details = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
        "domain": "googleapis.com" }]);
    Script::status(400).json(gemini(400, "INVALID_ARGUMENT", "API key not valid.", details))
}

/// 429 with a retry delay in the details.
pub fn gemini_429() -> Script {
    let details = json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s" }]);
    Script::status(429).json(gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted.", details))
}

/// 503, inside a one-element array as streaming endpoints send it.
pub fn gemini_503_in_array() -> Script {
    let error = gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later.", json!([]));
    Script::status(503).json(json!([error]))
}

/// 429, throttled.
pub fn bedrock_throttling() -> Script {
    Script::status(429)
        .json(json!({ "message": "Too many requests, please wait before trying again." }))
        .header("x-amzn-errortype", "ThrottlingException")
        .header("x-amzn-requestid", "amzn-scripted")
}

/// 400, the request is wrong.
pub fn bedrock_validation() -> Script {
    Script::status(400)
        .json(json!({ "message": "Malformed input request" }))
        .header("x-amzn-errortype", "ValidationException:http://internal.amazon.com/")
}

/// 422 in Mistral's flat shape.
pub fn mistral_422() -> Script {
    Script::status(422).json(json!({ "object": "error", "message": "Field required",
        "type": "invalid_request_error", "param": null, "code": "1000" }))
}

/// 429 in Mistral's flat shape.
pub fn mistral_429() -> Script {
    Script::status(429).json(json!({ "object": "error", "message": "Requests rate limit exceeded",
        "type": "rate_limited", "param": null, "code": "1300" }))
}

/// 402, no credits left.
pub fn openrouter_402() -> Script {
    Script::status(402)
        .json(json!({ "error": { "code": 402, "message": "Insufficient credits", "metadata": {} } }))
}

/// An error under 200, as one document.
pub fn openrouter_error_under_200() -> Script {
    Script::usual().json(json!({ "error": { "code": 502, "message": "Provider returned error",
        "metadata": { "provider_name": "scripted" } } }))
}

/// An error under 200, as the first event of a stream.
pub fn openrouter_error_event() -> Script {
    Script::stream([Event::data(json!({ "id": "gen-scripted", "object": "chat.completion.chunk",
        "error": { "code": 502, "message": "Provider disconnected" },
        "choices": [{ "index": 0, "delta": { "content": "" }, "finish_reason": "error" }] }))])
}
