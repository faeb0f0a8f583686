//! Time-outs, and the delay before a failed request is repeated.

use std::time::Duration;

use super::Fault;

/// Time-outs and retries of a client.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest pause in a response.
    pub stall: Duration,
    /// Failed attempts in a row before the client gives up.
    pub attempts: u32,
    /// The delay after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest delay. The download ends if a server requests a longer one.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(15),
            stall: seconds(30),
            attempts: 6,
            first_wait: seconds(1),
            longest_wait: seconds(120),
        }
    }
}

impl RetryPolicy {
    /// The delay before the next attempt after `failures` failures in a row. `None` means to give up: after
    /// too many failures, on a fault that is not transient, or when the server requests too long a delay.
    pub fn delay(&self, failures: u32, fault: &Fault) -> Option<Duration> {
        if !fault.is_transient() || failures >= self.attempts {
            return None;
        }
        let doubled = self.first_wait.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
        let backoff = doubled.min(self.longest_wait);
        match fault {
            Fault::Status { wait: Some(requested), .. } if *requested > self.longest_wait => None,
            Fault::Status { wait: Some(requested), .. } => Some(backoff.max(*requested)),
            _ => Some(backoff),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, wait: Option<u64>) -> Fault {
        Fault::Status { code, wait: wait.map(Duration::from_secs) }
    }

    #[test]
    fn delays_double_up_to_the_longest_and_respect_the_server() {
        let policy =
            RetryPolicy { attempts: 10, longest_wait: Duration::from_secs(6), ..RetryPolicy::default() };
        let seconds = |failures, fault| policy.delay(failures, &fault).map(|wait| wait.as_secs());
        let waits: Vec<_> = (1..5).map(|n| seconds(n, Fault::Lost(String::new()))).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(6)]);
        assert_eq!(seconds(1, status(429, Some(5))), Some(5));
        assert_eq!(seconds(4, status(429, Some(5))), Some(6));
        assert_eq!(seconds(1, status(429, Some(3600))), None, "no patience for an hour");
        assert_eq!(seconds(10, status(503, None)), None, "given up");
    }

    #[test]
    fn only_transient_faults_are_retried() {
        let again = |fault| RetryPolicy::default().delay(1, &fault).is_some();
        for code in [408, 425, 429, 500, 502, 503, 504] {
            assert!(again(status(code, None)), "{code}");
        }
        for code in [400, 401, 403, 404, 410, 416, 451, 501] {
            assert!(!again(status(code, None)), "{code}");
        }
        assert!(!again(Fault::Answer("a web page".into())));
    }
}
