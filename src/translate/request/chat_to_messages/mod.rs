//! Chat requests to Messages requests.

mod conversation;
mod parts;
mod settings;
mod tools;
mod turns;

use super::super::Loss;
use super::super::json::{Raw, Writer};
use super::claude::Claude;
use super::effort::Effort;
use super::notes::Notes;
use super::terms::{RequestTerms, Untranslatable};
use conversation::Conversation;
use settings::{Circumstances, Plan};
use tools::Choice;
use turns::End;

/// The longest `metadata.user_id`.
const MAX_USER_BYTES: usize = 256;

/// The members of a chat request that Messages has, too.
#[derive(Debug, Default)]
struct ChatRequest<'a> {
    messages: Option<Raw<'a>>,
    tools: Option<Raw<'a>>,
    tool_choice: Option<Raw<'a>>,
    parallel_tool_calls: Option<Raw<'a>>,
    response_format: Option<Raw<'a>>,
    reasoning_effort: Option<Raw<'a>>,
    max_completion_tokens: Option<Raw<'a>>,
    max_tokens: Option<Raw<'a>>,
    temperature: Option<Raw<'a>>,
    top_p: Option<Raw<'a>>,
    top_k: Option<Raw<'a>>,
    stop: Option<Raw<'a>>,
    stream: Option<Raw<'a>>,
    stream_options: Option<Raw<'a>>,
    user: Option<Raw<'a>>,
    safety_identifier: Option<Raw<'a>>,
}

impl<'a> ChatRequest<'a> {
    fn of(body: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in body.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"model" => {}
                b"messages" => read.messages = value,
                b"tools" => read.tools = value,
                b"tool_choice" => read.tool_choice = value,
                b"parallel_tool_calls" => read.parallel_tool_calls = value,
                b"response_format" => read.response_format = value,
                b"reasoning_effort" => read.reasoning_effort = value,
                b"max_completion_tokens" => read.max_completion_tokens = value,
                b"max_tokens" => read.max_tokens = value,
                b"temperature" => read.temperature = value,
                b"top_p" => read.top_p = value,
                b"top_k" => read.top_k = value,
                b"stop" => read.stop = value,
                b"stream" => read.stream = value,
                b"stream_options" => read.stream_options = value,
                b"user" => read.user = value,
                b"safety_identifier" => read.safety_identifier = value,
                _ => note_lost(key, value, notes),
            }
        }
        read
    }

    fn max_tokens(&self, terms: &RequestTerms<'_>) -> u64 {
        let named = self.max_completion_tokens.or(self.max_tokens).and_then(Raw::count);
        named.unwrap_or(terms.max_output_tokens)
    }
}

/// Notes what is lost with a member that Messages does not have.
fn note_lost(key: &[u8], value: Option<Raw<'_>>, notes: &mut Notes) {
    match key {
        b"metadata" => notes.lost_if_filled(Loss::Metadata, value),
        b"store" => notes.lost_unless(Loss::Store, value, &["false"]),
        b"service_tier" => notes.lost_unless(Loss::ServiceTier, value, &["\"auto\"", "\"default\""]),
        b"prompt_cache_key" | b"prompt_cache_retention" | b"prompt_cache_options" => {
            notes.lost_if_filled(Loss::CacheControl, value);
        }
        b"n" => notes.lost_unless(Loss::N, value, &["1"]),
        b"seed" => notes.lost_unless(Loss::Seed, value, &[]),
        b"frequency_penalty" | b"presence_penalty" => {
            notes.lost_unless(Loss::Penalties, value, &["0", "0.0"]);
        }
        b"logit_bias" => notes.lost_if_filled(Loss::LogitBias, value),
        b"logprobs" | b"top_logprobs" => notes.lost_unless(Loss::Logprobs, value, &["false", "0"]),
        b"verbosity" => notes.lost_unless(Loss::Verbosity, value, &["\"medium\""]),
        b"prediction" => notes.lost_if_filled(Loss::Prediction, value),
        b"audio" => notes.lost_if_filled(Loss::Audio, value),
        b"modalities" => notes.lost_unless(Loss::Audio, value, &["[]", "[\"text\"]"]),
        b"web_search_options" => notes.lost_unless(Loss::HostedTools, value, &[]),
        _ => notes.lost_if_filled(Loss::Unknown, value),
    }
}

/// Translates a chat request, whatever the client's dialect was.
pub(super) fn translate(
    body: Raw<'_>,
    terms: &RequestTerms<'_>,
    claude: Claude,
    notes: &mut Notes,
) -> Result<Vec<u8>, Untranslatable> {
    let request = ChatRequest::of(body, notes);
    let messages =
        request.messages.filter(|messages| messages.is_array()).ok_or(Untranslatable::NoMessages)?;
    let mut to = Writer::after(Vec::with_capacity(body.bytes().len()));
    to.open_object();
    to.key("model").text(terms.model.as_bytes());
    to.key("max_tokens").count(request.max_tokens(terms));
    to.key("messages").open_array();
    let mut conversation = Conversation::new(&mut to);
    messages.items().for_each(|message| conversation.add(message, notes));
    let (end, system, called) = conversation.finish();
    to.close_array();
    if end == End::Empty && system.len() == 0 {
        return Err(Untranslatable::NoMessages);
    }
    if end == End::Answer {
        notes.lost(Loss::Prefill);
    }
    if system.len() > 0 {
        to.key("system").array(|to| to.literal(system.as_bytes()));
    }
    let choice = write_tools(&request, &called, &mut to, notes);
    let plan = Plan::of(
        &Circumstances {
            claude,
            effort: request.reasoning_effort.and_then(Effort::of),
            forced: choice.is_some_and(Choice::is_forced),
            after_results: end == End::Results,
            max_tokens: request.max_tokens(terms),
        },
        notes,
    );
    if let Some(choice) = choice {
        let choice = if choice.is_forced() && !plan.may_force { Choice::Auto } else { choice };
        let one_at_a_time = request.parallel_tool_calls.is_some_and(Raw::is_false);
        choice.write(one_at_a_time, &mut to, notes);
    }
    plan.write_thinking(claude, &mut to, notes);
    plan.write_output(settings::output_schema(request.response_format, notes), &mut to);
    let sampling = [request.temperature, request.top_p, request.top_k];
    settings::write_sampling(sampling, plan, claude, &mut to, notes);
    settings::write_stop(request.stop, &mut to, notes);
    write_user(&request, &mut to, notes);
    write_stream(&request, &mut to, notes);
    to.close_object();
    Ok(to.into_bytes())
}

/// Writes `tools`. Returns the choice among them, if there are any.
fn write_tools<'a>(
    request: &ChatRequest<'a>,
    called: &[Box<[u8]>],
    to: &mut Writer,
    notes: &mut Notes,
) -> Option<Choice<'a>> {
    let mut definitions = tools::definitions(request.tools, notes);
    let choice = if definitions.is_empty() {
        tools::define_called(called, &mut definitions);
        Choice::None
    } else {
        Choice::of(request.tool_choice, &definitions, notes)
    };
    definitions.write(to);
    (!definitions.is_empty()).then_some(choice)
}

fn write_user(request: &ChatRequest<'_>, to: &mut Writer, notes: &mut Notes) {
    let Some(user) = request.safety_identifier.or(request.user).filter(|user| user.is_filled()) else {
        return;
    };
    if user.bytes().len() <= MAX_USER_BYTES {
        to.key("metadata").object(|to| to.key("user_id").raw(user));
    } else {
        notes.lost(Loss::Metadata);
    }
}

fn write_stream(request: &ChatRequest<'_>, to: &mut Writer, notes: &mut Notes) {
    let context = &mut notes.context;
    context.streamed = request.stream.is_some_and(Raw::is_true);
    let usage = request.stream_options.and_then(|options| options.get("include_usage"));
    context.include_usage = usage.is_some_and(Raw::is_true);
    if context.streamed {
        to.key("stream").literal(b"true");
    }
}
