//! Who is who: clusters, nodes, zones, incarnations, roles.

use std::fmt;
use std::sync::Arc;

/// A random number born when the Raft group is initialised; it keeps two clusters on one bucket apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u128);

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A random number born with a node's data directory. A new directory is a new incarnation: what was promised on the old
/// disk is not promised here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Declares a name: a short text whose only constructor checks it.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $bytes_max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Longest text in bytes.
            pub const BYTES_MAX: usize = $bytes_max;

            /// `None` when the text is empty, too long, or has characters that are not allowed.
            pub fn new(text: &str) -> Option<$name> {
                let fits = !text.is_empty() && text.len() <= $name::BYTES_MAX;
                let allowed: fn(u8) -> bool = $allowed;
                (fits && text.bytes().all(allowed)).then(|| $name(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A node's name, unique in its cluster: `a-zA-Z0-9._-`, at most 128 bytes.
    NodeId, 128, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)
);
name!(
    /// What fails together, a data centre's hall say: `a-zA-Z0-9._-`, at most 128 bytes.
    Zone, 128, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)
);
name!(
    /// `host:port` at which a node answers others: printable ASCII without spaces, at most 261 bytes (a DNS name and a port).
    Address, 261, |b| b.is_ascii_graphic()
);

/// A node's data directory: the unit that holds, promises and forgets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Replica {
    /// The node.
    pub node: NodeId,
    /// Its directory.
    pub incarnation: Incarnation,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.incarnation)
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Discovers and scrapes targets.
    Scraper = 0,
    /// Takes remote write.
    Distributor = 1,
    /// Holds recent samples.
    Ingester = 2,
    /// Serves blocks out of the bucket.
    Store = 3,
    /// Merges and expires blocks.
    Compactor = 4,
    /// Answers queries.
    Querier = 5,
    /// Carries the control plane and evaluates rules.
    Ruler = 6,
}

impl Role {
    /// Every role, in the order of the numbers that stand for them on disk.
    pub const ALL: [Role; 7] =
        [Role::Scraper, Role::Distributor, Role::Ingester, Role::Store, Role::Compactor, Role::Querier, Role::Ruler];

    /// The name of the sub-command.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Scraper => "scraper",
            Role::Distributor => "distributor",
            Role::Ingester => "ingester",
            Role::Store => "store",
            Role::Compactor => "compactor",
            Role::Querier => "querier",
            Role::Ruler => "ruler",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// A set of roles; never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// What `narthex all` does.
    pub const ALL: Roles = Roles((1 << Role::ALL.len()) - 1);

    /// The set of one role.
    pub const fn one(role: Role) -> Roles {
        Roles(1 << role as u8)
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, role: Role) -> Roles {
        Roles(self.0 | 1 << role as u8)
    }

    /// Whether the role is in the set.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// The roles, in order.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }

    /// The set of these; `None` when there is none.
    pub fn of(roles: impl IntoIterator<Item = Role>) -> Option<Roles> {
        roles
            .into_iter()
            .fold(None, |set: Option<Roles>, role| Some(set.map_or(Roles::one(role), |set| set.with(role))))
    }

    /// The set as bits, for disk and wire.
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; `None` when empty or with bits that stand for no role.
    pub(crate) fn from_bits(bits: u8) -> Option<Roles> {
        (bits != 0 && bits & !Roles::ALL.0 == 0).then_some(Roles(bits))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for role in self.iter() {
            write!(f, "{separator}{}", role.as_str())?;
            separator = "+";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["", "a b", "a/b", "ä", "a:1", &"x".repeat(129)] {
            assert_eq!(NodeId::new(name), None, "{name}");
        }
        assert_eq!(NodeId::new("ingester-0.zone_a").unwrap().as_str(), "ingester-0.zone_a");
        assert_eq!(Address::new("[::1]:9095").unwrap().to_string(), "[::1]:9095");
        assert_eq!(Address::new("host :1"), None);
    }

    #[test]
    fn roles_are_a_set() {
        let roles = Roles::one(Role::Ruler).with(Role::Scraper);
        assert_eq!(roles.to_string(), "scraper+ruler");
        assert!(!roles.contains(Role::Ingester));
        assert!(Role::ALL.into_iter().all(|role| Roles::ALL.contains(role)));
        assert_eq!(Roles::of(roles.iter()), Some(roles));
        assert_eq!((Roles::of([]), Role::from_name("ruler"), Role::from_name("x")), (None, Some(Role::Ruler), None));
        assert_eq!(Roles::from_bits(0), None);
        assert_eq!(Roles::from_bits(0x80), None);
        assert_eq!(Roles::from_bits(roles.bits()), Some(roles));
    }
}
