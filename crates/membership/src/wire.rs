//! What nodes say of themselves: between messages and checked values. Used by both ends.

use cluster::{Address, Command, Incarnation, Joining, NodeId, Replica, Role, Roles, Zone};
use proto::v1;
use tonic::Status;

/// Whether a caller means this cluster.
pub fn check_cluster(own: &str, asked: &str) -> Result<(), Status> {
    if own == asked {
        return Ok(());
    }
    tracing::warn!(asked, own, "a node of another cluster was refused");
    Err(Status::permission_denied(format!("this is cluster {own:?}, not {asked:?}")))
}

/// A node that a message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The node with its directory.
    pub replica: Replica,
    /// Where it answers.
    pub address: Address,
}

fn invalid(what: &str) -> Status {
    Status::invalid_argument(format!("{what} is missing or impossible"))
}

/// Reads a node.
pub fn named(node: Option<v1::Node>) -> Result<Named, Status> {
    let node = node.ok_or_else(|| invalid("the node"))?;
    let id = NodeId::new(&node.name).ok_or_else(|| invalid("the node id"))?;
    let address = Address::new(&node.address).ok_or_else(|| invalid("the node's address"))?;
    Ok(Named { replica: Replica { node: id, incarnation: Incarnation(node.incarnation) }, address })
}

/// Writes a node.
pub fn node(named: &Named) -> v1::Node {
    v1::Node {
        name: named.replica.node.as_str().to_owned(),
        incarnation: named.replica.incarnation.0,
        address: named.address.as_str().to_owned(),
    }
}

/// Reads a request to join, the cluster's name apart.
pub fn joining(request: v1::JoinRequest) -> Result<Joining, Status> {
    let Named { replica, address } = named(request.node)?;
    let zone = Zone::new(&request.zone).ok_or_else(|| invalid("the zone"))?;
    let roles = request.roles.iter().map(|name| Role::from_name(name).ok_or_else(|| invalid("a role")));
    let roles = Roles::of(roles.collect::<Result<Vec<_>, _>>()?).ok_or_else(|| invalid("the list of roles"))?;
    Ok(Joining { node: replica.node, roles, zone, address, incarnation: replica.incarnation })
}

/// Writes a request to join.
pub fn join_request(cluster: &str, joining: &Joining) -> v1::JoinRequest {
    let replica = Replica { node: joining.node.clone(), incarnation: joining.incarnation };
    v1::JoinRequest {
        cluster: cluster.to_owned(),
        node: Some(node(&Named { replica, address: joining.address.clone() })),
        zone: joining.zone.as_str().to_owned(),
        roles: joining.roles.iter().map(|role| role.as_str().to_owned()).collect(),
    }
}

/// Reads the command of a report: only what a node may report of itself.
pub fn reported(node: &Replica, bytes: &[u8]) -> Result<Command, Status> {
    let command = Command::decode(bytes).map_err(|e| Status::invalid_argument(format!("read command: {e}")))?;
    match &command {
        Command::ReportFilled { replica, .. } if replica == node => Ok(command),
        Command::RecordHole(_) => Ok(command),
        _ => Err(Status::permission_denied(format!("{node} may not report: {command}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_join_reads_back() {
        let asked = Joining {
            node: NodeId::new("a").unwrap(),
            roles: Roles::one(Role::Ingester).with(Role::Ruler),
            zone: Zone::new("z").unwrap(),
            address: Address::new("h:1").unwrap(),
            incarnation: Incarnation(7),
        };
        let request = join_request("c", &asked);
        assert_eq!(joining(request.clone()).unwrap(), asked);
        for spoil in [
            |r: &mut v1::JoinRequest| r.node = None,
            |r: &mut v1::JoinRequest| r.zone = String::new(),
            |r: &mut v1::JoinRequest| r.roles.clear(),
            |r: &mut v1::JoinRequest| r.roles.push("king".into()),
            |r: &mut v1::JoinRequest| r.node.as_mut().unwrap().name = "a b".into(),
            |r: &mut v1::JoinRequest| r.node.as_mut().unwrap().address = String::new(),
        ] {
            let mut bad = request.clone();
            spoil(&mut bad);
            assert_eq!(joining(bad.clone()).unwrap_err().code(), tonic::Code::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn a_node_reports_only_of_itself() {
        let own = Replica { node: NodeId::new("a").unwrap(), incarnation: Incarnation(1) };
        let other = Replica { incarnation: Incarnation(2), ..own.clone() };
        let filled = |replica: &Replica| Command::ReportFilled {
            group: cluster::GroupId(0),
            seen: cluster::GenerationNumber(1),
            replica: replica.clone(),
        };
        assert!(reported(&own, &filled(&own).encode()).is_ok());
        assert_eq!(reported(&own, &filled(&other).encode()).unwrap_err().code(), tonic::Code::PermissionDenied);
        assert_eq!(reported(&own, b"\x01nonsense").unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
