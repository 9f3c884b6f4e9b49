//! The `storage` block.

use model::DurationMs;

use crate::go;
use crate::size::ByteSize;
use crate::yaml::decode::Int64;
use crate::yaml::record::no_paths;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal, record, refuse_at};

record! {
    /// The `storage` block.
    pub(crate) struct RawStorage as "config.StorageConfig" in "config.StorageConfig" [] {
        tsdb: Option<RawTsdb> = "tsdb" [omit];
        exemplars: Option<RawExemplars> = "exemplars" [omit];
    }
}

record! {
    /// `storage.tsdb`. Prometheus prints its own field for the out-of-order window, too: in milliseconds, under a name that
    /// Go made up, which it also reads.
    pub(crate) struct RawTsdb as "config.TSDBConfig" in "config.plain" [reset = RawTsdb::default, check = RawTsdb::check] {
        outofordertimewindow: Int64 = "outofordertimewindow" [];
        out_of_order_time_window: SaidDuration = "out_of_order_time_window" [omit];
        stale_series_compaction_threshold: f64 = "stale_series_compaction_threshold" [omit];
        chunk_encoding: RawChunkEncoding = "chunk_encoding" [omit];
        retention: Option<RawRetention> = "retention" [omit];
    }
}

/// A duration that may be 0, told from one that is not there. Printed as Prometheus does, which cannot tell them apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SaidDuration(pub(crate) Option<DurationMs>);

impl Decode for SaidDuration {
    fn type_name() -> String {
        DurationMs::type_name()
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let mut duration = self.0.unwrap_or_default();
        let good = duration.unmarshal(d, id)?;
        if good {
            self.0 = Some(duration);
        }
        Ok(good)
    }
}

impl Encode for SaidDuration {
    fn is_zero(&self) -> bool {
        self.0.is_none_or(|d| d.is_zero())
    }
    fn encode(&self) -> Out {
        self.0.unwrap_or_default().encode()
    }
}

no_paths!(SaidDuration);

record! {
    /// `storage.tsdb.chunk_encoding`.
    pub(crate) struct RawChunkEncoding as "config.ChunkEncodingConfig" in "config.ChunkEncodingConfig" [] {
        floats: String = "floats" [omit];
    }
}

record! {
    /// `storage.tsdb.retention`.
    pub(crate) struct RawRetention as "config.TSDBRetentionConfig" in "config.plain" [reset = RawRetention::default, check = RawRetention::check] {
        time: DurationMs = "time" [omit];
        size: ByteSize = "size" [omit];
        percentage: f64 = "percentage" [omit];
    }
}

record! {
    /// `storage.exemplars`.
    pub(crate) struct RawExemplars as "config.ExemplarsConfig" in "config.ExemplarsConfig" [] {
        max_exemplars: Int64 = "max_exemplars" [omit];
    }
}

impl RawTsdb {
    fn check(&mut self) -> Result<(), Refusal> {
        self.outofordertimewindow = Int64(self.out_of_order_time_window.0.unwrap_or_default().0);
        let floats = &self.chunk_encoding.floats;
        if !matches!(floats.as_str(), "" | "xor" | "xor2") {
            let text = format!(
                "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, \
                 got {}",
                go::quote(floats)
            );
            return refuse_at("chunk_encoding", text);
        }
        Ok(())
    }
}

impl RawRetention {
    fn check(&mut self) -> Result<(), Refusal> {
        if self.size.0 < 0 {
            let text = format!("'storage.tsdb.retention.size' must be greater than or equal to 0, got {}", self.size);
            return refuse_at("size", text);
        }
        if self.percentage < 0.0 || self.percentage > 100.0 {
            let text = format!(
                "'storage.tsdb.retention.percentage' must be in the range [0, 100], got {}",
                go::float(self.percentage, 21)
            );
            return refuse_at("percentage", text);
        }
        Ok(())
    }
}
