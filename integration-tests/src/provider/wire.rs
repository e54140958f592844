//! A provider's side of a TCP connection that a script can break.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// How often an unread connection is checked for its client.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a cut connection stays half open, so that its client sees the end.
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);

/// How a connection is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    Close,
    Reset,
}

/// The connection. Only [`WireIo`] owns it, so the socket closes when hyper drops it.
pub(super) struct Wire {
    stream: TcpStream,
    reset_on_drop: AtomicBool,
    broken: Notify,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self { stream, reset_on_drop: AtomicBool::new(false), broken: Notify::new() })
    }

    /// Resolves when a script has broken the connection. Its driver must then drop it.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Sends FIN unless the connection is reset, and reads what the client still sends: the kernel sends RST for a socket
    /// that is closed with unread data, and a cut would look like a reset.
    pub(super) async fn hang_up(&self) {
        if self.reset_on_drop.load(Ordering::SeqCst) {
            return;
        }
        drop(SockRef::from(&self.stream).shutdown(Shutdown::Write));
        let drain = async {
            let mut discarded = [0; 16 * 1024];
            loop {
                let readable = self.stream.readable().await;
                match readable.and_then(|()| self.stream.try_read(&mut discarded)) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        drop(tokio::time::timeout(GOODBYE_LIMIT, drain).await);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset_on_drop.load(Ordering::SeqCst) {
            // A lingering time of zero makes the kernel send RST instead of FIN.
            drop(self.stream.set_zero_linger());
        }
    }
}

/// A script's handle of the connection.
#[derive(Clone)]
pub(super) struct WireHandle(Weak<Wire>);

impl WireHandle {
    pub(super) fn new(wire: &Arc<Wire>) -> Self {
        Self(Arc::downgrade(wire))
    }

    pub(super) fn break_now(&self, how: Break) {
        if let Some(wire) = self.0.upgrade() {
            wire.reset_on_drop.store(how == Break::Reset, Ordering::SeqCst);
            wire.broken.notify_one();
        }
    }

    /// Resolves when the client has closed its side, even with unread data.
    pub(super) async fn peer_closed(self) {
        while let Some(wire) = self.0.upgrade() {
            let ready = tokio::time::timeout(LOOK_EVERY, wire.stream.ready(Interest::READABLE)).await;
            if matches!(ready, Ok(Ok(ready)) if ready.is_read_closed()) || matches!(ready, Ok(Err(_))) {
                return;
            }
            drop(wire);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The connection as hyper uses it.
pub(super) struct WireIo(pub(super) Arc<Wire>);

impl AsyncRead for WireIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for WireIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match self.0.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper drops the socket right after this, which closes it.
        Poll::Ready(Ok(()))
    }
}
