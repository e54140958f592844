//! A plain response or an error that is held and complete, although its provider does not end it.

use super::{Answer, Attempt};
use crate::answer::{Follower, Rejection, Verdict};
use crate::base::{HeaderSink, Timestamp};
use crate::request::BodyBuffer;

impl Attempt {
    /// Judges what is held as if it ended here. If it is an answer, it is arranged in the host's buffer, and the
    /// commit point is passed.
    ///
    /// # Errors
    /// It is a failure, and the client has got nothing of it.
    pub fn deliver(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        now: Timestamp,
    ) -> Result<(), Rejection> {
        self.watch.finish();
        let Answer::Held(gatekeeper) = &mut self.answer else { return Ok(()) };
        if let Verdict::Reject(rejection) = gatekeeper.end(self.request.generation.wall_time(now)) {
            return Err(self.noted(rejection));
        }
        let held = gatekeeper.held();
        self.content(0, now);
        if let Some(report) = self.commit(host, |follower, host| follower.pass_held(host, held, true)) {
            let _ = self.passage(report, now);
        }
        Ok(())
    }

    /// The host sends the response from here on.
    pub fn delivered(&mut self) {
        self.watch.finish();
        self.answer = Answer::Passed(Follower::delivered());
    }
}
