//! Answers for properties, and how providers send them.

use proptest::prelude::*;
use serde_json::{Value, json};

/// An answer: reasoning, then text, then calls, so that both dialects can express it.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub reasoning: String,
    pub text: String,
    pub calls: Vec<SampleCall>,
    pub is_cut: bool,
    pub usage: [u64; 4],
}

#[derive(Debug, Clone)]
pub(super) struct SampleCall {
    pub id: String,
    pub name: &'static str,
    pub arguments: Value,
}

/// How texts are cut, and whether their characters outside ASCII are escaped.
#[derive(Debug, Clone)]
pub(super) struct Cuts {
    sizes: Vec<usize>,
    escapes: bool,
    /// Which of the calls of chat goes on next; empty if they come one after another.
    weave: Vec<usize>,
}

pub(super) fn cuts() -> impl Strategy<Value = Cuts> {
    let sizes = proptest::collection::vec(1..9_usize, 1..6);
    let weave = prop_oneof![Just(Vec::new()), proptest::collection::vec(0..4_usize, 1..9)];
    (sizes, any::<bool>(), weave).prop_map(|(sizes, escapes, weave)| Cuts { sizes, escapes, weave })
}

impl Cuts {
    /// The parts of `text`, each as a JSON string.
    fn parts(&self, text: &str) -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        let mut rest = characters.as_slice();
        let mut parts = Vec::new();
        for size in self.sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, after) = rest.split_at((*size).min(rest.len()));
            parts.push(self.quoted(&part.iter().collect::<String>()));
            rest = after;
        }
        parts
    }

    fn quoted(&self, text: &str) -> String {
        let quoted = Value::from(text).to_string();
        if !self.escapes {
            return quoted;
        }
        let escaped = |character: char| {
            let units =
                character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            if character.is_ascii() { character.to_string() } else { units }
        };
        quoted.chars().map(escaped).collect()
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["", "[a-z \"\\\\/\n\t😀é\u{1}]{1,24}", "\\PC{1,12}"]
}

fn any_call() -> impl Strategy<Value = SampleCall> {
    let arguments = prop_oneof![
        Just(json!({})),
        any_text().prop_map(|text| json!({ "input": text })),
        (any_text(), any::<i32>()).prop_map(|(text, number)| json!({"a": [text, {"b": number}], "c": null})),
    ];
    let name = prop_oneof![Just("apply_patch"), Just("mcp_lookup"), Just("get")];
    ("[a-zA-Z0-9_-]{1,12}", name, arguments).prop_map(|(id, name, arguments)| SampleCall {
        id,
        name,
        arguments,
    })
}

pub(super) fn sample() -> impl Strategy<Value = Sample> {
    let calls = proptest::collection::vec(any_call(), 0..4);
    (any_text(), any_text(), calls, any::<bool>(), proptest::array::uniform4(1..1000_u64)).prop_map(
        |(reasoning, text, calls, is_cut, usage)| {
            // A stream that is cut off before the arguments is not one of a call without arguments.
            let may_be_cut = calls.last().is_none_or(|call| call.arguments != json!({}));
            Sample { reasoning, text, calls, is_cut: is_cut && may_be_cut, usage }
        },
    )
}

impl Sample {
    fn chat_finish(&self) -> &'static str {
        match (self.is_cut, self.calls.is_empty()) {
            (true, _) => "length",
            (false, true) => "stop",
            (false, false) => "tool_calls",
        }
    }

    fn messages_finish(&self) -> &'static str {
        match (self.is_cut, self.calls.is_empty()) {
            (true, _) => "max_tokens",
            (false, true) => "end_turn",
            (false, false) => "tool_use",
        }
    }

    fn chat_usage(&self) -> Value {
        let [fresh, cached, written, output] = self.usage;
        let input = fresh + cached + written;
        json!({
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "completion_tokens_details": {"reasoning_tokens": output / 2},
        })
    }

    fn messages_usage(&self) -> Value {
        let [fresh, cached, written, output] = self.usage;
        let mut usage = json!({
            "input_tokens": fresh, "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached, "output_tokens": output,
        });
        if output > 1 {
            usage["output_tokens_details"] = json!({"thinking_tokens": output / 2});
        }
        usage
    }

    /// The plain answer of chat.
    pub(super) fn chat(&self) -> Value {
        let calls: Vec<_> = self
            .calls
            .iter()
            .map(|call| {
                let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
                json!({"id": call.id, "type": "function", "function": function})
            })
            .collect();
        let content = (calls.is_empty() || !self.text.is_empty()).then(|| self.text.clone());
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.clone().into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "m",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": self.chat_finish()}],
            "usage": self.chat_usage(),
        })
    }

    /// The plain answer of Messages.
    pub(super) fn messages(&self) -> Value {
        let mut content = Vec::new();
        if !self.reasoning.is_empty() {
            content.push(json!({"type": "thinking", "thinking": self.reasoning, "signature": ""}));
        }
        if !self.text.is_empty() {
            content.push(json!({"type": "text", "text": self.text}));
        }
        content.extend(self.calls.iter().map(
            |call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}),
        ));
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
            "stop_reason": self.messages_finish(), "stop_sequence": null, "usage": self.messages_usage(),
        })
    }

    /// The stream of chat.
    pub(super) fn chat_stream(&self, cuts: &Cuts) -> String {
        let mut deltas = vec![r#"{"role":"assistant","content":""}"#.to_owned()];
        deltas.extend(
            cuts.parts(&self.reasoning).iter().map(|part| format!(r#"{{"reasoning_content":{part}}}"#)),
        );
        deltas.extend(cuts.parts(&self.text).iter().map(|part| format!(r#"{{"content":{part}}}"#)));
        deltas.extend(self.call_deltas(cuts));
        let chunk = |choices: String, usage: Value| {
            format!(r#"data: {{"id":"chatcmpl-1","model":"m","choices":[{choices}],"usage":{usage}}}"#)
                + "\n\n"
        };
        let finish = format!(r#"{{"index":0,"delta":{{}},"finish_reason":"{}"}}"#, self.chat_finish());
        let mut stream: String = deltas
            .iter()
            .map(|delta| chunk(format!(r#"{{"index":0,"delta":{delta},"finish_reason":null}}"#), Value::Null))
            .collect();
        stream += &chunk(finish, Value::Null);
        stream += &chunk(String::new(), self.chat_usage());
        stream + "data: [DONE]\n\n"
    }

    /// The deltas of the calls, one after another or interleaved.
    fn call_deltas(&self, cuts: &Cuts) -> Vec<String> {
        let calls = self.calls.iter().enumerate();
        let begin = |(index, call): (usize, &SampleCall)| {
            let SampleCall { id, name, .. } = call;
            let function = format!(r#"{{"name":"{name}","arguments":""}}"#);
            format!(
                r#"{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{function}}}]}}"#
            )
        };
        let part = |index: usize, part: &String| {
            format!(r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":{part}}}}}]}}"#)
        };
        let parts = |(index, call): (usize, &SampleCall)| -> Vec<String> {
            cuts.parts(&call.arguments.to_string()).iter().map(|text| part(index, text)).collect()
        };
        if cuts.weave.is_empty() {
            return calls.flat_map(|call| [vec![begin(call)], parts(call)].concat()).collect();
        }
        let mut deltas: Vec<_> = calls.clone().map(begin).collect();
        let mut rest: Vec<_> = calls.map(|call| parts(call).into_iter()).collect();
        let mut turns = cuts.weave.iter().cycle();
        while rest.iter().any(|parts| parts.len() > 0) {
            let first = *turns.next().unwrap() % rest.len();
            let next = (first..first + rest.len()).map(|at| at % self.calls.len());
            let at = next.into_iter().find(|at| rest[*at].len() > 0).unwrap();
            deltas.extend(rest[at].next());
        }
        deltas
    }

    /// The stream of Messages.
    pub(super) fn messages_stream(&self, cuts: &Cuts) -> String {
        let plain = self.messages();
        let mut start = plain.clone();
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        start["usage"]["output_tokens"] = 1.into();
        let mut lines = vec![json!({"type": "message_start", "message": start}).to_string()];
        for (index, block) in plain["content"].as_array().unwrap().iter().enumerate() {
            let (empty, delta, text) = match block["type"].as_str().unwrap() {
                "text" => (json!({"type": "text", "text": ""}), ("text_delta", "text"), &block["text"]),
                "thinking" => (
                    json!({"type": "thinking", "thinking": "", "signature": ""}),
                    ("thinking_delta", "thinking"),
                    &block["thinking"],
                ),
                _ => {
                    let mut empty = block.clone();
                    empty["input"] = json!({});
                    (empty, ("input_json_delta", "partial_json"), &block["input"])
                }
            };
            lines.push(
                json!({"type": "content_block_start", "index": index, "content_block": empty}).to_string(),
            );
            let text = match text {
                Value::String(text) => text.clone(),
                input if *input == json!({}) => String::new(),
                input => input.to_string(),
            };
            lines.extend(cuts.parts(&text).iter().map(|part| {
                let (kind, key) = delta;
                format!(
                    r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{key}":{part}}}}}"#
                )
            }));
            if block["type"] == "thinking" {
                let delta = json!({"type": "signature_delta", "signature": "EqQB"});
                lines
                    .push(json!({"type": "content_block_delta", "index": index, "delta": delta}).to_string());
            }
            lines.push(json!({"type": "content_block_stop", "index": index}).to_string());
        }
        let delta = json!({"stop_reason": plain["stop_reason"], "stop_sequence": null});
        lines.push(json!({"type": "message_delta", "delta": delta, "usage": plain["usage"]}).to_string());
        lines.push(json!({"type": "message_stop"}).to_string());
        super::messages_stream(&lines.join("\n"))
    }
}
