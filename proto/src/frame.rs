//! Frames: bytes with a version, a checksum and a bound.

use bytes::Bytes;
use tonic::{Code, Status};

use crate::v1::Frame;

/// Version of the message `Frame`.
const VERSION: u32 = 1;

/// Metadata of a refusal that names the leader of the control plane.
pub const LEADER_HEADER: &str = "narthex-leader";

/// Largest message of a service that carries no frames of data: names, lists of voters, one command.
pub const SMALL_BYTES_MAX: usize = 128 << 10;

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There is none in the message.
    #[error("the message has no frame")]
    Missing,
    /// Written by a program whose frames this one does not know.
    #[error("frame of version {found}, this program reads version {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// Larger than such a message may be.
    #[error("frame of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The bytes are not those that were sent.
    #[error("frame with checksum {found:08x}, its bytes have {computed:08x}")]
    Checksum {
        /// What it says.
        found: u32,
        /// What its bytes say.
        computed: u32,
    },
}

impl From<FrameError> for Status {
    fn from(error: FrameError) -> Status {
        let code = match error {
            FrameError::Missing | FrameError::TooLarge { .. } => Code::InvalidArgument,
            FrameError::Version { .. } => Code::Unimplemented,
            FrameError::Checksum { .. } => Code::DataLoss,
        };
        Status::new(code, error.to_string())
    }
}

/// Puts bytes into a frame.
pub fn seal(payload: Bytes) -> Frame {
    Frame { version: VERSION, crc32c: crc32c::crc32c(&payload), payload }
}

/// Takes the bytes out of a frame, if they are those that were put in and no more than `bytes_max`.
pub fn open(frame: Option<Frame>, bytes_max: usize) -> Result<Bytes, FrameError> {
    let Frame { version, crc32c: found, payload } = frame.ok_or(FrameError::Missing)?;
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    if payload.len() > bytes_max {
        return Err(FrameError::TooLarge { bytes: payload.len(), max: bytes_max });
    }
    let computed = crc32c::crc32c(&payload);
    if computed == found { Ok(payload) } else { Err(FrameError::Checksum { found, computed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_and_nothing_else() {
        let bytes = Bytes::from_static(b"map");
        let frame = seal(bytes.clone());
        assert_eq!(open(Some(frame.clone()), 3), Ok(bytes));
        assert_eq!(open(None, 3), Err(FrameError::Missing));
        assert_eq!(open(Some(Frame { version: 2, ..frame.clone() }), 3), Err(FrameError::Version { found: 2 }));
        assert_eq!(open(Some(frame.clone()), 2), Err(FrameError::TooLarge { bytes: 3, max: 2 }));
        let flipped = Frame { payload: Bytes::from_static(b"mop"), ..frame.clone() };
        assert!(matches!(open(Some(flipped), 3), Err(FrameError::Checksum { .. })));
        let cut = Frame { payload: Bytes::from_static(b"ma"), ..frame };
        assert!(matches!(open(Some(cut), 3), Err(FrameError::Checksum { .. })));
    }

    #[test]
    fn each_error_has_its_code() {
        let code = |e: FrameError| Status::from(e).code();
        assert_eq!(code(FrameError::Missing), Code::InvalidArgument);
        assert_eq!(code(FrameError::Version { found: 9 }), Code::Unimplemented);
        assert_eq!(code(FrameError::TooLarge { bytes: 2, max: 1 }), Code::InvalidArgument);
        assert_eq!(code(FrameError::Checksum { found: 1, computed: 2 }), Code::DataLoss);
    }
}
