//! Who may ask what over the control socket.
//!
//! Pure: whoever asks is told by the kernel, which groups are let in by the configuration.

use crate::model::control::{Refused, Request, Trouble};

/// Who is let in, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// The daemon's own user, who may do everything as root may.
    pub own: u32,
    /// The group whose members may ask everything.
    pub group: Option<u32>,
    /// The group whose members may look.
    pub read_group: Option<u32>,
}

/// Who asks, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// All groups, the first one included.
    pub groups: Vec<u32>,
}

/// What somebody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Everything.
    Write,
}

impl Permissions {
    /// What somebody may.
    pub fn access(&self, who: &Credentials) -> Access {
        let is_in = |group: Option<u32>| group.is_some_and(|group| who.groups.contains(&group));
        if who.uid == 0 || who.uid == self.own || is_in(self.group) {
            Access::Write
        } else if is_in(self.read_group) {
            Access::Read
        } else {
            Access::None
        }
    }

    /// Holds a request against what somebody may.
    ///
    /// # Errors
    /// What he may not, and who may.
    pub fn check(&self, who: &Credentials, request: &Request) -> Result<(), Refused> {
        match self.access(who) {
            Access::Write => Ok(()),
            Access::Read if !request.is_change() => Ok(()),
            Access::Read => Err(Refused::new(
                Trouble::Denied,
                format!(
                    "`{}` is for root and the members of `group` in [control]: those of `read_group` may look",
                    request.command()
                ),
            )),
            Access::None => Err(denied()),
        }
    }
}

/// What is said to somebody who may nothing.
pub fn denied() -> Refused {
    let message = "permission denied (run it as root, or as a member of a group that the configuration allows: `group` \
                   or `read_group` in [control])";
    Refused::new(Trouble::Denied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_what() {
        let both = Permissions {
            own: 7,
            group: Some(100),
            read_group: Some(200),
        };
        let none = Permissions {
            own: 7,
            ..Permissions::default()
        };
        for (permissions, uid, groups, access) in [
            (both, 0, vec![0], Access::Write),
            (both, 7, vec![7], Access::Write),
            (both, 1000, vec![1000, 100], Access::Write),
            (both, 1000, vec![100], Access::Write),
            (both, 1000, vec![1000, 4, 200], Access::Read),
            (both, 1000, vec![200, 100], Access::Write),
            (both, 1000, vec![1000], Access::None),
            (none, 1000, vec![0, 7], Access::None),
            (none, 0, vec![], Access::Write),
        ] {
            let who = Credentials { uid, groups };
            assert_eq!(permissions.access(&who), access, "{who:?}");
            let look = permissions.check(&who, &Request::Plan).is_ok();
            let change = permissions.check(&who, &Request::Resume).is_ok();
            assert_eq!((look, change), (access >= Access::Read, access == Access::Write));
        }
    }
}
