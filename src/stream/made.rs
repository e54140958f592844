//! What a provider keeps of an answer for the next turn of the conversation: the response, its items, and the
//! key to its encrypted reasoning.
//!
//! Only digests are kept, and few of them: the next request refers to all of these, or to the last ones. Only
//! the responses API has them. The id of a chat completion is no state.

use super::event::{Event, Form};
use crate::base::digest;
use crate::base::json::{Json, Read};

/// The digests of one answer. 0 is none.
#[derive(Debug, Clone, Default)]
pub struct Made {
    response: u64,
    encrypted: u64,
    /// The last item, and the one before it.
    items: [u64; 2],
}

impl Made {
    /// The digests, the ones that say most first.
    pub fn digests(&self) -> impl Iterator<Item = u64> {
        let [last, before] = self.items;
        [self.response, self.encrypted, last, before].into_iter().filter(|digest| *digest != 0)
    }

    pub(super) fn response(&mut self, digest: u64) {
        self.response = digest;
    }

    pub(super) fn encrypted(&mut self, digest: u64) {
        self.encrypted = digest;
    }

    pub(super) fn item(&mut self, digest: u64) {
        let [last, _] = self.items;
        if last != digest {
            self.items = [digest, last];
        }
    }

    /// Reads one event. Says whether it names a response or an item.
    pub fn read(&mut self, event: &Event<'_>) -> bool {
        if event.form == Form::Oversize || is_delta(event) {
            return false;
        }
        self.read_members(event.data).unwrap_or(false)
    }

    fn read_members(&mut self, data: &[u8]) -> Read<bool> {
        let mut named = false;
        Json::read_object(data, |key, json| {
            match key {
                b"response" => named |= self.read_response(json)?,
                b"item" => named |= self.read_item(json)?,
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(named)
    }

    fn read_response(&mut self, json: &mut Json<'_>) -> Read<bool> {
        json.object(|key, json| {
            match key {
                b"id" => json.text()?.and_then(plain).into_iter().for_each(|id| self.response = id),
                b"output" => {
                    json.array(|json| self.read_item(json).map(drop))?;
                }
                _ => drop(json.value()?),
            }
            Ok(())
        })
    }

    fn read_item(&mut self, json: &mut Json<'_>) -> Read<bool> {
        json.object(|key, json| {
            match key {
                b"id" => json.text()?.and_then(plain).into_iter().for_each(|id| self.item(id)),
                b"encrypted_content" => {
                    json.text()?.and_then(plain).into_iter().for_each(|text| self.encrypted = text);
                }
                _ => drop(json.value()?),
            }
            Ok(())
        })
    }
}

/// Most events are these, and they only refer to an item that an earlier event has named.
fn is_delta(event: &Event<'_>) -> bool {
    event.name.ends_with(b".delta")
}

/// The digest of a text without escapes. Ids and encrypted texts have none.
fn plain(text: &[u8]) -> Option<u64> {
    (!text.is_empty() && !text.contains(&b'\\')).then(|| digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Framer;

    fn made(stream: &str) -> Vec<u64> {
        let (mut made, mut framer) = (Made::default(), Framer::new());
        framer.feed(stream.as_bytes(), |event| {
            made.read(&event);
        });
        made.digests().collect()
    }

    #[test]
    fn the_response_its_last_items_and_its_encrypted_reasoning_are_noted() {
        let stream = r#"event: response.created
data: {"type":"response.created","response":{"id":"resp_1","output":[]}}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"id":"rs_1","type":"reasoning"}}

event: response.output_item.done
data: {"type":"response.output_item.done","item":{"id":"rs_1","type":"reasoning","encrypted_content":"gAAA"}}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"id":"msg_0","type":"message"}}

data: {"type":"response.output_text.delta","item_id":"msg_0","delta":"x","response":"r"}

data: {"type":"response.output_item.done","item":{"id":"msg_1","content":[{"id":"no"}]}}

data: {"type":"response.output_item.done","item":{"id":"with\u0020escape"}}

data: [DONE]

"#;
        let expected = ["resp_1", "gAAA", "msg_1", "msg_0"].map(|id| digest(id.as_bytes()));
        assert_eq!(made(stream), expected);
        let whole = r#"data: {"type":"response.completed","response":{"output":[{"id":"rs_1"},{"id":"msg_1"}],"id":"resp_1"}}

"#;
        assert_eq!(made(whole), ["resp_1", "msg_1", "rs_1"].map(|id| digest(id.as_bytes())));
    }

    #[test]
    fn other_events_and_other_json_name_nothing() {
        for data in
            ["{}", "[]", "null", "x", r#"{"item":"x","response":7}"#, r#"{"item":{"id":7}}"#, r#"{"id":"x"}"#]
        {
            assert_eq!(made(&format!("data: {data}\n\n")), [0; 0], "{data}");
        }
    }
}
