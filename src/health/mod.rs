//! Health: from probe results to verdicts, from verdicts to who serves.
//!
//! Pure. The rules are keepalived's where it has them (one failure is enough for a server never seen up; a down server is
//! probed on at `interval`; quorum and hysteresis), with `rise`, tiers and much else added and without its gap:
//! [`crate::plan`] orders the changes.
//!
//! | file | what |
//! |---|---|
//! | `check` | one check's results towards a verdict |
//! | `flap` | one that keeps changing is held down |
//! | `standing` | all that is said about one server: which state and weight count |
//! | `seat` | what a pool remembers of one member: whether it is in, how far it has come back |
//! | `tier` | which tier of a pool serves: quorum, return, panic |
//! | `pool` | the destinations that a service should have |

mod check;
mod flap;
mod pool;
mod seat;
mod standing;
mod tier;

pub use check::{Check, share};
pub use pool::destinations;
pub use seat::Seat;
pub use standing::{Advised, Inputs, Standing, server_state, standing};
pub use tier::{Found, Pool, PoolNews};

pub use crate::model::Tier;
