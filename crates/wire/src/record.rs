//! Values as bytes, in the layout of `cluster::codec`: little-endian, texts and lists with their lengths before them, a version
//! byte at the start of each message.
//!
//! A value has one encoding. Reading checks each promise of a type and never allocates by a length that the rest of the bytes
//! cannot hold; bytes that stay bytes (chunks, batches) share memory with the message.

mod replies;
mod requests;
mod series;

pub(crate) use replies::{PushSaid, merge_neighbours, split_large};
pub(crate) use series::put_part;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::codec::{Decoder, Encoder};
use cluster::{DecodeError, GenerationNumber, Group, GroupId, Incarnation, NodeId, Replica};
use model::{SeriesId, TenantId, TimeRange, TimestampMs};

/// Of all messages of this crate.
pub(crate) const VERSION: u8 = 1;

/// A value that a message can hold.
pub(crate) trait Record: Sized {
    /// Least length of an encoding: what a list of these is checked against. At least 1.
    const BYTES_MIN: usize;

    fn put(&self, out: &mut Encoder);

    fn get(from: &mut Source<'_>) -> Result<Self, DecodeError>;
}

/// A message that is read.
pub(crate) struct Source<'a> {
    pub(crate) decoder: Decoder<'a>,
    whole: &'a Bytes,
}

impl<'a> Source<'a> {
    pub(crate) fn new(whole: &'a Bytes) -> Result<Source<'a>, DecodeError> {
        Ok(Source { decoder: Decoder::new(whole, "message", VERSION)?, whole })
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.decoder.bytes()?).map_err(|_| DecodeError::Text { field })
    }

    /// Bytes that share memory with the message.
    pub(crate) fn shared(&mut self) -> Result<Bytes, DecodeError> {
        let part = self.decoder.bytes()?;
        Ok(self.whole.slice_ref(part))
    }
}

/// A message that holds one value.
pub(crate) fn encode<R: Record>(value: &R) -> Bytes {
    let mut out = Encoder::new(VERSION);
    value.put(&mut out);
    Bytes::from(out.finish())
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<R: Record>(bytes: &Bytes) -> Result<R, DecodeError> {
    let mut from = Source::new(bytes)?;
    let value = R::get(&mut from)?;
    from.decoder.finish()?;
    Ok(value)
}

/// Names a value that cannot be.
pub(crate) fn impossible(field: &'static str, found: impl Into<u64>) -> DecodeError {
    DecodeError::Value { field, found: found.into() }
}

macro_rules! number {
    ($($type:ty, $bytes:expr, $call:ident);* $(;)?) => {$(
        impl Record for $type {
            const BYTES_MIN: usize = $bytes;

            fn put(&self, out: &mut Encoder) {
                out.$call(*self);
            }

            fn get(from: &mut Source<'_>) -> Result<$type, DecodeError> {
                from.decoder.$call()
            }
        }
    )*};
}

number! { u8, 1, u8; u32, 4, u32; u64, 8, u64; i64, 8, i64; u128, 16, u128 }

impl Record for bool {
    const BYTES_MIN: usize = 1;

    fn put(&self, out: &mut Encoder) {
        out.bool(*self);
    }

    fn get(from: &mut Source<'_>) -> Result<bool, DecodeError> {
        from.decoder.bool("flag")
    }
}

impl Record for usize {
    const BYTES_MIN: usize = 8;

    fn put(&self, out: &mut Encoder) {
        out.u64(u64::try_from(*self).expect("usize has at most 64 bits here"));
    }

    fn get(from: &mut Source<'_>) -> Result<usize, DecodeError> {
        let found = from.decoder.u64()?;
        usize::try_from(found).map_err(|_| impossible("a size", found))
    }
}

/// Declares how a type stands for another.
macro_rules! like {
    ($($type:ty, $as:ty, $value:ident => $put:expr, $from:ident => $get:expr);* $(;)?) => {$(
        impl Record for $type {
            const BYTES_MIN: usize = <$as>::BYTES_MIN;

            fn put(&self, out: &mut Encoder) {
                let $value = self;
                <$as>::put(&$put, out);
            }

            fn get(from: &mut Source<'_>) -> Result<$type, DecodeError> {
                let $from = <$as>::get(from)?;
                Ok($get)
            }
        }
    )*};
}

like! {
    TimestampMs, i64, t => t.0, n => TimestampMs(n);
    TimeRange, (TimestampMs, TimestampMs), r => (r.mint, r.maxt), r => TimeRange::new(r.0, r.1);
    SeriesId, u128, id => id.0, n => SeriesId(n);
    GroupId, u32, id => id.0, n => GroupId(n);
    GenerationNumber, u64, g => g.0, n => GenerationNumber(n);
    Duration, u64, d => u64::try_from(d.as_millis()).unwrap_or(u64::MAX), n => Duration::from_millis(n);
}

impl Record for String {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self.as_bytes());
    }

    fn get(from: &mut Source<'_>) -> Result<String, DecodeError> {
        from.text("text").map(str::to_owned)
    }
}

impl Record for Arc<str> {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self.as_bytes());
    }

    fn get(from: &mut Source<'_>) -> Result<Arc<str>, DecodeError> {
        from.text("text").map(Arc::from)
    }
}

impl Record for Bytes {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self);
    }

    fn get(from: &mut Source<'_>) -> Result<Bytes, DecodeError> {
        from.shared()
    }
}

impl Record for TenantId {
    const BYTES_MIN: usize = 5;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self.as_str().as_bytes());
    }

    fn get(from: &mut Source<'_>) -> Result<TenantId, DecodeError> {
        TenantId::new(from.text("tenant")?).ok_or(DecodeError::Text { field: "tenant" })
    }
}

impl Record for Replica {
    const BYTES_MIN: usize = 11;

    fn put(&self, out: &mut Encoder) {
        out.text(self.node.as_str());
        out.u64(self.incarnation.0);
    }

    fn get(from: &mut Source<'_>) -> Result<Replica, DecodeError> {
        let node = NodeId::new(from.decoder.text("node id")?).ok_or(DecodeError::Text { field: "node id" })?;
        Ok(Replica { node, incarnation: Incarnation(from.decoder.u64()?) })
    }
}

impl Record for Arc<Group> {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Encoder) {
        out.bytes(&self.encode());
    }

    fn get(from: &mut Source<'_>) -> Result<Arc<Group>, DecodeError> {
        Ok(Arc::new(Group::decode(from.decoder.bytes()?)?))
    }
}

impl<R: Record> Record for Option<R> {
    const BYTES_MIN: usize = 1;

    fn put(&self, out: &mut Encoder) {
        out.bool(self.is_some());
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(from: &mut Source<'_>) -> Result<Option<R>, DecodeError> {
        if from.decoder.bool("presence")? { R::get(from).map(Some) } else { Ok(None) }
    }
}

impl<R: Record> Record for Vec<R> {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Encoder) {
        out.count(self.len());
        self.iter().for_each(|value| value.put(out));
    }

    fn get(from: &mut Source<'_>) -> Result<Vec<R>, DecodeError> {
        let count = from.decoder.count(R::BYTES_MIN)?;
        // The rest can hold so many, but a value may take more memory than bytes: a list grows as it is read.
        let mut values = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            values.push(R::get(from)?);
        }
        Ok(values)
    }
}

macro_rules! tuple {
    ($($name:ident $at:tt),+) => {
        impl<$($name: Record),+> Record for ($($name,)+) {
            const BYTES_MIN: usize = 0 $(+ $name::BYTES_MIN)+;

            fn put(&self, out: &mut Encoder) {
                $(self.$at.put(out);)+
            }

            fn get(from: &mut Source<'_>) -> Result<Self, DecodeError> {
                Ok(($($name::get(from)?,)+))
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
