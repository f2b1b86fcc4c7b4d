//! The `ipvsd` binary.

fn main() {}
