//! Asks for what the command line does not say.

use std::io::{BufRead, Write};

use llm_failsafe::provider;

use super::grammar::{name_and_kind, usual_variable};
use super::wish::Wish;

/// An answer that is longer is a mistake.
const MAX_ANSWER: u64 = 64 * 1024;

/// The wish with the answers in it.
pub fn complete(mut wish: Wish, input: &mut impl BufRead, output: &mut impl Write) -> Result<Wish, String> {
    let mut ask = |question: &str, usual: &str| ask(input, output, question, usual);
    if wish.providers.is_empty() {
        let named = ask(
            "Providers, separated by spaces: openai, anthropic, gemini, openrouter, mistral,\n\
             or NAME=URL for a server with OpenAI's API",
            "openai",
        )?;
        for name in named.split_whitespace() {
            let usual = usual_variable(name);
            // An address says that there is no key, unless it names one.
            let asks = !name.contains('=')
                && name_and_kind(name).is_ok_and(|(_, kind)| provider::default_host(kind).is_some());
            wish.providers.push(if asks {
                let variables = ask(
                    &format!("Environment variable with the key of {name}; several accounts, several variables with commas"),
                    &usual,
                )?;
                format!("{name}={variables}")
            } else {
                name.to_owned()
            });
        }
    }
    if wish.models.is_empty() {
        let name = ask("Name of the model that clients send", "chat")?;
        let targets = ask("What serves it, the first choice first: PROVIDER/MODEL,PROVIDER/MODEL,…", "")?;
        wish.models.push(format!("{name}={targets}"));
    }
    if wish.keys.is_empty() {
        let name = ask("Name of a client key to make; - for none, then every client is served", "-")?;
        wish.keys.extend(Some(name).filter(|name| name != "-"));
    }
    Ok(wish)
}

/// Asks until there is an answer.
fn ask(
    input: &mut impl BufRead,
    output: &mut impl Write,
    question: &str,
    usual: &str,
) -> Result<String, String> {
    let shown = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
    loop {
        let mut answer = String::new();
        let read = write!(output, "{question}{shown}: ")
            .and_then(|()| output.flush())
            .and_then(|()| std::io::Read::take(&mut *input, MAX_ANSWER).read_line(&mut answer));
        if read.map_err(|error| format!("the terminal: {error}"))? == 0 {
            return Err("the input ended before all questions were answered".to_owned());
        }
        match answer.trim() {
            "" if usual.is_empty() => {}
            "" => return Ok(usual.to_owned()),
            answer => return Ok(answer.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(wish: Wish, answers: &str) -> Result<Wish, String> {
        complete(wish, &mut answers.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn answers_are_what_options_would_say() {
        let wish = answered(
            Wish::default(),
            "openai anthropic vllm=http://10.0.0.7:8000\nKEY_A,KEY_B\n\n\n\nopenai/gpt-4.1-mini,vllm/llama\nteam-a\n",
        )
        .unwrap();
        assert_eq!(
            wish.providers,
            ["openai=KEY_A,KEY_B", "anthropic=ANTHROPIC_API_KEY", "vllm=http://10.0.0.7:8000"]
        );
        assert_eq!(wish.models, ["chat=openai/gpt-4.1-mini,vllm/llama"]);
        assert_eq!(wish.keys, ["team-a"]);
    }

    #[test]
    fn only_what_is_missing_is_asked() {
        let given =
            Wish { providers: vec!["openai".to_owned()], keys: vec!["team".to_owned()], ..Wish::default() };
        let wish = answered(given, "small\nopenai/gpt-4.1-mini\n").unwrap();
        assert_eq!(
            (wish.providers, wish.models),
            (vec!["openai".to_owned()], vec!["small=openai/gpt-4.1-mini".to_owned()])
        );
        assert!(answered(Wish::default(), "openai\n").unwrap_err().contains("the input ended"));
    }
}
