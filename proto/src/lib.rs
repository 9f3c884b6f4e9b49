//! What nodes say to each other: messages and gRPC services, generated out of `narthex/v1/*.proto`, and the frames in which
//! bytes of our own layouts travel.
//!
//! The only crate with generated code. It knows no values of the model: a payload is bytes here, and the crate that wrote it
//! reads it. Names in messages are checked by whoever receives them. Connections ([`Dialer`]) are set up here, listeners in
//! `server`.

mod dial;
mod frame;
#[doc(hidden)]
pub mod fuzzing;

pub use dial::{ClientTls, DialError, Dialer};
pub use frame::{FrameError, LEADER_HEADER, SMALL_BYTES_MAX, open, seal};

/// Version 1 of the protocol.
pub mod v1 {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated; the .proto files hold the documentation"
    )]
    tonic::include_proto!("narthex.v1");
}
