//! The cluster map for people: what `/api/v1/status/cluster` shows.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::{ClusterMap, Group, GroupId, Promise, shortcomings};
use serde_json::{Value, json};

/// The map as JSON, with the age of the word that it is the control plane's.
pub fn map_as_json(map: &ClusterMap, age: Option<Duration>) -> Value {
    let nodes = map.nodes().map(|(id, node)| {
        json!({
            "name": id.as_str(),
            "roles": node.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
            "zone": node.zone.as_str(),
            "address": node.address.as_str(),
            "incarnation": node.incarnation.to_string(),
            "state": node.state.as_str(),
            "changed": node.changed.0,
        })
    });
    let mut owned = BTreeMap::<GroupId, usize>::new();
    map.owners().for_each(|group| *owned.entry(group).or_default() += 1);
    let holes = map
        .holes()
        .iter()
        .map(|hole| json!({ "group": hole.group.0, "mint": hole.range.mint.0, "maxt": hole.range.maxt.0 }));
    json!({
        "cluster": map.cluster().map(|id| id.to_string()),
        "version": map.version().0,
        "ageSeconds": age.map(|age| age.as_secs_f64()),
        "replicationFactor": map.replication_factor(),
        "bootstrapIngesters": map.bootstrap_ingesters(),
        "partitions": map.partition_count(),
        "partitionsWithoutOwner": map.unplaced().count(),
        "promise": Promise::of(map).map(|promise| promise.to_string()),
        "shortcomings": shortcomings(map).iter().map(ToString::to_string).collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
        "groups": map.groups().iter().map(|g| group(g, owned.get(&g.id()).copied().unwrap_or(0))).collect::<Vec<_>>(),
        "holes": holes.collect::<Vec<_>>(),
    })
}

fn group(group: &Group, partitions: usize) -> Value {
    let newest = group.newest();
    let members = newest.members.iter().map(|member| {
        json!({
            "node": member.replica.node.as_str(),
            "incarnation": member.replica.incarnation.to_string(),
            "filled": member.filled,
        })
    });
    json!({
        "group": group.id().0,
        "generation": newest.number.0,
        "generationsThatCount": group.generations().len(),
        "members": members.collect::<Vec<_>>(),
        "partitions": partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_nodes_and_what_is_missing() {
        let page = map_as_json(&crate::held::tests::map(3), Some(Duration::from_millis(1500)));
        assert_eq!(page["version"], 3);
        assert_eq!(page["ageSeconds"], 1.5);
        assert_eq!(page["nodes"][1]["name"], "n3");
        assert_eq!(page["nodes"][1]["roles"], json!(["ruler"]));
        assert_eq!(page["shortcomings"][0], "0 of the 3 ingesters are up that the first groups wait for");
        assert_eq!(map_as_json(&ClusterMap::default(), None)["cluster"], Value::Null);
    }
}
