//! What this host lacks for the configuration it is to run: symptom, cause, remedy.
//!
//! `rules` thinks: from a configuration and the facts about a host to findings. `gather` is the hand that collects
//! the facts. Where a finding has a fix, the configuration says whether ipvsd may apply it (`[host] prepare`).

pub mod gather;
pub mod rules;
