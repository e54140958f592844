//! A simple implementation of the facts that reads the whole body.

use super::super::{
    Affinity, Facts, MAX_KEPT_BYTES, MAX_OPENING_BYTES, MAX_OPENING_TEXTS, MediaParts, ModelField,
    OutputFormat, OwnRouting, Reasoning, StateKind, StateSet, ToolChoice, ToolNeeds, UsageSpots,
};
use super::bodies::Json;

/// All facts except the spans and the length.
pub(super) fn facts_of(body: &Json) -> Facts {
    let mut turns = Turns::default();
    for key in ["messages", "input", "prompt", "system", "instructions"] {
        if let Some(value) = body.last(key) {
            turns.read(key, value);
        }
    }
    let mut state = turns.state.clone();
    for (key, kind) in [
        ("previous_response_id", StateKind::PreviousResponse),
        ("conversation", StateKind::Conversation),
        ("container", StateKind::Container),
        ("cached_content", StateKind::CachedContent),
    ] {
        state.extend(is_not_empty(body.last(key)).then_some(kind));
    }
    state.extend(is_true(body.last("background")).then_some(StateKind::Background));
    let google = body.last("extra_body").and_then(|extra| extra.last("google"));
    state.extend(
        is_not_empty(google.and_then(|google| google.last("cached_content")))
            .then_some(StateKind::CachedContent),
    );
    let tools = tools(body, &mut state);

    let media_bytes = ["messages", "input", "prompt", "system", "instructions"]
        .iter()
        .flat_map(|key| body.all(key))
        .map(|turns| turns.elements().iter().map(part_media_bytes).sum::<u64>())
        .sum();
    Facts {
        model: model(body.last("model")),
        model_spans: Default::default(),
        routing: OwnRouting {
            models: ["models", "fallbacks", "fallback_models", "route", "preset"]
                .iter()
                .any(|key| body.all(key).any(chooses)),
            hosts: body.all("provider").any(chooses),
        },
        stream: is_true(body.last("stream")),
        usage_spots: UsageSpots::default(),
        include_usage: is_true(body.last("stream_options").and_then(|options| options.last("include_usage"))),
        tools,
        output: output(body),
        media: turns.media,
        audio_output: body
            .last("modalities")
            .is_some_and(|list| list.elements().iter().any(|modality| modality.text() == Some("audio"))),
        image_output: body.last("modalities").is_some_and(|list| {
            list.elements().iter().any(|modality| !matches!(modality.text(), Some("text" | "audio")))
        }),
        max_output_tokens: ["max_tokens", "max_completion_tokens", "max_output_tokens"]
            .iter()
            .filter_map(|key| count(body.last(key)))
            .max(),
        n: count(body.last("n")),
        logprobs: ["logprobs", "top_logprobs"].iter().any(|key| {
            present(body.last(key)).is_some_and(|value| !value.is("false"))
                && (*key == "logprobs" || count(body.last(key)) != Some(0))
        }),
        seed: present(body.last("seed")).is_some(),
        reasoning: reasoning(body),
        sealed_reasoning: turns.sealed,
        state: StateSet::of(&state),
        references: None,
        store: boolean(body.last("store")),
        affinity: Affinity {
            prompt_cache_key: hash(body.last("prompt_cache_key")),
            user: hash(body.last("user")),
            metadata_user: hash(body.last("metadata").and_then(|metadata| metadata.last("user_id"))),
            conversation: conversation(body),
        },
        items: turns.items,
        body_bytes: 0,
        text_bytes: all_text_bytes(body) - media_bytes,
        media_bytes,
        token_ids: turns.token_ids,
    }
}

fn model(value: Option<&Json>) -> ModelField {
    match value {
        None => ModelField::Absent,
        Some(Json::Text(text)) if text.len() > MAX_KEPT_BYTES => ModelField::TooLong,
        Some(Json::Text(text)) => ModelField::Text { value: text.as_str().into() },
        Some(_) => ModelField::NotText,
    }
}

fn tools(body: &Json, state: &mut Vec<StateKind>) -> ToolNeeds {
    let list = body.last("tools").map_or(&[][..], Json::elements);
    for tool in list {
        let containers = || {
            let of_environments =
                tool.all("environment").flat_map(|environment| environment.all("container_id"));
            tool.all("container").chain(of_environments)
        };
        let files = containers().flat_map(|container| container.all("file_ids"));
        let has_files = tool.all("vector_store_ids").chain(files).any(|files| !files.elements().is_empty());
        state.extend(has_files.then_some(StateKind::File));
        state
            .extend(containers().any(|container| container.text().is_some()).then_some(StateKind::Container));
    }
    let hosted = |tool: &Json| {
        let place = tool.last("environment").and_then(|environment| present(environment.last("type")));
        present(tool.last("type")).is_some_and(|kind| match kind.text() {
            Some("function" | "custom" | "namespace" | "apply_patch" | "local_shell" | "computer") => false,
            Some("computer_use_preview" | "bash_20250124" | "text_editor_20250728" | "memory_20250818") => {
                false
            }
            Some("shell") => place.is_some_and(|place| place.text() != Some("local")),
            Some("tool_search") => tool.last("execution").and_then(Json::text) != Some("client"),
            _ => true,
        })
    };
    let strict = |tool: &Json| {
        is_true(tool.last("strict"))
            || is_true(tool.last("function").and_then(|function| function.last("strict")))
    };
    let not_empty = |key| present(body.last(key)).is_some_and(|value| *value != Json::Array(Vec::new()));
    let choice = body.last("tool_choice");
    ToolNeeds {
        count: list.len() as u32,
        hosted: list.iter().any(hosted)
            || not_empty("mcp_servers")
            || present(body.last("web_search_options")).is_some(),
        strict: list.iter().any(strict),
        choice: match choice {
            None => ToolChoice::Free,
            Some(choice) => match choice.last("type").unwrap_or(choice) {
                mode if mode.is("null") || matches!(mode.text(), Some("none" | "auto")) => ToolChoice::Free,
                _ => ToolChoice::Forced,
            },
        },
        parallel: boolean(body.last("parallel_tool_calls")).or_else(|| {
            boolean(choice.and_then(|choice| choice.last("disable_parallel_tool_use")))
                .map(|disable| !disable)
        }),
        legacy_functions: not_empty("functions"),
    }
}

fn output(body: &Json) -> OutputFormat {
    let formats = [
        body.last("response_format"),
        body.last("output_format"),
        body.last("text").and_then(|text| text.last("format")),
        body.last("output_config").and_then(|config| config.last("format")),
    ];
    let of = |format: &Json| match format {
        Json::Object(_) => match format.last("type") {
            None => OutputFormat::Text,
            Some(kind) if kind.is("null") => OutputFormat::Text,
            Some(kind) => match kind.text() {
                Some("text") => OutputFormat::Text,
                Some("json_object") => OutputFormat::JsonObject,
                Some("json_schema") => OutputFormat::JsonSchema,
                _ => OutputFormat::Other,
            },
        },
        format if format.is("null") => OutputFormat::Text,
        _ => OutputFormat::Other,
    };
    formats.into_iter().flatten().map(of).max().unwrap_or_default()
}

fn reasoning(body: &Json) -> Reasoning {
    let is_off = |value: &Json, word: &str| value.is("false") || value.text() == Some(word);
    let effort = body
        .last("reasoning_effort")
        .is_some_and(|effort| is_not_empty(Some(effort)) && !is_off(effort, "none"));
    let asks = |key: &str, off: &[(&str, &str)]| match body.last(key) {
        None | Some(Json::Array(_)) => false,
        Some(Json::Object(members)) => {
            let is_switch = |name: &str| off.iter().any(|(switch, _)| *switch == name);
            let options = || off.iter().filter_map(|(name, word)| Some((body.last(key)?.last(name)?, *word)));
            let others = || members.iter().filter(|(name, _)| !is_switch(name));
            !options().any(|(value, word)| is_off(value, word))
                && (options().any(|(value, _)| is_not_empty(Some(value)))
                    || others().any(|(_, value)| !value.is("null")))
        }
        scalar => is_not_empty(scalar) && !scalar.is_some_and(|scalar| scalar.is("false")),
    };
    let reasoning = asks("reasoning", &[("effort", "none"), ("enabled", "")]);
    let asked = effort || reasoning || asks("thinking", &[("type", "disabled")]);
    if asked { Reasoning::Asked } else { Reasoning::NotAsked }
}

#[derive(Default)]
struct Turns {
    items: u32,
    media: MediaParts,
    sealed: bool,
    state: Vec<StateKind>,
    token_ids: u64,
}

impl Turns {
    fn read(&mut self, key: &str, value: &Json) {
        if !matches!(key, "system" | "instructions") {
            self.items += value.elements().len() as u32 + u32::from(value.text().is_some());
        }
        value.elements().iter().for_each(|part| self.part(part));
        if key == "prompt" && value.all("id").any(|id| !id.is("null")) {
            self.state.push(StateKind::StoredItem);
        }
    }

    fn part(&mut self, part: &Json) {
        match part {
            Json::Array(parts) => parts.iter().for_each(|part| self.part(part)),
            Json::Bare(text) => self.token_ids += u64::from(text.parse::<f64>().is_ok()),
            Json::Text(_) => {}
            Json::Object(members) => {
                self.kind(part);
                members.iter().for_each(|(key, value)| self.member(key, value));
            }
        }
    }

    fn kind(&mut self, part: &Json) {
        match part.last("type").and_then(Json::text) {
            Some("image_url" | "input_image" | "image") => self.media.images += 1,
            Some("input_audio" | "audio") => self.media.audio += 1,
            Some("file" | "input_file" | "document") => self.media.files += 1,
            Some("redacted_thinking") => self.sealed = true,
            Some("thinking") => self.sealed |= is_not_empty(part.last("signature")),
            Some("item_reference") => self.state.push(StateKind::StoredItem),
            _ => {}
        }
    }

    fn member(&mut self, key: &str, value: &Json) {
        match key {
            "content" | "output" => self.part(value),
            "image_url" | "input_audio" | "file" | "file_data" => self.file_ids(value),
            "file_id" => self.file(value),
            "audio" => {
                let earlier = value.all("id").any(|id| !id.is("null"));
                self.state.extend(earlier.then_some(StateKind::StoredItem));
            }
            "encrypted_content" | "thought_signature" => self.sealed |= is_not_empty(Some(value)),
            "reasoning_details" => self.sealed |= has_sealed_details(value),
            "tool_calls" | "extra_content" => self.sealed |= has_thought_signature(value),
            "source" => {
                value.all("url").for_each(|url| self.file_ids(url));
                value.all("file_id").for_each(|id| self.file(id));
                value.all("content").for_each(|content| self.part(content));
            }
            _ => {}
        }
    }

    fn file_ids(&mut self, media: &Json) {
        media.elements().iter().for_each(|element| self.file_ids(element));
        if let Json::Object(members) = media {
            for (key, value) in members {
                if key == "file_id" { self.file(value) } else { self.file_ids(value) }
            }
        }
    }

    fn file(&mut self, id: &Json) {
        self.state.extend((!id.is("null")).then_some(StateKind::File));
    }
}

fn has_sealed_details(details: &Json) -> bool {
    details.elements().iter().any(has_sealed_details)
        || details.all("signature").chain(details.all("data")).any(|value| is_not_empty(Some(value)))
}

fn has_thought_signature(calls: &Json) -> bool {
    match calls {
        Json::Array(elements) => elements.iter().any(has_thought_signature),
        Json::Object(members) => members.iter().any(|(key, value)| match key.as_str() {
            "thought_signature" => is_not_empty(Some(value)),
            _ => has_thought_signature(value),
        }),
        _ => false,
    }
}

fn part_media_bytes(part: &Json) -> u64 {
    match part {
        Json::Array(parts) => parts.iter().map(part_media_bytes).sum(),
        Json::Object(members) => members
            .iter()
            .map(|(key, value)| match key.as_str() {
                "content" | "output" => part_media_bytes(value),
                "image_url" | "input_audio" | "file" | "file_data" => media_bytes(value),
                "source" => source_media_bytes(value),
                _ => 0,
            })
            .sum(),
        _ => 0,
    }
}

fn source_media_bytes(source: &Json) -> u64 {
    let is_text = source.last("type").and_then(Json::text) == Some("text");
    let data = source.all("data").filter_map(Json::text).map(|data| data.len() as u64).sum::<u64>();
    source.all("url").map(media_bytes).sum::<u64>()
        + source.all("content").map(part_media_bytes).sum::<u64>()
        + if is_text { 0 } else { data }
}

fn media_bytes(value: &Json) -> u64 {
    match value {
        Json::Bare(_) => 0,
        Json::Text(text) => text.len() as u64,
        Json::Array(elements) => elements.iter().map(media_bytes).sum(),
        Json::Object(members) => {
            members.iter().filter(|(key, _)| key != "file_id").map(|(_, value)| media_bytes(value)).sum()
        }
    }
}

fn all_text_bytes(value: &Json) -> u64 {
    match value {
        Json::Bare(_) => 0,
        Json::Text(text) => text.len() as u64,
        Json::Array(elements) => elements.iter().map(all_text_bytes).sum(),
        Json::Object(members) => members.iter().map(|(_, value)| all_text_bytes(value)).sum(),
    }
}

fn present(value: Option<&Json>) -> Option<&Json> {
    value.filter(|value| !value.is("null"))
}

fn is_not_empty(value: Option<&Json>) -> bool {
    present(value).is_some_and(|value| value.text() != Some(""))
}

fn chooses(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().any(|item| is_not_empty(Some(item))),
        Json::Object(members) => members.iter().any(|(_, value)| is_not_empty(Some(value))),
        single => is_not_empty(Some(single)),
    }
}

fn is_true(value: Option<&Json>) -> bool {
    boolean(value) == Some(true)
}

fn boolean(value: Option<&Json>) -> Option<bool> {
    match value? {
        Json::Bare(text) => text.parse().ok(),
        _ => None,
    }
}

fn count(value: Option<&Json>) -> Option<u64> {
    match value? {
        Json::Bare(text) => match text.parse::<u64>() {
            Ok(count) => Some(count),
            Err(_) => {
                text.parse::<f64>().ok().filter(|number| *number >= 0.0).map(|number| number.ceil() as u64)
            }
        },
        _ => None,
    }
}

fn hash(value: Option<&Json>) -> Option<u64> {
    let text = value?.text().filter(|text| !text.is_empty())?;
    Some(fnv(14_695_981_039_346_656_037, text.as_bytes()))
}

fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(1_099_511_628_211);
    }
    hash
}

fn conversation(body: &Json) -> Option<u64> {
    let basis = 14_695_981_039_346_656_037;
    let mut conversation = None;
    for key in ["system", "instructions", "messages", "input", "prompt"] {
        let mut texts = Vec::new();
        let Some(value) = body.last(key) else { continue };
        texts.extend(value.text());
        let is_system = matches!(key, "system" | "instructions");
        for turn in value.elements() {
            opening(turn, &mut texts);
            let is_users = turn.text().is_some() || turn.last("role").and_then(Json::text) == Some("user");
            if is_users && !is_system {
                break;
            }
        }
        let texts = texts.iter().filter(|text| !text.is_empty()).take(MAX_OPENING_TEXTS as usize);
        let hashes: Vec<_> =
            texts.map(|text| fnv(basis, &text.as_bytes()[..text.len().min(MAX_OPENING_BYTES)])).collect();
        if !hashes.is_empty() {
            let whole = hashes.iter().fold(basis, |whole, hash| fnv(whole, &hash.to_le_bytes()));
            conversation = Some(fnv(conversation.unwrap_or(basis), &whole.to_le_bytes()));
        }
    }
    conversation
}

fn opening<'b>(part: &'b Json, texts: &mut Vec<&'b str>) {
    match part {
        Json::Array(parts) => parts.iter().for_each(|part| opening(part, texts)),
        Json::Bare(_) => {}
        Json::Text(text) => texts.push(text),
        Json::Object(members) => members.iter().for_each(|(key, value)| match key.as_str() {
            "content" | "output" => opening(value, texts),
            "text" => texts.extend(value.text()),
            "source" => value.all("content").for_each(|content| opening(content, texts)),
            _ => {}
        }),
    }
}
