//! How this process takes memory from the kernel, and gives it back.
//!
//! A daemon wants little and keeps to small pages, a command that ends soon wants it fast and takes huge ones.
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

/// Lets the heap grow by megabytes instead of by 128 kilobytes, for a process that builds something large and ends:
/// the kernel then hands out huge pages, one at a time instead of five hundred small ones. Every thread takes from that
/// heap, for those of their own would grow by small pages. Does nothing where the C library has no such call.
#[allow(unsafe_code)]
pub fn take_generously() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and changes how later allocations are made.
    unsafe {
        nix::libc::mallopt(nix::libc::M_TOP_PAD, 8 << 20);
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}

/// Takes memory by small pages only: where the kernel hands out huge ones (`transparent_hugepage/enabled` is `always` on
/// Debian), what a heap has freed here and there cannot be given back, and half as much again is resident. Children
/// inherit it. Does nothing where the kernel refuses.
///
/// What is large, a state file's text for example, has pages of its own that go back as soon as it is freed. glibc does
/// so at first, and puts the next one of that size into the heap, below what stays.
#[allow(unsafe_code)]
pub fn take_sparingly() {
    // A kernel without huge pages has nothing to switch off.
    let _ = nix::sys::prctl::set_thp_disable(true);
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and changes how later allocations are made.
    unsafe {
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}
