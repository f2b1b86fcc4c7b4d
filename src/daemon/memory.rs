//! Giving memory back that a burst of work has left behind.
//!
//! glibc keeps what was freed below a piece that is still in use; after reading a large configuration that is several
//! times the configuration itself. A long-lived process gives it back; one that ends soon need not.

/// Returns free pages of the heap to the kernel; does nothing where the C library has no such call.
#[allow(unsafe_code)]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes a number, may be called at any time and from any thread, and touches free memory only.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
