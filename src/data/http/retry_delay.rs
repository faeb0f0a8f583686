//! How long to wait for a server, and when to ask it again.

use std::time::Duration;

use super::Fault;

/// Patience with a server.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest silence in the midst of an answer.
    pub stall: Duration,
    /// Attempts in a row that bring nothing, before it is given up.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait, also where the server asks for a longer one.
    pub longest_wait: Duration,
}

impl Default for Pace {
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

impl Pace {
    /// The wait before the next attempt after `failures` in a row; `None` where it is to be given up, because
    /// there were enough of them, because the fault will not pass, or because the server asks for more patience
    /// than there is.
    pub fn wait(&self, failures: u32, fault: &Fault) -> Option<Duration> {
        if !fault.may_pass() || failures >= self.attempts {
            return None;
        }
        let doubled = self.first_wait.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
        let own = doubled.min(self.longest_wait);
        match fault {
            Fault::Status { wait: Some(asked), .. } if *asked > self.longest_wait => None,
            Fault::Status { wait: Some(asked), .. } => Some(own.max(*asked)),
            _ => Some(own),
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
    fn waits_double_up_to_the_longest_and_heed_the_server() {
        let pace = Pace { attempts: 10, longest_wait: Duration::from_secs(6), ..Pace::default() };
        let seconds = |failures, fault| pace.wait(failures, &fault).map(|wait| wait.as_secs());
        let waits: Vec<_> = (1..5).map(|n| seconds(n, Fault::Lost(String::new()))).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(6)]);
        assert_eq!(seconds(1, status(429, Some(5))), Some(5));
        assert_eq!(seconds(4, status(429, Some(5))), Some(6));
        assert_eq!(seconds(1, status(429, Some(3600))), None, "no patience for an hour");
        assert_eq!(seconds(10, status(503, None)), None, "given up");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let again = |fault| Pace::default().wait(1, &fault).is_some();
        for code in [408, 425, 429, 500, 502, 503, 504] {
            assert!(again(status(code, None)), "{code}");
        }
        for code in [400, 401, 403, 404, 410, 416, 451, 501] {
            assert!(!again(status(code, None)), "{code}");
        }
        assert!(!again(Fault::Answer("a web page".into())));
    }
}
