//! Other files in the place of this machine's, for programs that read fixed paths.

use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::require_kernel;

/// Puts a file or folder over another of the same kind until the lab's kernel ends. The root file system there is
/// read-only, and nobody outside of the lab sees the mount.
pub fn cover(target: &Path, with: &Path) -> Result<()> {
    require_kernel();
    mount(Some(with), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot put {} over {}", with.display(), target.display()))
}
