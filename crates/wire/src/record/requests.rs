//! Questions: what readers and peers ask for.

use cluster::DecodeError;
use cluster::codec::Encoder;
use model::{MatchOp, Matcher, TenantId, TimeRange};
use peer::{Fetch, LabelQuestion};
use storage::{LabelQuery, SelectRequest, Shard};

use super::{Record, Source, impossible};

impl Record for Matcher {
    const BYTES_MIN: usize = 9;

    fn put(&self, out: &mut Encoder) {
        out.u8(match self.op() {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        });
        out.bytes(self.name().as_bytes());
        out.bytes(self.value().as_bytes());
    }

    fn get(from: &mut Source<'_>) -> Result<Matcher, DecodeError> {
        let op = match from.decoder.u8()? {
            0 => MatchOp::Equal,
            1 => MatchOp::NotEqual,
            2 => MatchOp::Regex,
            3 => MatchOp::NotRegex,
            found => return Err(impossible("a matcher's operator", found)),
        };
        let (name, value) = (from.text("a matcher's name")?, from.text("a matcher's value")?);
        Matcher::new(name, op, value).map_err(|_| DecodeError::Text { field: "a regular expression" })
    }
}

impl Record for Shard {
    const BYTES_MIN: usize = 8;

    fn put(&self, out: &mut Encoder) {
        out.u32(self.index);
        out.u32(self.count);
    }

    fn get(from: &mut Source<'_>) -> Result<Shard, DecodeError> {
        let (index, count) = (from.decoder.u32()?, from.decoder.u32()?);
        if !count.is_power_of_two() || index >= count {
            return Err(impossible("a shard's count", count));
        }
        Ok(Shard { index, count })
    }
}

impl Record for SelectRequest {
    const BYTES_MIN: usize = TenantId::BYTES_MIN + TimeRange::BYTES_MIN + 4 + Shard::BYTES_MIN + 1 + 8;

    fn put(&self, out: &mut Encoder) {
        self.tenant.put(out);
        self.range.put(out);
        self.matchers.put(out);
        self.shard.put(out);
        self.with_chunks.put(out);
        self.series_max.put(out);
    }

    fn get(from: &mut Source<'_>) -> Result<SelectRequest, DecodeError> {
        Ok(SelectRequest {
            tenant: Record::get(from)?,
            range: Record::get(from)?,
            matchers: Record::get(from)?,
            shard: Record::get(from)?,
            with_chunks: Record::get(from)?,
            series_max: Record::get(from)?,
        })
    }
}

impl Record for LabelQuestion {
    const BYTES_MIN: usize = 1 + TenantId::BYTES_MIN + TimeRange::BYTES_MIN + 4;

    fn put(&self, out: &mut Encoder) {
        self.name.put(out);
        self.query.tenant.put(out);
        self.query.range.put(out);
        self.query.matcher_sets.put(out);
    }

    fn get(from: &mut Source<'_>) -> Result<LabelQuestion, DecodeError> {
        let name = Record::get(from)?;
        let query =
            LabelQuery { tenant: Record::get(from)?, range: Record::get(from)?, matcher_sets: Record::get(from)? };
        Ok(LabelQuestion { name, query })
    }
}

impl Record for Fetch {
    const BYTES_MIN: usize = 12;

    fn put(&self, out: &mut Encoder) {
        self.group.put(out);
        self.positions.put(out);
        self.define.put(out);
    }

    fn get(from: &mut Source<'_>) -> Result<Fetch, DecodeError> {
        Ok(Fetch { group: Record::get(from)?, positions: Record::get(from)?, define: Record::get(from)? })
    }
}
