//! Histograms beside the floats of a column. A column that has none carries an empty table and pays nothing.

use std::sync::Arc;

use model::FloatHistogram;

use super::column::{any_present, count_present, is_absent};

/// The histograms of a column by step; where there is one, the float of the step is absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hists(Option<Box<[Option<Arc<FloatHistogram>>]>>);

/// No histograms, to borrow.
pub(crate) static NO_HISTS: Hists = Hists(None);

/// For how many samples Prometheus takes a histogram where it counts them.
pub(crate) fn weight(h: &FloatHistogram) -> usize {
    (h.size_bytes() + 8) / 16
}

impl Hists {
    /// Whether there are none.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// That of step `i`.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> Option<&Arc<FloatHistogram>> {
        self.0.as_ref()?.get(i)?.as_ref()
    }

    /// Sets that of step `i` of `n`.
    pub(crate) fn set(&mut self, i: usize, n: usize, h: Arc<FloatHistogram>) {
        self.0.get_or_insert_with(|| vec![None; n].into())[i] = Some(h);
    }

    /// Drops all.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Drops those of steps that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.replace(|i, h| keep(i).then(|| Arc::clone(h)));
    }

    /// Puts what `f` gives in the place of each.
    pub(crate) fn replace(&mut self, mut f: impl FnMut(usize, &Arc<FloatHistogram>) -> Option<Arc<FloatHistogram>>) {
        let Some(table) = &mut self.0 else { return };
        for (i, slot) in table.iter_mut().enumerate() {
            if let Some(h) = slot {
                *slot = f(i, h);
            }
        }
        if table.iter().all(Option::is_none) {
            self.0 = None;
        }
    }

    /// All, with their steps.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Arc<FloatHistogram>)> + '_ {
        let all = self.0.iter().flat_map(|table| table.iter());
        all.enumerate().filter_map(|(i, h)| Some((i, h.as_ref()?)))
    }

    /// For how many samples they count.
    pub(crate) fn weight(&self) -> usize {
        self.iter().map(|(_, h)| weight(h)).sum()
    }
}

/// A column at hand.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) values: &'a [f64],
    pub(crate) hists: &'a Hists,
}

impl View<'_> {
    /// Whether there is a value at step `i`.
    #[inline(always)]
    pub(crate) fn has(&self, i: usize) -> bool {
        !is_absent(self.values[i]) || self.hists.get(i).is_some()
    }

    /// Whether there is any value.
    pub(crate) fn any(&self) -> bool {
        any_present(self.values) || !self.hists.is_empty()
    }

    /// For how many samples it counts.
    pub(crate) fn weight(&self) -> usize {
        count_present(self.values) + self.hists.weight()
    }

    /// For how many samples the last step counts.
    pub(crate) fn last_weight(&self) -> usize {
        let Some(last) = self.values.len().checked_sub(1) else { return 0 };
        match self.hists.get(last) {
            Some(h) => weight(h),
            None => usize::from(!is_absent(self.values[last])),
        }
    }
}
