//! Calls to the control plane: to the ruler that leads, found by asking any.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cluster::{ClusterMap, NodeState, Role};
use parking_lot::Mutex;
use proto::v1::control_plane_client::ControlPlaneClient;
use proto::{Dialer, LEADER_HEADER, SMALL_BYTES_MAX};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Time for one ruler to answer. Admitting a voter takes longest.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Rulers asked in one call, those that only named the leader included.
const ATTEMPTS_MAX: usize = 16;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The control plane refuses, and would again.
    #[error("the control plane refuses: {}", .0.message())]
    Refused(Status),
    /// No ruler was reached that leads. Nothing is known of what was asked, unless the control plane is down altogether.
    #[error("no ruler answered that leads the control plane")]
    Unavailable(#[source] Option<Status>),
}

/// The way to the control plane. Clones share what they know.
#[derive(Clone)]
pub struct Caller {
    dialer: Dialer,
    first: Arc<[String]>,
    map: watch::Receiver<Arc<ClusterMap>>,
    /// The ruler that answered last. Guards a copy; never held over an await.
    leader: Arc<Mutex<Option<(String, Channel)>>>,
}

impl Caller {
    /// Finds rulers at these addresses and, once there is a map, at those in it.
    pub fn new(dialer: Dialer, control_plane: &[String], map: watch::Receiver<Arc<ClusterMap>>) -> Caller {
        Caller { dialer, first: control_plane.into(), map, leader: Arc::default() }
    }

    /// Makes a call until the leader has answered it, each ruler once, and those that are named on the way.
    pub async fn call<T, F>(&self, mut call: impl FnMut(ControlPlaneClient<Channel>) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut waiting = self.addresses();
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let Some(address) = waiting.pop_front() else { break };
            let channel = match self.channel(&address) {
                Ok(channel) => channel,
                Err(e) => {
                    last = Some(Status::unavailable(e.to_string()));
                    continue;
                }
            };
            let client = ControlPlaneClient::new(channel.clone()).max_decoding_message_size(SMALL_BYTES_MAX);
            match call(client).await {
                Ok(reply) => {
                    *self.leader.lock() = Some((address, channel));
                    return Ok(reply.into_inner());
                }
                Err(status) if is_refusal(&status) => return Err(CallError::Refused(status)),
                Err(status) => {
                    self.leader.lock().take_if(|(known, _)| *known == address);
                    let named = status.metadata().get(LEADER_HEADER).and_then(|value| value.to_str().ok());
                    if let Some(named) = named.filter(|named| *named != address) {
                        waiting.retain(|other| other != named);
                        waiting.push_front(named.to_owned());
                    }
                    last = Some(status);
                }
            }
        }
        Err(CallError::Unavailable(last))
    }

    /// Version of the map that this node holds.
    pub(crate) fn map_version(&self) -> u64 {
        self.map.borrow().version().0
    }

    /// The one that answered last, those given, those in the map.
    fn addresses(&self) -> VecDeque<String> {
        let leader = self.leader.lock().as_ref().map(|(address, _)| address.clone());
        let map = self.map.borrow().clone();
        let rulers = map.nodes().filter(|(_, n)| n.roles.contains(Role::Ruler) && n.state != NodeState::Left);
        let known = rulers.map(|(_, node)| node.address.as_str().to_owned());
        let mut addresses = VecDeque::new();
        for address in leader.into_iter().chain(self.first.iter().cloned()).chain(known) {
            if !addresses.contains(&address) {
                addresses.push_back(address);
            }
        }
        addresses
    }

    fn channel(&self, address: &str) -> Result<Channel, proto::DialError> {
        if let Some((known, channel)) = &*self.leader.lock()
            && known == address
        {
            return Ok(channel.clone());
        }
        self.dialer.dial(address, CALL_TIMEOUT)
    }
}

/// Whether asking again, here or elsewhere, would end the same way.
fn is_refusal(status: &Status) -> bool {
    match status.code() {
        // Without words it is the transport's: there is no ruler at this address.
        Code::Unimplemented => !status.message().is_empty(),
        Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::InvalidArgument
        | Code::OutOfRange
        | Code::Unauthenticated
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_same_way_everywhere_is_a_refusal() {
        for (status, expected) in [
            (Status::permission_denied("another cluster"), true),
            (Status::unimplemented("frame of version 9"), true),
            // An ingester, say, that is asked among others.
            (Status::unimplemented(""), false),
            (Status::unavailable("follower"), false),
        ] {
            assert_eq!(is_refusal(&status), expected, "{status}");
        }
    }
}
