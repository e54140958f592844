//! How the model is to answer: reasoning, sampling, form and end of the answer.

use super::super::super::json::{Raw, Writer};
use super::super::super::{Loss, ReasoningPolicy};
use super::super::claude::{Claude, Thinking};
use super::super::effort::Effort;
use super::super::notes::Notes;
use super::super::schema;

/// The smallest budget of thinking tokens that Messages takes.
const LEAST_BUDGET: u64 = 1024;

/// How the model is to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Plan {
    thinking: Mode,
    effort: Option<Effort>,
    /// Whether a tool may be forced.
    pub(super) may_force: bool,
}

/// What `thinking` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    /// It is not there.
    #[default]
    Absent,
    Disabled,
    Budget(u64),
    Adaptive,
}

/// What the plan depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) claude: Claude,
    /// The effort that the request asks for.
    pub(super) effort: Option<Effort>,
    /// Whether the request forces a tool. Thinking must then be off.
    pub(super) forced: bool,
    /// Whether the conversation ends with results of tools. A model with a budget then wants the thinking
    /// before the calls, which another model did.
    pub(super) after_results: bool,
    /// The limit of the answer, thinking included.
    pub(super) max_tokens: u64,
}

impl Plan {
    /// The plan that comes nearest to what the request asks for and that the model does not refuse.
    pub(super) fn of(with: &Circumstances, notes: &mut Notes) -> Self {
        let wanted = with.effort.filter(|effort| effort.budget() > 0);
        let unwanted = with.effort.is_some() && wanted.is_none();
        if wanted.is_some() {
            notes.asks_for_reasoning();
        }
        let off = unwanted || with.forced;
        let level = wanted.map(|effort| with.level(effort));
        let plan = |thinking, effort| Self { thinking, effort, may_force: true };
        let plan = match with.claude.thinking {
            Thinking::Never => plan(Mode::Absent, None),
            Thinking::Budget => plan(with.budget(wanted).map_or(Mode::Absent, Mode::Budget), None),
            Thinking::Adaptive if off || level.is_none() => plan(Mode::Absent, level),
            Thinking::AdaptiveUnlessDisabled if off => {
                plan(Mode::Disabled, level.map(|level| level.min(Effort::High)))
            }
            Thinking::AdaptiveUnlessDisabled if level.is_none() => plan(Mode::Absent, None),
            Thinking::Always => Self {
                thinking: Mode::Absent,
                effort: level.or(unwanted.then_some(Effort::Low)),
                may_force: false,
            },
            Thinking::Adaptive | Thinking::AdaptiveUnlessDisabled => plan(Mode::Adaptive, level),
        };
        if wanted.is_some() && !plan.thinks(with.claude) {
            notes.lost(Loss::Reasoning);
        }
        if with.forced && !plan.may_force {
            notes.lost(Loss::ToolChoice);
        }
        plan
    }

    /// Whether the model thinks with this plan.
    fn thinks(self, claude: Claude) -> bool {
        match self.thinking {
            Mode::Absent => matches!(claude.thinking, Thinking::Always | Thinking::AdaptiveUnlessDisabled),
            Mode::Disabled => false,
            Mode::Budget(_) | Mode::Adaptive => true,
        }
    }

    /// Writes `thinking`.
    pub(super) fn write_thinking(self, claude: Claude, to: &mut Writer, notes: &Notes) {
        // The models that know `xhigh` leave thinking out of the answer unless they are asked for it.
        let shown = notes.reasoning == ReasoningPolicy::Keep && claude.xhigh;
        let adaptive = self.thinking == Mode::Adaptive || shown && self.thinks(claude);
        match self.thinking {
            Mode::Disabled => to.key("thinking").object(|to| to.key("type").text(b"disabled")),
            Mode::Budget(budget) => to.key("thinking").object(|to| {
                to.key("type").text(b"enabled");
                to.key("budget_tokens").count(budget);
            }),
            _ if adaptive => to.key("thinking").object(|to| {
                to.key("type").text(b"adaptive");
                if shown {
                    to.key("display").text(b"summarized");
                }
            }),
            Mode::Absent | Mode::Adaptive => {}
        }
    }

    /// Writes `output_config`: the effort, and the schema of the answer.
    pub(super) fn write_output(self, schema: Option<Raw<'_>>, to: &mut Writer) {
        if self.effort.is_none() && schema.is_none() {
            return;
        }
        to.key("output_config").object(|to| {
            if let Some(effort) = self.effort {
                to.key("effort").text(effort.name().as_bytes());
            }
            if let Some(schema) = schema {
                to.key("format").object(|to| {
                    to.key("type").text(b"json_schema");
                    to.key("schema").raw(schema);
                });
            }
        });
    }
}

impl Circumstances {
    /// The effort that the model knows in place of `effort`.
    fn level(&self, effort: Effort) -> Effort {
        match effort {
            Effort::XHigh if !self.claude.xhigh => Effort::High,
            effort => effort.max(Effort::Low),
        }
    }

    /// The budget for `effort`, if there is room for thinking and an answer.
    fn budget(&self, effort: Option<Effort>) -> Option<u64> {
        let most = (self.max_tokens / 2).min(effort?.budget());
        (most >= LEAST_BUDGET && !self.forced && !self.after_results).then_some(most)
    }
}

/// Writes `temperature`, `top_p` and `top_k` as far as the model takes them.
pub(super) fn write_sampling(
    [temperature, top_p, top_k]: [Option<Raw<'_>>; 3],
    plan: Plan,
    claude: Claude,
    to: &mut Writer,
    notes: &mut Notes,
) {
    // One is the default of both, in both dialects.
    let set = |value: &Raw<'_>| value.number() != Some(1.0);
    let (temperature, top_p) = (temperature.filter(set), top_p.filter(set));
    if !claude.sampling || plan.thinks(claude) {
        notes.lost_unless(Loss::Temperature, temperature.or(top_p), &[]);
        notes.lost_unless(Loss::TopK, top_k, &[]);
        return;
    }
    if let Some(temperature) = temperature {
        if temperature.number().is_some_and(|number| number > 1.0) {
            notes.lost(Loss::Temperature);
            to.key("temperature").literal(b"1");
        } else {
            to.key("temperature").raw(temperature);
        }
    }
    match top_p {
        // Some models refuse both together.
        Some(_) if temperature.is_some() => notes.lost(Loss::Temperature),
        Some(top_p) => to.key("top_p").raw(top_p),
        None => {}
    }
    if let Some(top_k) = top_k {
        to.key("top_k").raw(top_k);
    }
}

/// Writes `stop_sequences`, without those that Messages refuses.
pub(super) fn write_stop(stop: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    let Some(stop) = stop else { return };
    let mut sequences = Writer::default();
    let mut add = |sequence: Raw<'_>| {
        if sequence.is_blank() {
            notes.lost(Loss::Stop);
        } else {
            sequences.raw(sequence);
        }
    };
    if stop.is_array() {
        stop.items().for_each(add);
    } else {
        add(stop);
    }
    if sequences.len() > 0 {
        to.key("stop_sequences").array(|to| to.literal(sequences.as_bytes()));
    }
}

/// The schema that `response_format` names, if the provider enforces it.
pub(super) fn output_schema<'a>(format: Option<Raw<'a>>, notes: &mut Notes) -> Option<Raw<'a>> {
    let format = format?;
    let kind = format.get("type").and_then(Raw::escaped).unwrap_or_default();
    match kind {
        b"text" => None,
        b"json_object" => {
            notes.lost(Loss::JsonObject);
            None
        }
        b"json_schema" => {
            let schema = format.get("json_schema").and_then(|format| format.get("schema"));
            let enforced = schema.filter(|schema| schema::anthropic_enforces(*schema));
            if enforced.is_none() {
                notes.lost(Loss::JsonSchema);
            }
            enforced
        }
        _ => {
            notes.lost(Loss::Unknown);
            None
        }
    }
}
