//! What a store wants to know of a bucket: which blocks there are, and which of them are to be deleted; manifests by name.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use ulid::Ulid;

use crate::{Bucket, Error, Manifest};

/// A block of which `meta.json` is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name.
    pub ulid: Ulid,
    /// Somebody has marked it: it is going to be deleted, and something else holds its samples.
    pub marked_for_deletion: bool,
}

impl Bucket {
    /// All blocks, by name, from one listing.
    pub async fn survey(&self) -> Result<Vec<Surveyed>, Error> {
        let failed = |source| Error::Store { action: "list", key: "blocks".to_owned(), source };
        let mut objects = self.objects().list(None);
        // Whether there are `meta.json` and a mark.
        let mut found: BTreeMap<Ulid, (bool, bool)> = BTreeMap::new();
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let Some((folder, file)) = object.location.as_ref().split_once('/') else { continue };
            let Ok(ulid) = folder.parse::<Ulid>() else { continue };
            match file {
                "meta.json" => found.entry(ulid).or_default().0 = true,
                // Source: Thanos `pkg/block/metadata/markers.go`.
                "deletion-mark.json" => found.entry(ulid).or_default().1 = true,
                _ => {}
            }
        }
        let blocks = found.into_iter().filter(|(_, (is_whole, _))| *is_whole);
        Ok(blocks.map(|(ulid, (_, marked_for_deletion))| Surveyed { ulid, marked_for_deletion }).collect())
    }

    /// The manifest of this name; `None` where there is none, or no manifest could be called so.
    pub async fn manifest_named(&self, name: &str) -> Result<Option<Manifest>, Error> {
        let Some((cluster, group, start)) = parse_name(name) else { return Ok(None) };
        self.manifest(cluster, group, start).await
    }
}

/// The parts of `closed/<cluster>/<group>/<start>.json`.
fn parse_name(name: &str) -> Option<(&str, u32, i64)> {
    let mut parts = name.strip_prefix("closed/")?.strip_suffix(".json")?.split('/');
    let (cluster, group, start) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let whole = parts.next().is_none() && Bucket::manifest_name(cluster, group, start) == name;
    whole.then_some((cluster, group, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_manifests_are_read() {
        assert_eq!(parse_name(&Bucket::manifest_name("c", 3, -7)), Some(("c", 3, -7)));
        for name in ["", "closed/c/3/7", "closed/c/3/7/8.json", "closed/../3/7.json", "closed/c/+3/7.json", "meta.json"]
        {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
