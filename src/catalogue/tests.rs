//! The committed catalogue, and how models are found in it.

use std::collections::BTreeMap;

use super::table::{CAPABILITIES, Packed};
use super::*;
use crate::base::MicroDollars;
use crate::provider::{Capability, CapabilitySet};

const MODELS: &str = include_str!("../../catalogue/models.tsv");

/// The lines of the file: table, model, and the other fields.
fn lines() -> impl Iterator<Item = (&'static str, &'static str, Vec<&'static str>)> {
    MODELS.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| {
        let mut fields = line.split('\t');
        (fields.next().unwrap(), fields.next().unwrap(), fields.collect())
    })
}

/// The facts as the file has them, from its text and by another way than `pack` and `table`.
fn written(facts: &Facts) -> Vec<String> {
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let price = facts.price;
    let dollars = |of: fn(ListPrice) -> MicroDollars| price.map_or("-".to_owned(), |it| of(it).to_string());
    let mut fields = vec![
        number(facts.context_window),
        number(facts.max_output_tokens),
        dollars(|price| price.input),
        dollars(|price| price.cached_input),
        dollars(|price| price.output),
        number(price.and_then(|price| price.dearer_above)),
    ];
    fields.extend(CAPABILITIES.map(|capability| {
        let word = match (facts.known.contains(capability), facts.capabilities.contains(capability)) {
            (false, _) => "-",
            (true, false) => "no",
            (true, true) => "yes",
        };
        word.to_owned()
    }));
    fields
}

#[test]
fn every_line_of_the_file_is_found_with_its_facts() {
    let packed = Packed::of(PACKED).unwrap();
    let mut count = 0;
    for (table, model, mut fields) in lines() {
        let facts = packed.find(table, model).unwrap_or_else(|| panic!("{table} {model}"));
        if fields[3] == "-" {
            // A cached token costs as much as another one if nothing else is known.
            fields[3] = fields[2];
        }
        assert_eq!(written(&facts), fields, "{table} {model}");
        count += 1;
    }
    let mut in_tables = 0;
    for table in packed.tables() {
        packed.each(str::from_utf8(table).unwrap(), |_, _| in_tables += 1).unwrap();
    }
    assert_eq!((count, in_tables), (count, count));
    assert!(count > 500, "{count}");
}

#[test]
fn the_columns_of_capabilities_have_the_names_of_the_configuration() {
    let header = MODELS.lines().find(|line| line.starts_with("table\t")).unwrap();
    let names: Vec<_> = header.split('\t').skip(8).collect();
    assert_eq!(names, CAPABILITIES.map(Capability::name));
}

#[test]
fn all_values_are_in_a_sane_range() {
    let packed = Packed::of(PACKED).unwrap();
    for (table, model, _) in lines() {
        let facts = packed.find(table, model).unwrap();
        let name = format!("{table} {model}");
        assert!(facts.capabilities.without(facts.known).is_empty(), "{name}");
        assert!(facts.context_window.is_none_or(|it| (512..=20_000_000).contains(&it)), "{name}");
        assert!(facts.max_output_tokens.is_none_or(|it| (16..=2_000_000).contains(&it)), "{name}");
        if let Some(price) = facts.price {
            let most = MicroDollars::new(1_000_000_000);
            assert!(
                price.input <= most && price.output <= most && price.cached_input <= price.input,
                "{name}"
            );
            assert!(price.dearer_above.is_none_or(|it| it >= 10_000), "{name}");
        }
        if table == ANY_HOST {
            let only = Facts { known: CapabilitySet::of(&[Capability::Reasoning]), ..Facts::default() };
            assert_eq!(facts, only, "{name}");
        }
    }
}

#[test]
fn every_kind_has_a_table_and_the_packed_form_is_small() {
    let tables: Vec<_> =
        Packed::of(PACKED).unwrap().tables().map(|name| str::from_utf8(name).unwrap()).collect();
    for kind in ProviderKind::ALL {
        let [table, _] = names::tables(kind, "own.test");
        let knows_none = kind == ProviderKind::OpenAiCompatible
            || ["cohere", "dashscope", "bedrock", "vertex", "vllm", "sglang", "ollama", "lm-studio"]
                .contains(&kind.name());
        assert_eq!(tables.contains(&table), !knows_none, "{}", kind.name());
    }
    assert!(PACKED.len() < 25 * 1024, "{} bytes", PACKED.len());
    assert_eq!(as_of().len(), 10);
}

/// Written by hand from what vendors publish, so that a wrong column or unit is noticed.
#[test]
fn well_known_models_have_their_documented_facts() {
    use Capability::{JsonSchema, Reasoning, Tools, Vision};
    let (openai, anthropic) = (ProviderKind::OpenAi, ProviderKind::Anthropic);
    let (gemini, mistral) = (ProviderKind::Gemini, ProviderKind::Mistral);
    for (kind, model, window, output, price, has, lacks) in [
        (
            openai,
            "gpt-4o",
            128_000,
            16_384,
            [2.5, 1.25, 10.0],
            &[Tools, JsonSchema, Vision][..],
            &[Reasoning][..],
        ),
        (openai, "gpt-4o-mini", 128_000, 16_384, [0.15, 0.075, 0.6], &[Tools, Vision], &[Reasoning]),
        (
            openai,
            "gpt-4.1-mini",
            1_047_576,
            32_768,
            [0.4, 0.1, 1.6],
            &[Tools, JsonSchema, Vision],
            &[Reasoning],
        ),
        (openai, "gpt-5-mini", 400_000, 128_000, [0.25, 0.025, 2.0], &[Tools, Reasoning, Vision], &[]),
        (openai, "o3-mini", 200_000, 100_000, [1.1, 0.55, 4.4], &[Tools, Reasoning, JsonSchema], &[Vision]),
        (anthropic, "claude-haiku-4-5", 200_000, 64_000, [1.0, 0.1, 5.0], &[Tools, Vision, Reasoning], &[]),
        (anthropic, "claude-opus-4-5", 200_000, 64_000, [5.0, 0.5, 25.0], &[Tools, Vision, Reasoning], &[]),
        (anthropic, "claude-sonnet-4-5-20250929", 200_000, 64_000, [3.0, 0.3, 15.0], &[Tools, Vision], &[]),
        (gemini, "gemini-2.5-flash", 1_048_576, 65_536, [0.3, 0.03, 2.5], &[Tools, Vision, Reasoning], &[]),
        (mistral, "mistral-large-2512", 262_144, 262_144, [0.5, 0.05, 1.5], &[Tools, Vision], &[Reasoning]),
    ] {
        let facts = find(kind, "", model).unwrap_or_else(|| panic!("{model}"));
        assert_eq!((facts.context_window, facts.max_output_tokens), (Some(window), Some(output)), "{model}");
        let found = facts.price.unwrap();
        let price = price.map(|dollars| MicroDollars::from_dollars(dollars).unwrap());
        assert_eq!([found.input, found.cached_input, found.output], price, "{model}");
        for (capabilities, expected) in [(has, true), (lacks, false)] {
            for capability in capabilities {
                assert!(facts.known.contains(*capability), "{model} {}", capability.name());
                assert_eq!(
                    facts.capabilities.contains(*capability),
                    expected,
                    "{model} {}",
                    capability.name()
                );
            }
        }
    }
}

#[test]
fn snapshots_aliases_and_fine_tuned_models_find_their_entry() {
    let openai = |model| find(ProviderKind::OpenAi, "api.openai.com", model);
    let plain = openai("gpt-4.1-mini").unwrap();
    assert_eq!(openai("GPT-4.1-mini-2025-04-14"), Some(plain));
    assert_eq!(openai("ft:gpt-4.1-mini-2025-04-14:acme::x1"), Some(Facts { price: None, ..plain }));
    // This snapshot has a price and a size of its own.
    assert_ne!(openai("gpt-4o-2024-05-13"), openai("gpt-4o"));
    let anthropic = |model| find(ProviderKind::Anthropic, "api.anthropic.com", model);
    assert_eq!(anthropic("claude-opus-4-5-20251101"), anthropic("claude-opus-4-5"));
    assert_eq!(anthropic("claude-opus-5-latest"), anthropic("claude-opus-5"));
    assert!(anthropic("claude-3-5-haiku-20241022").is_some_and(|facts| facts.price.is_some()));
    let gemini = |model| find(ProviderKind::Gemini, "", model);
    assert_eq!(gemini("models/gemini-2.5-flash"), gemini("gemini-2.5-flash"));
    let openrouter = |model| find(ProviderKind::OpenRouter, "openrouter.ai", model);
    let plain = openrouter("openai/gpt-4.1-mini").unwrap();
    assert!(plain.price.is_some());
    assert_eq!(openrouter("openai/gpt-4.1-mini:floor"), Some(Facts { price: None, ..plain }));
}

#[test]
fn a_longer_or_unknown_name_finds_nothing() {
    for model in [
        "gpt-4o-audio",
        "gpt-4o-mini-turbo",
        "gpt-4",
        "gpt",
        "",
        "gpt-4.1-mini-2025-04-14-x",
        "ft:",
        "ft:x:y",
    ] {
        let found = find(ProviderKind::OpenAi, "api.openai.com", model);
        assert_eq!(found.is_some(), model == "gpt-4", "{model}");
    }
    // This one is in the catalogue, but audio has other prices than text.
    let audio = find(ProviderKind::OpenAi, "", "gpt-4o-audio-preview");
    assert!(audio.is_none_or(|facts| facts.price.is_none()));
}

#[test]
fn azure_has_the_models_of_openai_and_its_own_under_their_names() {
    let azure = |model| find(ProviderKind::AzureOpenAi, "x.openai.azure.com", model);
    assert_eq!(azure("gpt-4.1-mini"), find(ProviderKind::OpenAi, "", "gpt-4.1-mini"));
    assert!(azure("phi-4").is_some_and(|facts| facts.price.is_some()));
    assert_eq!(azure("my-deployment"), None);
}

#[test]
fn a_price_at_an_openai_compatible_provider_needs_a_known_host() {
    let at = |host, model| find(ProviderKind::OpenAiCompatible, host, model);
    let groq = at("api.groq.com", "llama-3.3-70b-versatile").unwrap();
    assert!(groq.price.is_some() && groq.context_window.is_some());
    // A proxy in front of a vendor does not change what its models can do.
    let proxied = find(ProviderKind::from_name("groq").unwrap(), "proxy.internal", "llama-3.3-70b-versatile");
    assert_eq!(proxied, Some(groq));
    let together = ProviderKind::from_name("together").unwrap();
    assert_eq!(names::tables(together, "")[0], "api.together.xyz");
    let own = at("vllm.internal", "meta-llama/Llama-3.3-70B-Instruct").unwrap();
    assert_eq!(own, Facts { known: CapabilitySet::of(&[Capability::Reasoning]), ..Facts::default() });
    for model in ["openai/gpt-oss-120b", "qwen/qwen3-32b", "gpt-4o", "llama3.1:8b", "my-model"] {
        assert_eq!(at("vllm.internal", model), None, "{model}");
    }
}

#[test]
fn no_truncated_or_garbled_catalogue_breaks_the_lookup() {
    for length in (0..PACKED.len()).step_by(7) {
        let short = Packed::of(&PACKED[..length]).and_then(|packed| packed.find("openrouter", "zzz"));
        assert_eq!(short, None);
    }
    let mut bytes = PACKED.to_vec();
    for at in (DATE_END..bytes.len()).step_by(5) {
        bytes[at] ^= 0xff;
        // It must only end, whatever it finds.
        let _ = Packed::of(&bytes).and_then(|packed| packed.find("openai", "gpt-4o"));
        bytes[at] ^= 0xff;
    }
}

const DATE_END: usize = 10;

#[test]
fn a_wrong_file_is_rejected_with_its_line() {
    let header = MODELS.lines().find(|line| line.starts_with("table\t")).unwrap();
    let file = |rows: &[&str]| {
        let mut text = format!("# as of 2026-01-02 from x\n{header}\n");
        rows.iter().for_each(|row| text.extend([row, "\n"]));
        pack::packed(&text)
    };
    let good = "openai\ta\t1\t-\t0.4\t-\t1.6\t-\tyes\tno\t-\t-\t-\t-\t-\t-";
    assert!(file(&[good]).is_ok());
    let changed = |from: &str, to: &str| good.replacen(from, to, 1);
    let cases: BTreeMap<&str, String> = BTreeMap::from([
        ("line 3: `1.5` is not a number", changed("\t1\t", "\t1.5\t")),
        ("line 3: `0.1234567` is not a number", changed("0.4", "0.1234567")),
        ("line 3: `maybe` is not `yes`, `no` or `-`", changed("yes", "maybe")),
        ("line 3: `A` is not a name in lower case", changed("\ta\t", "\tA\t")),
        ("line 3: has too few fields", changed("\t-\t-\t-\t-\t-\t-", "\t-")),
        ("line 3: has too many fields", format!("{good}\t-")),
    ]);
    for (problem, row) in cases {
        assert_eq!(file(&[&row]).unwrap_err(), problem);
    }
    let twice = "line 4: is not sorted, or is there twice";
    assert_eq!(file(&[good, good]).unwrap_err(), twice);
    assert_eq!(pack::packed(&format!("{header}\n")).unwrap_err(), "has no line `# as of` with a date");
    assert_eq!(pack::packed("table\tmodel\n").unwrap_err(), "line 1: has unexpected columns");
}
