//! How often somebody may try to log in: checking a password is slow on purpose, so it is also
//! a way to keep the server busy.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

/// The window over which attempts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Attempts for one name in a window: enough for somebody who mistypes, too few to guess.
const PER_USER_MAX: u32 = 10;

/// Attempts in all in a window: at a tenth of a second each, a tenth of one core.
const GLOBAL_MAX: u32 = 60;

/// Counts attempts of the current window. The global limit bounds the map too.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Option<Window>>);

#[derive(Debug)]
struct Window {
    began: Instant,
    total: u32,
    by_user: HashMap<String, u32>,
}

impl Throttle {
    /// Counts an attempt for this name, or refuses it.
    pub(crate) fn attempt(&self, username: &str, now: Instant) -> Result<(), Error> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.get_or_insert_with(|| Window::new(now));
        let age = now.saturating_duration_since(window.began);
        if age >= WINDOW {
            *window = Window::new(now);
        }
        let user = window.by_user.get(username).copied().unwrap_or(0);
        if window.total >= GLOBAL_MAX || user >= PER_USER_MAX {
            let retry_after_s = WINDOW.saturating_sub(age).as_secs().max(1);
            return Err(Error::TooManyLogins { retry_after_s });
        }
        window.total += 1;
        window.by_user.insert(username.to_owned(), user + 1);
        Ok(())
    }
}

impl Window {
    fn new(began: Instant) -> Self {
        Self { began, total: 0, by_user: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_each_name_and_all_together() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..PER_USER_MAX {
            throttle.attempt("eve", now).unwrap();
        }
        assert!(throttle.attempt("eve", now).is_err());
        for number in 0..GLOBAL_MAX - PER_USER_MAX {
            throttle.attempt(&format!("user-{number}"), now).unwrap();
        }
        assert!(throttle.attempt("bob", now).is_err());
        assert!(throttle.attempt("eve", now + WINDOW).is_ok());
    }
}
