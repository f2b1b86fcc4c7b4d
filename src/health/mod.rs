//! Health: from probe results to verdicts, from verdicts to who serves.
//!
//! Pure. `check` counts one check's results towards a verdict; `standing` says, from all that is said about one server,
//! which state and weight count; `pool` says, from the standings of all members, which destinations a service should
//! have. The rules are keepalived's where it has them (one failure is enough for a
//! server never seen up; a down server is probed on at `interval`; the sorry server comes in when the weights of
//! those who are up sum to nothing), with `rise` added and without its gap: [`crate::plan`] orders the changes.

mod check;
mod pool;
mod standing;

pub use check::Check;
pub use pool::{Tier, active_tier, destinations};
pub use standing::{Advised, Inputs, Standing, server_state, standing};
