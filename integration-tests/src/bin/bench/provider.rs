//! A provider with minimal cost: fixed bytes for every request.
//!
//! It shares one thread with the load, so that Envoy has a core to itself on a machine with two.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::load::LANES;
use integration_tests::traffic::{self, CHUNKS_HEADER, LANE_HEADER};

/// For each connection of the load: the number of chunks that it has received.
pub type Acknowledged = Arc<[Semaphore; LANES]>;

pub struct Provider {
    port: u16,
    acknowledged: Acknowledged,
}

struct Answers {
    chat: Vec<u8>,
    beginning: Vec<u8>,
    chunk: Vec<u8>,
    end: Vec<u8>,
    acknowledged: Acknowledged,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let acknowledged: Acknowledged = Arc::new(std::array::from_fn(|_| Semaphore::new(0)));
        let answers = Arc::new(Answers {
            chat: traffic::chat_answer(),
            beginning: traffic::stream_beginning(),
            chunk: traffic::stream_chunk(),
            end: traffic::stream_end(),
            acknowledged: Arc::clone(&acknowledged),
        });
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move { serve(connection, &answers).await });
            }
        });
        Self { port, acknowledged }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn acknowledged(&self) -> Acknowledged {
        Arc::clone(&self.acknowledged)
    }
}

/// Serves a connection until Envoy closes it. Failures are noticed by the load, which then gets no response.
async fn serve(mut connection: TcpStream, answers: &Answers) {
    drop(connection.set_nodelay(true));
    let mut received = Vec::with_capacity(8_192);
    loop {
        let (head, body) = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&received[..at]).into_owned();
                // A foreign request: another process may still use the port of its previous owner.
                let Some(body) = number(&head, "content-length") else { return };
                if received.len() >= at + 4 + body {
                    break (head, at + 4 + body);
                }
            }
            if !matches!(connection.read_buf(&mut received).await, Ok(1..)) {
                return;
            }
        };
        received.drain(..body);
        let sent = match number(&head, CHUNKS_HEADER) {
            None => connection.write_all(&answers.chat).await,
            Some(chunks) => stream(&mut connection, answers, &head, chunks).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Writes each chunk only when the client has the previous one, so that two chunks never arrive together.
async fn stream(
    connection: &mut TcpStream,
    answers: &Answers,
    head: &str,
    chunks: usize,
) -> std::io::Result<()> {
    let lane = number(head, LANE_HEADER).expect("a lane");
    // Sent together with the first chunk, because the filter may hold a response until there is content.
    let mut beginning = answers.beginning.clone();
    beginning.extend_from_slice(&answers.chunk);
    connection.write_all(&beginning).await?;
    for _ in 1..chunks {
        acknowledgement(answers, lane).await;
        connection.write_all(&answers.chunk).await?;
    }
    acknowledgement(answers, lane).await;
    connection.write_all(&answers.end).await
}

async fn acknowledgement(answers: &Answers, lane: usize) {
    answers.acknowledged[lane].acquire().await.expect("never closed").forget();
}

fn number(head: &str, name: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (candidate, value) = line.split_once(':')?;
        candidate.eq_ignore_ascii_case(name).then(|| value.trim().parse().ok())?
    })
}
