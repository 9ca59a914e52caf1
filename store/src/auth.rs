//! Who is asking: API keys, passwords, sessions, and the very first start.

mod authenticate;
mod bootstrap;
mod password;
mod session;
mod token;

use domain::id::{KeyId, TenantId, UserId};

pub use bootstrap::FirstUser;
pub(crate) use password::Passwords;
pub(crate) use token::NewToken;

use crate::connect::Store;

/// A proven identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant whose rows it may see.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The user's login name.
    pub username: String,
    /// The API key it came with, unless it was a password or a session.
    pub key: Option<KeyId>,
    /// What the key may be used for; empty for everything its user may do.
    pub scopes: Vec<String>,
    /// Whether the user may do everything on this installation.
    pub is_superuser: bool,
}

/// Proves identities. Works on all tenants: who asks is not known yet.
#[derive(Clone, Debug)]
pub struct Auth {
    pub(crate) store: Store,
}
