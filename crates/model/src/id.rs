//! Identifiers that are on disk and on the wire: tenants, series, partitions.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::Labels;
use crate::labels::put_uvarint;

/// Who owns the data. `anonymous` when tenancy is off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The tenant of a system without tenancy.
    pub const ANONYMOUS: &str = "anonymous";

    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 150;

    /// `None` when the name is empty, too long, or has characters besides `a-zA-Z0-9!-_.*'()`, which are those that object
    /// stores and Mimir take.
    pub fn new(name: &str) -> Option<TenantId> {
        let fits = !name.is_empty() && name.len() <= TenantId::BYTES_MAX && name != "." && name != "..";
        let known = |b: u8| b.is_ascii_alphanumeric() || b"!-_.*'()".contains(&b);
        (fits && name.bytes().all(known)).then(|| TenantId(name.into()))
    }

    /// The tenant of a system without tenancy.
    pub fn anonymous() -> TenantId {
        TenantId(TenantId::ANONYMOUS.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a series is called everywhere: XXH3-128, seed 0, over uvarint length and bytes of the tenant, then of name and
/// value of each label, sorted by name, empty values left out. Stable for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u128);

impl SeriesId {
    /// The id of `labels` in `tenant`. `scratch` is overwritten; it spares an allocation.
    pub fn compute(tenant: &TenantId, labels: &Labels, scratch: &mut Vec<u8>) -> SeriesId {
        scratch.clear();
        SeriesId::put_tenant(tenant, scratch);
        scratch.extend_from_slice(labels.as_packed());
        SeriesId::of_packed(scratch)
    }

    /// Appends what precedes the packed labels in the text that is hashed.
    pub fn put_tenant(tenant: &TenantId, out: &mut Vec<u8>) {
        put_uvarint(out, tenant.0.len());
        out.extend_from_slice(tenant.0.as_bytes());
    }

    /// The id of a tenant (see [`SeriesId::put_tenant`]) followed by packed labels (see [`Labels::as_packed`]).
    pub fn of_packed(tenant_and_labels: &[u8]) -> SeriesId {
        SeriesId(xxh3_128(tenant_and_labels))
    }

    /// The partition among `partition_count`, which is a power of two: the top bits of the id.
    pub fn partition(self, partition_count: u32) -> PartitionId {
        debug_assert!(partition_count.is_power_of_two());
        let bits = partition_count.trailing_zeros();
        if bits == 0 {
            return PartitionId(0);
        }
        PartitionId(u32::try_from(self.0 >> (128 - bits)).expect("fewer than 32 bits are left"))
    }
}

impl fmt::Debug for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One of the power-of-two many parts into which [`SeriesId`]s fall; a head and a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tenant: &str, labels: &[(&str, &str)], expected: &str) {
        let labels = Labels::from_pairs(labels.iter().copied()).unwrap();
        let id = SeriesId::compute(&TenantId::new(tenant).unwrap(), &labels, &mut Vec::new());
        assert_eq!(format!("{id:?}"), expected);
    }

    /// Golden vectors (computed by xxHash's C library): these ids are on disks. They may never change.
    #[test]
    fn series_ids_are_stable() {
        check("anonymous", &[], "67b8427744602bc4ca1f9d8f5fc481ba");
        check("anonymous", &[("__name__", "up")], "3563704cb959c4af6d2939bf26c4336c");
        check(
            "anonymous",
            &[("job", "node"), ("__name__", "up"), ("instance", "a:9100")],
            "a7ca86e195ea23a710347c09ef7e866e",
        );
        check("tenant-1", &[("__name__", "up")], "b5bebeed4f9300f4cbe73d30a558b5d5");
    }

    #[test]
    fn the_partition_is_the_top_of_the_id() {
        let id = SeriesId(0xabcd_0000_0000_0000_0000_0000_0000_0000);
        assert_eq!(id.partition(1), PartitionId(0));
        assert_eq!(id.partition(16), PartitionId(0xa));
        assert_eq!(id.partition(64), PartitionId(0b10_1010));
    }

    #[test]
    fn tenants_that_cannot_be_object_names_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(151)] {
            assert_eq!(TenantId::new(name), None, "{name}");
        }
        assert!(TenantId::new("team-a_1.(x)*'!").is_some());
    }
}
