//! Vendors and servers that speak OpenAI's API at an address, or on a path, of their own: one row each.
//!
//! What a row does not say is as with kind `openai-compatible`. Sources are in `docs/providers.md`.

use crate::base::Endpoint;
use Endpoint::{Chat, Completions, Embeddings, Images, Messages, Rerank, Responses, Speech};

/// Whose rules read the errors of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errors {
    OpenAi,
    Google,
}

/// What is particular about one vendor. All take the key as a bearer token. If one rejects
/// `stream_options.include_usage`, the filter learns that from its answer.
#[derive(Debug)]
pub(super) struct Row {
    /// The name used in configurations.
    pub name: &'static str,
    /// The name in telemetry. Those that OpenTelemetry's conventions list are theirs.
    pub gen_ai_name: &'static str,
    /// `None` if the host names a region, or is the operator's own.
    pub host: Option<&'static str>,
    /// `None` if the path names the operator's project.
    pub prefix: Option<&'static str>,
    pub endpoints: &'static [Endpoint],
    /// The prefix of `rerank`, if it is another one.
    pub rerank_prefix: Option<&'static str>,
    pub errors: Errors,
    /// Whether nobody serves requests without a key there.
    pub needs_key: bool,
}

const HOSTED: Row = Row {
    name: "",
    gen_ai_name: "",
    host: None,
    prefix: Some("/v1"),
    endpoints: &[Chat],
    rerank_prefix: None,
    errors: Errors::OpenAi,
    needs_key: true,
};

/// A server that the operator runs. Its version decides which of the endpoints it has.
const fn server(name: &'static str, gen_ai_name: &'static str) -> Row {
    Row { name, gen_ai_name, endpoints: &Endpoint::ALL, needs_key: false, ..HOSTED }
}

/// The rows, in the order of the documentation.
static ROWS: [Row; Listed::COUNT] = [
    Row {
        name: "groq",
        gen_ai_name: "groq",
        host: Some("api.groq.com"),
        prefix: Some("/openai/v1"),
        endpoints: &[Chat, Responses, Speech],
        ..HOSTED
    },
    // Its messages endpoint is deprecated.
    Row {
        name: "xai",
        gen_ai_name: "x_ai",
        host: Some("api.x.ai"),
        endpoints: &[Chat, Responses, Images],
        ..HOSTED
    },
    Row {
        name: "deepseek",
        gen_ai_name: "deepseek",
        host: Some("api.deepseek.com"),
        prefix: Some(""),
        ..HOSTED
    },
    Row {
        name: "together",
        gen_ai_name: "together_ai",
        host: Some("api.together.ai"),
        endpoints: &[Chat, Completions, Embeddings, Rerank, Images, Speech],
        ..HOSTED
    },
    Row {
        name: "fireworks",
        gen_ai_name: "fireworks_ai",
        host: Some("api.fireworks.ai"),
        prefix: Some("/inference/v1"),
        endpoints: &[Chat, Completions, Embeddings, Responses, Messages],
        ..HOSTED
    },
    Row {
        name: "cohere",
        gen_ai_name: "cohere",
        host: Some("api.cohere.ai"),
        prefix: Some("/compatibility/v1"),
        endpoints: &[Chat, Embeddings, Rerank],
        rerank_prefix: Some("/v2"),
        ..HOSTED
    },
    Row { name: "moonshot", gen_ai_name: "moonshot_ai", host: Some("api.moonshot.ai"), ..HOSTED },
    Row {
        name: "dashscope",
        gen_ai_name: "dashscope",
        host: Some("dashscope-intl.aliyuncs.com"),
        prefix: Some("/compatible-mode/v1"),
        endpoints: &[Chat, Embeddings],
        ..HOSTED
    },
    Row {
        name: "bedrock",
        gen_ai_name: "aws.bedrock",
        prefix: Some("/openai/v1"),
        endpoints: &[Chat, Responses],
        ..HOSTED
    },
    Row { name: "vertex", gen_ai_name: "gcp.vertex_ai", prefix: None, errors: Errors::Google, ..HOSTED },
    server("vllm", "vllm"),
    server("sglang", "sglang"),
    server("ollama", "ollama"),
    server("lm-studio", "lm_studio"),
];

/// One of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listed(u8);

impl Listed {
    /// How many there are.
    pub(super) const COUNT: usize = 14;

    /// The one at this position. Only constants call this, so a wrong position does not compile.
    pub(super) const fn at(position: usize) -> Self {
        assert!(position < Self::COUNT);
        Self(position as u8)
    }

    // There is no `Listed` without a row.
    #[allow(clippy::indexing_slicing)]
    pub(super) const fn row(self) -> &'static Row {
        &ROWS[self.0 as usize]
    }
}

#[cfg(test)]
#[path = "listed_tests.rs"]
mod tests;
