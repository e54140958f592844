//! What the translator of an answer needs to know of the request.

/// What the translation of an answer takes from its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerContext {
    /// Whether the client asked for a stream.
    pub streamed: bool,
    /// Whether a chat client asked for the usage at the end of its stream (`stream_options.include_usage`).
    pub include_usage: bool,
    /// The provider's names of the tools that take plain text: in Responses they have `type: custom`, at the
    /// provider they are functions with the one string argument `input`. As insides of JSON strings.
    pub custom_tools: Vec<Box<[u8]>>,
    /// The tools that have another name at the provider.
    pub renamed_tools: Vec<RenamedTool>,
}

/// A tool that has another name at the provider. All texts are insides of JSON strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenamedTool {
    /// The name that the provider knows.
    pub provider: Box<[u8]>,
    /// The name that the client knows.
    pub client: Box<[u8]>,
    /// The `namespace` of the tool in Responses: the member of that name in the client's `function_call`.
    pub namespace: Option<Box<[u8]>>,
}

impl AnswerContext {
    /// Whether the tool that the provider calls `name` takes plain text.
    pub fn is_custom(&self, name: &[u8]) -> bool {
        self.custom_tools.iter().any(|custom| **custom == *name)
    }

    /// The tool that has the name `name` at the provider, if the client knows it by another name.
    pub fn renamed(&self, name: &[u8]) -> Option<&RenamedTool> {
        self.renamed_tools.iter().find(|tool| *tool.provider == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_by_the_name_that_the_provider_knows() {
        let tool = RenamedTool {
            provider: (*b"a_b").into(),
            client: (*b"b").into(),
            namespace: Some((*b"a").into()),
        };
        let context = AnswerContext {
            custom_tools: vec![(*b"apply_patch").into()],
            renamed_tools: vec![tool.clone()],
            ..AnswerContext::default()
        };
        assert!(context.is_custom(b"apply_patch") && !context.is_custom(b"a_b"));
        assert_eq!(context.renamed(b"a_b"), Some(&tool));
        assert_eq!(context.renamed(b"b"), None);
    }
}
