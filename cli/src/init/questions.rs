//! Asks for what the command line does not say.
//!
//! After a wrong answer the question is asked again, with what is wrong, so that no other answer is lost.

use std::io::{BufRead, Write};

use llm_failsafe::provider;

use super::description::NamedDigest;
use super::grammar::{self, name_and_kind, usual_variable};
use super::is_accepted;
use super::wish::Wish;

/// An answer that is longer is a mistake.
const MAX_ANSWER: u64 = 64 * 1024;
/// Who gives so many wrong answers to one question does not read what is wrong.
const MAX_WRONG: usize = 20;

/// The wish with the answers in it.
pub fn complete(wish: Wish, input: &mut impl BufRead, output: &mut impl Write) -> Result<Wish, String> {
    // Answers do not change what is wrong on the command line.
    check(&wish)?;
    let mut talk = Talk { input, output };
    let mut wish = wish;
    if wish.providers.is_empty() {
        wish = talk.until_right(&wish, Talk::providers)?;
    }
    if wish.models.is_empty() {
        wish = talk.until_right(&wish, Talk::model)?;
    }
    if !wish.single {
        wish = talk.until_right(&wish, Talk::shape)?;
    }
    if wish.keys.is_empty() {
        wish = talk.until_right(&wish, Talk::key)?;
    }
    Ok(wish)
}

/// Whether this can become a gateway, as far as it is known.
fn check(wish: &Wish) -> Result<(), String> {
    let mut description = grammar::describe(wish)?;
    if description.models.is_empty() {
        return Ok(());
    }
    let digest = |name: &String| NamedDigest { name: name.clone(), sha256: "0".repeat(64) };
    description.keys.extend(wish.keys.iter().map(digest));
    is_accepted(&description)
}

struct Talk<'t, I, O> {
    input: &'t mut I,
    output: &'t mut O,
}

impl<I: BufRead, O: Write> Talk<'_, I, O> {
    /// Asks until the answer makes sense.
    fn until_right(
        &mut self,
        wish: &Wish,
        question: fn(&mut Self, &mut Wish) -> Result<(), String>,
    ) -> Result<Wish, String> {
        for _ in 0..MAX_WRONG {
            let mut answered = wish.clone();
            question(self, &mut answered)?;
            match check(&answered) {
                Ok(()) => return Ok(answered),
                Err(problem) => self.tell(&problem)?,
            }
        }
        Err("too many wrong answers".to_owned())
    }

    fn providers(&mut self, wish: &mut Wish) -> Result<(), String> {
        let named = self.ask(
            "Providers, separated by spaces: openai, anthropic, gemini, openrouter, mistral, groq, xai, deepseek,\n\
             together, fireworks, cohere, moonshot, dashscope, or NAME=URL for a server with OpenAI's API",
            "openai",
        )?;
        for name in named.split_whitespace() {
            let usual = usual_variable(name);
            // An address says that there is no key, unless it names one.
            let asks = !name.contains('=')
                && name_and_kind(name).is_ok_and(|(_, kind)| provider::default_host(kind).is_some());
            wish.providers.push(if asks {
                let variables = self.ask(
                    &format!("Environment variable with the key of {name}; several accounts, several variables with commas"),
                    &usual,
                )?;
                format!("{name}={variables}")
            } else {
                name.to_owned()
            });
        }
        Ok(())
    }

    fn model(&mut self, wish: &mut Wish) -> Result<(), String> {
        let name = self.ask("Name of the model that clients send", "chat")?;
        let targets =
            self.ask("What serves it, the first choice first: PROVIDER/MODEL,PROVIDER/MODEL,…", "")?;
        wish.models.push(format!("{name}={targets}"));
        Ok(())
    }

    fn shape(&mut self, wish: &mut Wish) -> Result<(), String> {
        loop {
            let answer = self.ask(
                "If a target fails, go on to the next one (loop), or one attempt per request (single)",
                "loop",
            )?;
            match answer.as_str() {
                "loop" => return Ok(()),
                "single" => {
                    wish.single = true;
                    return Ok(());
                }
                _ => self.tell("it is one of the two words: loop or single")?,
            }
        }
    }

    fn key(&mut self, wish: &mut Wish) -> Result<(), String> {
        let name = self.ask("Name of a client key to make; - for none, then every client is served", "-")?;
        wish.keys.extend(Some(name).filter(|name| name != "-"));
        Ok(())
    }

    fn tell(&mut self, problem: &str) -> Result<(), String> {
        writeln!(self.output, "  {problem}").map_err(|error| format!("the terminal: {error}"))
    }

    /// Asks until there is an answer.
    fn ask(&mut self, question: &str, usual: &str) -> Result<String, String> {
        let shown = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
        loop {
            let mut answer = String::new();
            let read = write!(self.output, "{question}{shown}: ")
                .and_then(|()| self.output.flush())
                .and_then(|()| std::io::Read::take(&mut *self.input, MAX_ANSWER).read_line(&mut answer));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the command line says without options.
    fn empty() -> Wish {
        Wish {
            listen: "127.0.0.1:10000".to_owned(),
            admin: "127.0.0.1:9901".to_owned(),
            module: "dist/llm_failsafe.wasm".to_owned(),
            ..Wish::default()
        }
    }

    fn answered(wish: Wish, answers: &str) -> Result<Wish, String> {
        complete(wish, &mut answers.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn answers_are_what_options_would_say() {
        let wish = answered(
            empty(),
            "openai anthropic vllm=http://10.0.0.7:8000\nKEY_A,KEY_B\n\n\n\nopenai/gpt-4.1-mini,vllm/llama\n\
             \nteam-a\n",
        )
        .unwrap();
        assert_eq!(
            wish.providers,
            ["openai=KEY_A,KEY_B", "anthropic=ANTHROPIC_API_KEY", "vllm=http://10.0.0.7:8000"]
        );
        assert_eq!(wish.models, ["chat=openai/gpt-4.1-mini,vllm/llama"]);
        assert_eq!(wish.keys, ["team-a"]);
        assert!(!wish.single);
    }

    #[test]
    fn only_what_is_missing_is_asked() {
        let given = Wish { providers: vec!["openai".to_owned()], keys: vec!["team".to_owned()], ..empty() };
        let wish = answered(given.clone(), "small\nopenai/gpt-4.1-mini\nsingle\n").unwrap();
        assert_eq!(
            (wish.providers, wish.models, wish.single),
            (vec!["openai".to_owned()], vec!["small=openai/gpt-4.1-mini".to_owned()], true)
        );
        let wish = answered(Wish { single: true, ..given }, "small\nopenai/gpt-4.1-mini\n").unwrap();
        assert!(wish.single);
        assert!(answered(empty(), "openai\n").unwrap_err().contains("the input ended"));
    }

    #[test]
    fn after_a_wrong_answer_the_question_is_asked_again() {
        let answers = "foo\nopenai\n1KEY\nopenai\n\nmy chat\nopenai/x\nchat\nopanai/x\nchat\nopenai/x\n\
                       both\nsingle\nteam a\nteam-a\n";
        let mut said = Vec::new();
        let wish = complete(empty(), &mut answers.as_bytes(), &mut said).unwrap();
        assert_eq!(
            (wish.providers, wish.models),
            (vec!["openai=OPENAI_API_KEY".to_owned()], vec!["chat=openai/x".to_owned()])
        );
        assert_eq!((wish.single, wish.keys), (true, vec!["team-a".to_owned()]));
        let said = String::from_utf8(said).unwrap();
        for problem in [
            "--provider foo: it needs an address",
            "`1KEY`",
            "my chat",
            "no provider `opanai`",
            "loop or single",
            "team a",
        ] {
            assert!(said.contains(problem), "{problem}: {said}");
        }
        let wrong = "foo\n".repeat(MAX_WRONG);
        assert_eq!(answered(empty(), &wrong).unwrap_err(), "too many wrong answers");
        let bad = Wish { listen: "here".to_owned(), ..empty() };
        assert!(answered(bad, "openai\n").unwrap_err().contains("--listen here"));
    }
}
