//! Which image a flow version runs in: what the flow needs, what the operator has, and what an
//! other runtime than the flow's own changes.

mod changes;
mod components;
mod mentioned;
mod minor;
mod needs;
mod packages;
mod requirement;
mod settings;

pub use changes::{Change, Field, Warning};
pub use mentioned::mentioned;
pub use minor::{Minor, NotAMinor};
pub use needs::Needs;
pub use packages::{BuildState, IMAGES, Packaged};
pub use requirement::{REQUIREMENTS_MAX, Reason, Refused, Requirements, normalised};
pub use settings::{Build, Runtime, Runtimes, SettingsError};
