//! Whom the kernel says a connection is from: user and groups at the time of connecting (unix(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::access::Credentials;

/// `SO_PEERGROUPS` of include/uapi/asm-generic/socket.h, Linux 4.13.
const SO_PEERGROUPS: libc::c_int = 59;

/// How many groups there is room for at first.
const ROOM: usize = 64;

/// Who is at the other end, with the supplementary groups.
///
/// # Errors
/// The kernel does not say.
pub(super) fn credentials(socket: &impl AsFd) -> io::Result<Credentials> {
    let found = getsockopt(socket, PeerCredentials)?;
    // A kernel that does not tell of further groups leaves the first one.
    let mut groups = groups(socket).unwrap_or_default();
    groups.push(found.gid());
    Ok(Credentials {
        uid: found.uid(),
        groups,
    })
}

fn groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; ROOM];
    loop {
        let (length, result) = ask(socket, &mut groups);
        let count = length / size_of::<libc::gid_t>();
        match result {
            Ok(()) => {
                groups.truncate(count);
                return Ok(groups);
            }
            // It says how much it wants.
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => groups.resize(count, 0),
            Err(error) => return Err(error),
        }
    }
}

/// Asks once; answers with the length in bytes that the kernel gives or wants.
#[allow(unsafe_code, reason = "no library has this option")]
fn ask(socket: &impl AsFd, groups: &mut [libc::gid_t]) -> (usize, io::Result<()>) {
    let mut length = libc::socklen_t::try_from(size_of_val(groups)).unwrap_or(0);
    // SAFETY: the descriptor is borrowed for the call; the buffer is `length` bytes of numbers that any bytes are valid for,
    // and the kernel writes at most that many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let result = match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    (length as usize, result)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_other_end_of_a_pair_is_this_process_with_all_its_groups() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let found = credentials(&one).expect("credentials");
        assert_eq!(found.uid, nix::unistd::geteuid().as_raw());
        assert!(found.groups.contains(&nix::unistd::getegid().as_raw()));
        for group in nix::unistd::getgroups().expect("groups") {
            assert!(found.groups.contains(&group.as_raw()), "{group} in {found:?}");
        }
    }
}
