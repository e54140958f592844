//! Edits of the request body: they change only the model and the request for usage, for buffered and streamed bodies.
//!
//! Input: one byte for the chunk length, one byte for the white space that extends the body over several windows, then the
//! body.

#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use llm_failsafe::request::{BodyBuffer, BodyEdit, EDIT_WINDOW_BYTES, Scanner, StreamEditor};
use serde_json::Value;

const NEW_MODEL: &str = "new \"model\"";

struct Held(Vec<u8>);

impl BodyBuffer for Held {
    type Error = Infallible;

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, Infallible> {
        assert!(len <= EDIT_WINDOW_BYTES);
        Ok(self.0[start..start + len].to_vec())
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), Infallible> {
        self.0.splice(..len, with.iter().copied());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn streamed(edit: &BodyEdit, body: &[u8], chunk_len: usize) -> Vec<u8> {
    let mut editor = StreamEditor::new(edit.clone());
    let mut out = Vec::new();
    for chunk in body.chunks(chunk_len) {
        let mut buffer = Held(chunk.to_vec());
        let new_len = editor.edit_chunk(&mut buffer, chunk.len()).unwrap_or_default();
        assert_eq!(new_len, buffer.0.len());
        out.extend(buffer.0);
    }
    out
}

fuzz_target!(|input: &[u8]| {
    let [chunk, padding, body @ ..] = input else { return };
    let mut long = vec![b' '; usize::from(padding % 8) * 20_000];
    long.extend_from_slice(body);
    let mut scanner = Scanner::new();
    if scanner.feed(&long).is_err() {
        return;
    }
    let Ok(facts) = scanner.finish() else { return };

    let edit = BodyEdit::of_model(&facts, NEW_MODEL);
    let edit = if padding & 8 == 0 { edit } else { edit.asking_for_usage(&facts) };
    let mut buffer = Held(long.clone());
    let new_len = edit.apply_held(&mut buffer, long.len()).unwrap_or_default();
    let edited = buffer.0;
    assert_eq!((new_len, edit.new_length(long.len())), (edited.len(), edited.len()));
    if long.len() <= EDIT_WINDOW_BYTES {
        let mut known = Held(long.clone());
        assert_eq!(edit.apply_known(&mut known, long.clone()), Ok(new_len));
        assert_eq!(known.0, edited);
    }
    let chunk_len = (usize::from(*chunk) + 1) * if padding % 8 == 0 { 1 } else { 500 };
    assert_eq!(streamed(&edit, &long, chunk_len), edited);

    if let Ok(mut parsed) = serde_json::from_slice::<Value>(&long) {
        if let Some(model) = parsed.get_mut("model") {
            *model = NEW_MODEL.into();
        }
        let mut edited: Value = serde_json::from_slice(&edited).expect("JSON stays JSON");
        if edit.asks_for_usage() {
            assert_eq!(edited["stream_options"]["include_usage"], true);
            // Unit tests compare the rest of `stream_options` as text; duplicate members prevent it here.
            for body in [&mut edited, &mut parsed] {
                body.as_object_mut().and_then(|members| members.remove("stream_options"));
            }
        }
        assert_eq!(edited, parsed);
    }
});
