//! What the pipelines left behind.

use super::{Evaluator, Key};
use crate::engine::column::Grid;
use crate::engine::decode::Decoded;
use crate::engine::error::QueryError;
use crate::engine::load::{Count, Load};
use crate::engine::map::Work;
use crate::engine::node::Source;
use crate::engine::row::{Row, Seen, Uniqueness, merge_rows};
use crate::engine::sink::Made;
use crate::engine::source::Env;
use crate::engine::worker::{Run, count_source};

impl Evaluator<'_> {
    /// What a pipeline made, or what is wrong with its samples.
    pub(super) fn take(&mut self, pipeline: usize) -> Result<Option<Made>, QueryError> {
        self.load = self.pipelines.loads[pipeline];
        let fault = self.pipelines.faults[pipeline].take();
        fault.map_or_else(|| Ok(self.pipelines.made[pipeline].take()), Err)
    }

    #[inline(never)]
    pub(super) fn pipeline_rows(&mut self, at: usize) -> Result<Vec<Row>, QueryError> {
        let pipeline = &self.plan.planned.pipelines[at];
        let Some(Made::Rows(rows)) = self.take(at)? else { return Ok(Vec::new()) };
        let overlaps =
            |unique: &Option<Uniqueness>| matches!(unique, Some(Uniqueness::Overlap | Uniqueness::OverlapOfKind));
        let may_repeat = overlaps(&pipeline.unique) || pipeline.steps.iter().any(|step| overlaps(&step.unique));
        // The pipeline has made sure that rows of the same labels do not overlap; here they become one.
        if may_repeat { merge_rows(rows) } else { Ok(rows) }
    }

    /// Runs a source that waited for numbers over the series that were kept for it.
    #[inline(never)]
    pub(super) fn deferred(
        &mut self,
        pipeline: usize,
        source: &Source,
        grid: Grid,
        unique: Option<Uniqueness>,
    ) -> Result<Vec<Row>, QueryError> {
        let plan = self.plan;
        let Some(Made::Raw(mut series)) = self.take(pipeline)? else { return Ok(Vec::new()) };
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        let source = match source {
            Source::Window(call) => Source::Window(self.resolve_call(call)?),
            other => other.clone(),
        };
        let counts = &plan.planned.pipelines[pipeline];
        let range = plan.planned.leaves[counts.leaf].range;
        let delayed = self.delayed();
        let mut decoded = Decoded::default();
        let mut seen = Seen::default();
        let mut rows = Vec::new();
        let mut count = Count::default();
        let mut has_duplicates = false;
        for one in series {
            self.stats.samples_decoded += decoded.fill(&one, range, counts.stats_only, &mut self.ticker)? as u64;
            let mut work = Work::new(Key::new(one.labels));
            let run = Run { source: &source, grid, unique, stats_only: counts.stats_only };
            let mut env = Env {
                delayed,
                type_and_unit_labels: plan.params.options.type_and_unit_labels,
                start_timestamps: plan.params.options.start_timestamps,
                counts_steps: self.steps.is_some() || counts.reads.is_some(),
                annotations: &mut self.annotations,
                ticker: &mut self.ticker,
                buffers: &mut self.buffers,
            };
            let (any, looked) = match run.source(&decoded, &mut work, &mut seen, &mut env, &plan.budget) {
                // Prometheus looks for these when all series have passed.
                Err(QueryError::DuplicateLabelset) => {
                    has_duplicates = true;
                    continue;
                }
                ran => ran?,
            };
            count_source(counts, looked, &env.buffers.counted, (&mut self.stats, &mut self.steps));
            count.add(looked.out);
            if any {
                plan.budget.hold(work.view().weight())?;
                if !delayed {
                    work.key.settle();
                }
                rows.push(Row { key: work.key, values: work.column.into(), hists: work.hists });
            }
        }
        if has_duplicates {
            return Err(QueryError::DuplicateLabelset);
        }
        self.load = Load::source(&source, count, grid.count);
        Ok(rows)
    }
}
