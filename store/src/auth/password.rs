//! Passwords: argon2id, beside the async threads, and only a few at once.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::secret::Secret;

/// Hashes at the same time. Each takes 19 MiB and tens of milliseconds of one processor, so a
/// flood of logins must neither fill the memory nor starve the rest of the process.
const AT_ONCE: usize = 2;

/// Computes and verifies password hashes.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    /// What the password of an unknown user is compared with.
    dummy: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), dummy: Arc::default() }
    }
}

impl Passwords {
    /// The hash to store.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, Error> {
        let password = password.clone();
        self.compute("hashing a password", move || hash(&password)).await
    }

    /// Whether the password fits. Without a stored hash the answer is no, after the same work.
    pub(crate) async fn verify(
        &self,
        password: &Secret,
        stored: Option<String>,
    ) -> Result<bool, Error> {
        let (password, dummy) = (password.clone(), Arc::clone(&self.dummy));
        let verify = move || {
            let known = stored.is_some();
            let stored =
                stored.unwrap_or_else(|| dummy.get_or_init(|| hash(&Secret::new(""))).clone());
            let fits = PasswordHash::new(&stored).is_ok_and(|stored| {
                Argon2::default().verify_password(password.expose().as_bytes(), &stored).is_ok()
            });
            fits && known
        };
        self.compute("verifying a password", verify).await
    }

    async fn compute<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Interrupted { doing })?;
        // The permit goes with the work: a caller that gives up does not free it early.
        let work = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Interrupted { doing })
    }
}

fn hash(password: &Secret) -> String {
    let hash: argon2::password_hash::phc::PasswordHash = Argon2::default()
        .hash_password(password.expose().as_bytes())
        .expect("the default parameters hash any password");
    hash.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let passwords = Passwords::default();
        let stored = passwords.hash(&Secret::new("right")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let verify = async |password: &str, stored: Option<&str>| {
            passwords.verify(&Secret::new(password), stored.map(str::to_owned)).await.unwrap()
        };
        assert!(verify("right", Some(&stored)).await);
        assert!(!verify("wrong", Some(&stored)).await);
        assert!(!verify("", None).await, "an unknown user has no password, not an empty one");
        assert!(!verify("right", Some("not a hash")).await);
    }
}
