//! What happens when a call to Envoy fails and a stream depends on it.
//!
//! Envoy fails such a call where `capability_restriction_config` withholds it, or where the stream has gone already. Each
//! failure is counted and logged. If the client would wait in vain otherwise, the stream is ended another way.

use crate::refusal::LocalAnswer;

/// A call to Envoy that failed, with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostError(pub i32);

/// The calls that streams depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    ReadHeaders,
    ChangeHeaders,
    Inject,
    ResumeRequest,
    ResumeResponse,
    SendResponse,
    ResetStream,
    Enqueue,
    SelectStream,
}

impl Call {
    const ALL: [Self; 9] = [
        Self::ReadHeaders,
        Self::ChangeHeaders,
        Self::Inject,
        Self::ResumeRequest,
        Self::ResumeResponse,
        Self::SendResponse,
        Self::ResetStream,
        Self::Enqueue,
        Self::SelectStream,
    ];

    /// What it does, and the function of the ABI.
    const fn name(self) -> &'static str {
        match self {
            Self::ReadHeaders => "reading headers (proxy_get_header_map_pairs)",
            Self::ChangeHeaders => "changing headers (proxy_replace/remove_header_map_value)",
            Self::Inject => "writing into a stream (proxy_set_buffer_bytes)",
            Self::ResumeRequest => "resuming a request (proxy_continue_stream)",
            Self::ResumeResponse => "resuming a response (proxy_continue_stream)",
            Self::SendResponse => "sending a local response (proxy_send_local_response)",
            Self::ResetStream => "resetting a stream (proxy_close_stream)",
            Self::Enqueue => "waking a stream (proxy_enqueue_shared_queue)",
            Self::SelectStream => "selecting a stream (proxy_set_effective_context)",
        }
    }
}

/// The failures of one VM so far.
#[derive(Debug, Default)]
pub struct Failures {
    counts: [u32; Call::ALL.len()],
}

impl Failures {
    /// Counts a failure. Returns the line to log; only the 1st, 2nd, 4th, 8th and so on of each call have one, so that a
    /// call that always fails does not fill the log.
    pub fn count(&mut self, call: Call, error: HostError) -> Option<String> {
        let count = self.counts.get_mut(call as usize)?;
        *count = count.saturating_add(1);
        let count = *count;
        count.is_power_of_two().then(|| {
            format!("{} failed with status {} (failure {count} on this worker)", call.name(), error.0)
        })
    }
}

/// The calls that end or resume one stream.
pub trait StreamControl {
    fn resume_request(&mut self) -> Result<(), HostError>;
    fn send_response(&mut self, answer: &LocalAnswer) -> Result<(), HostError>;
    fn reset(&mut self) -> Result<(), HostError>;
    /// Counts and logs a failed call.
    fn failed(&mut self, call: Call, error: HostError);
}

/// Answers the client. If that fails, resets the stream.
pub fn answer(control: &mut impl StreamControl, answer: &LocalAnswer) {
    if let Err(error) = control.send_response(answer) {
        control.failed(Call::SendResponse, error);
        if let Err(error) = control.reset() {
            control.failed(Call::ResetStream, error);
        }
    }
}

/// Resets a stream whose response has begun. If that fails, sends a local response: Envoy resets a stream that gets one in
/// the middle of another.
pub fn reset(control: &mut impl StreamControl) {
    if let Err(error) = control.reset() {
        control.failed(Call::ResetStream, error);
        let bad_gateway = LocalAnswer { status: 502, headers: Vec::new(), body: String::new() };
        if let Err(error) = control.send_response(&bad_gateway) {
            control.failed(Call::SendResponse, error);
        }
    }
}

/// Resumes a request that was held. If that fails, `abandon` withdraws the attempt and returns the answer for the client.
pub fn resume_request<C: StreamControl>(control: &mut C, abandon: impl FnOnce() -> Option<LocalAnswer>) {
    if let Err(error) = control.resume_request() {
        control.failed(Call::ResumeRequest, error);
        match abandon() {
            Some(local) => answer(control, &local),
            None => reset(control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails the calls in `failing` and notes all that happens.
    #[derive(Default)]
    struct Fake {
        failing: Vec<Call>,
        made: Vec<Call>,
        failed: Vec<Call>,
    }

    impl Fake {
        fn failing(calls: &[Call]) -> Self {
            Self { failing: calls.to_vec(), ..Self::default() }
        }

        fn make(&mut self, call: Call) -> Result<(), HostError> {
            self.made.push(call);
            if self.failing.contains(&call) { Err(HostError(10)) } else { Ok(()) }
        }
    }

    impl StreamControl for Fake {
        fn resume_request(&mut self) -> Result<(), HostError> {
            self.make(Call::ResumeRequest)
        }

        fn send_response(&mut self, _: &LocalAnswer) -> Result<(), HostError> {
            self.make(Call::SendResponse)
        }

        fn reset(&mut self) -> Result<(), HostError> {
            self.make(Call::ResetStream)
        }

        fn failed(&mut self, call: Call, error: HostError) {
            assert_eq!(error, HostError(10));
            self.failed.push(call);
        }
    }

    fn local() -> LocalAnswer {
        LocalAnswer { status: 500, headers: Vec::new(), body: String::new() }
    }

    use Call::{ResetStream, ResumeRequest, SendResponse};

    #[test]
    fn a_local_response_that_fails_becomes_a_reset() {
        for (failing, made) in [
            (&[][..], &[SendResponse][..]),
            (&[SendResponse], &[SendResponse, ResetStream]),
            (&[SendResponse, ResetStream], &[SendResponse, ResetStream]),
        ] {
            let mut fake = Fake::failing(failing);
            answer(&mut fake, &local());
            assert_eq!((&fake.made[..], &fake.failed[..]), (made, failing));
        }
    }

    #[test]
    fn a_reset_that_fails_becomes_a_local_response() {
        for (failing, made) in [
            (&[][..], &[ResetStream][..]),
            (&[ResetStream], &[ResetStream, SendResponse]),
            (&[ResetStream, SendResponse], &[ResetStream, SendResponse]),
        ] {
            let mut fake = Fake::failing(failing);
            reset(&mut fake);
            assert_eq!((&fake.made[..], &fake.failed[..]), (made, failing));
        }
    }

    #[test]
    fn a_request_that_cannot_be_resumed_is_abandoned_and_answered() {
        for (failing, made) in [
            (&[][..], &[ResumeRequest][..]),
            (&[ResumeRequest], &[ResumeRequest, SendResponse]),
            (&[ResumeRequest, SendResponse], &[ResumeRequest, SendResponse, ResetStream]),
        ] {
            let mut fake = Fake::failing(failing);
            let mut abandoned = false;
            resume_request(&mut fake, || {
                abandoned = true;
                Some(local())
            });
            assert_eq!((&fake.made[..], &fake.failed[..]), (made, failing));
            assert_eq!(abandoned, !failing.is_empty());
        }
    }

    #[test]
    fn a_request_that_cannot_be_resumed_or_answered_is_reset() {
        let mut fake = Fake::failing(&[ResumeRequest]);
        resume_request(&mut fake, || None);
        assert_eq!(fake.made, [ResumeRequest, ResetStream]);
    }

    #[test]
    fn failures_are_logged_at_powers_of_two_for_each_call() {
        let mut failures = Failures::default();
        let logged: Vec<_> =
            (1..=20).filter(|_| failures.count(ResetStream, HostError(10)).is_some()).collect();
        assert_eq!(logged, [1, 2, 4, 8, 16]);
        for (index, call) in Call::ALL.into_iter().enumerate() {
            assert_eq!(call as usize, index);
        }
        let line = failures.count(SendResponse, HostError(2)).unwrap();
        assert_eq!(
            line,
            "sending a local response (proxy_send_local_response) failed with status 2 (failure 1 on this worker)"
        );
    }
}
