//! What the user of a store may read and write in etcd.

use etcd_client::{Client, Error};

/// A key that is below no prefix of a store, since those end with a slash. It need not exist: etcd checks the right
/// before it looks for the key.
const OUTSIDE: &str = "kube-ipam-doctor";

/// The role that may do everything. etcd keeps no permissions of it.
const ROOT: &str = "root";

/// What the user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether a key outside every prefix may be read. Without authentication, it may.
    pub reads_outside: bool,
    /// The user, if one is known to etcd: that of the password, or of the client's certificate.
    pub user: Option<String>,
    /// The user's roles.
    pub roles: Vec<String>,
    /// What these roles permit.
    pub permissions: Vec<KeyPermission>,
}

/// A permission of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPermission {
    /// The role.
    pub role: String,
    /// Whether it permits to read.
    pub read: bool,
    /// Whether it permits to write.
    pub write: bool,
    /// The first key.
    pub from: Vec<u8>,
    /// The key after the last one; `None` if there is no last one.
    pub to: Option<Vec<u8>>,
}

impl KeyPermission {
    /// Whether it permits nothing outside these keys.
    pub fn is_within(&self, from: &[u8], to: &[u8]) -> bool {
        from <= self.from.as_slice() && self.to.as_deref().is_some_and(|end| end <= to)
    }

    /// Whether it contains the key. Its end may be that key.
    fn reaches(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && self.to.as_deref().is_none_or(|end| end >= key)
    }
}

impl Rights {
    /// Whether the permissions that satisfy a condition cover all these keys, one or several together.
    pub fn cover(&self, from: &[u8], to: &[u8], permits: impl Fn(&KeyPermission) -> bool) -> bool {
        let mut covered = from.to_vec();
        loop {
            let next = self.permissions.iter().filter(|permission| permits(permission) && permission.reaches(&covered));
            // No end at all is the furthest one.
            match next.map(|permission| permission.to.clone()).max_by(|a, b| (a.is_none(), a).cmp(&(b.is_none(), b))) {
                Some(None) => return true,
                Some(Some(end)) if end.as_slice() >= to => return true,
                Some(Some(end)) if end > covered => covered = end,
                _ => return false,
            }
        }
    }
}

/// Reads the rights of a user. Any user may read its own entry and those of its roles.
pub(super) async fn read(client: &Client, user: Option<&str>) -> Result<Rights, Error> {
    let mut rights = Rights::default();
    match client.kv_client().get(OUTSIDE, None).await {
        Ok(_) => rights.reads_outside = true,
        Err(Error::GRpcStatus(status)) if status.message() == "etcdserver: permission denied" => {}
        Err(e) => return Err(e),
    }
    let Some(user) = user else { return Ok(rights) };
    let mut auth = client.auth_client();
    let found = match auth.user_get(user).await {
        Ok(found) => found,
        // A certificate's name need not be that of a user, unless etcd has users.
        Err(Error::GRpcStatus(status)) if status.message() == "etcdserver: user name not found" => return Ok(rights),
        Err(e) => return Err(e),
    };
    rights.user = Some(user.to_owned());
    for role in found.roles() {
        rights.roles.push(role.clone());
        if role == ROOT {
            continue;
        }
        let permissions = auth.role_get(role.as_str()).await?.permissions();
        rights.permissions.extend(permissions.iter().map(|permission| from_etcd(role, permission)));
    }
    Ok(rights)
}

/// etcd's encoding of a span: no end for a single key, a zero byte for no last key (etcd API reference, `Permission`).
fn from_etcd(role: &str, permission: &etcd_client::Permission) -> KeyPermission {
    const READ: i32 = 0;
    const WRITE: i32 = 1;
    const READ_WRITE: i32 = 2;
    let kind = permission.get_type();
    let from = permission.key().to_vec();
    let to = match permission.range_end() {
        [] => Some([from.as_slice(), b"\0"].concat()),
        [0] => None,
        end => Some(end.to_vec()),
    };
    KeyPermission {
        role: role.to_owned(),
        read: matches!(kind, READ | READ_WRITE),
        write: matches!(kind, WRITE | READ_WRITE),
        from: if from == [0] { Vec::new() } else { from },
        to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(from: &str, to: Option<&str>, write: bool) -> KeyPermission {
        KeyPermission {
            role: "ipam".to_owned(),
            read: true,
            write,
            from: from.into(),
            to: to.map(|to| to.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_permission_is_within_a_prefix_only_if_all_its_keys_are() {
        let cases = [
            (permission("/a/", Some("/a0"), true), true),
            (permission("/a/x", Some("/a/x\0"), true), true),
            (permission("/a", Some("/a0"), true), false),
            (permission("/a/", Some("/b"), true), false),
            (permission("/a/", None, true), false),
            (permission("", None, true), false),
        ];
        for (permission, expected) in cases {
            assert_eq!(permission.is_within(b"/a/", b"/a0"), expected, "{permission:?}");
        }
    }

    #[test]
    fn permissions_cover_a_prefix_together_and_not_with_a_gap() {
        let covers = |permissions: Vec<KeyPermission>| {
            Rights { permissions, ..Rights::default() }.cover(b"/a/", b"/a0", |permission| permission.write)
        };
        assert!(covers(vec![permission("/a/", Some("/a0"), true)]));
        assert!(covers(vec![permission("", None, true)]));
        assert!(covers(vec![permission("/a/m", None, true), permission("/a/", Some("/a/m"), true)]));
        assert!(!covers(vec![permission("/a/n", None, true), permission("/a/", Some("/a/m"), true)]));
        assert!(!covers(vec![permission("/a/", Some("/a0"), false)]));
        assert!(!covers(vec![permission("/a/", Some("/a/m"), true)]));
        assert!(!covers(Vec::new()));
    }

    #[test]
    fn spans_are_read_as_etcd_writes_them() {
        use etcd_client::Permission;
        let read = |permission: Permission| from_etcd("r", &permission);
        assert_eq!(read(Permission::read("/a")).to, Some(b"/a\0".to_vec()));
        assert_eq!(read(Permission::read_write("/a/").with_range_end("/a0")).to, Some(b"/a0".to_vec()));
        assert_eq!(read(Permission::write("/a/").with_range_end("\0")).to, None);
        let all = read(Permission::read_write("\0").with_range_end("\0"));
        assert_eq!((all.from, all.to), (Vec::new(), None));
        let kinds = [Permission::read("k"), Permission::write("k"), Permission::read_write("k")];
        assert_eq!(
            kinds.map(|permission| {
                let read = read(permission);
                (read.read, read.write)
            }),
            [(true, false), (false, true), (true, true)]
        );
    }
}
