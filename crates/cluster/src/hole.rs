//! Holes: time ranges of a group of which acknowledged samples were lost, for ever named in answers.

use std::collections::BTreeMap;

use model::{TimeRange, TimestampMs};

use crate::GroupId;

/// A range of a group of which acknowledged samples may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hole {
    /// Whose.
    pub group: GroupId,
    /// Not empty.
    pub range: TimeRange,
}

/// All holes. Per group: sorted, not touching each other, and at most [`Holes::PER_GROUP_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holes {
    by_group: BTreeMap<GroupId, Vec<TimeRange>>,
}

impl Holes {
    /// Most holes that a group keeps apart. Past it the two closest become one: an answer may then call a range incomplete
    /// that is complete, but never the reverse.
    pub const PER_GROUP_MAX: usize = 64;

    /// Every hole, by group and time.
    pub fn iter(&self) -> impl Iterator<Item = Hole> + '_ {
        self.by_group
            .iter()
            .flat_map(|(group, ranges)| ranges.iter().map(|range| Hole { group: *group, range: *range }))
    }

    /// The holes of a group, by time.
    pub fn of(&self, group: GroupId) -> &[TimeRange] {
        self.by_group.get(&group).map_or(&[], Vec::as_slice)
    }

    /// Takes a hole in, merged with those it overlaps or touches. Tells whether that changed anything.
    pub(crate) fn insert(&mut self, hole: Hole) -> bool {
        debug_assert!(hole.range.mint < hole.range.maxt);
        let ranges = self.by_group.entry(hole.group).or_default();
        if ranges.iter().any(|r| r.mint <= hole.range.mint && hole.range.maxt <= r.maxt) {
            return false;
        }
        let (touching, mut rest): (Vec<TimeRange>, Vec<TimeRange>) =
            ranges.iter().partition(|r| r.mint <= hole.range.maxt && hole.range.mint <= r.maxt);
        let mint = touching.iter().map(|r| r.mint).fold(hole.range.mint, TimestampMs::min);
        let maxt = touching.iter().map(|r| r.maxt).fold(hole.range.maxt, TimestampMs::max);
        rest.push(TimeRange::new(mint, maxt));
        rest.sort_by_key(|r| r.mint);
        if rest.len() > Holes::PER_GROUP_MAX {
            join_closest(&mut rest);
        }
        *ranges = rest;
        true
    }

    /// Whether a hole may be stored as it is read: sorted, apart, few.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        for ranges in self.by_group.values() {
            if ranges.is_empty() || ranges.len() > Holes::PER_GROUP_MAX {
                return Err("holes of a group are some, and few");
            }
            if ranges.iter().any(|r| r.mint >= r.maxt) || ranges.windows(2).any(|w| w[0].maxt >= w[1].mint) {
                return Err("holes are not empty, are sorted and do not touch");
            }
        }
        Ok(())
    }

    /// Holes as they were stored; [`Holes::check`] tells whether they can be.
    pub(crate) fn from_parts(by_group: BTreeMap<GroupId, Vec<TimeRange>>) -> Holes {
        Holes { by_group }
    }

    /// The groups that have holes, and theirs.
    pub(crate) fn by_group(&self) -> &BTreeMap<GroupId, Vec<TimeRange>> {
        &self.by_group
    }
}

/// Merges the two neighbours with the least time between them.
fn join_closest(ranges: &mut Vec<TimeRange>) {
    let gap = |i: &usize| ranges[*i + 1].mint.0.abs_diff(ranges[*i].maxt.0);
    let closest = (0..ranges.len() - 1).min_by_key(gap).expect("more ranges than the bound, which is above one");
    ranges[closest].maxt = ranges[closest + 1].maxt;
    ranges.remove(closest + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_insert(ranges: &[(i64, i64)], expected: &[(i64, i64)]) {
        let mut holes = Holes::default();
        for (mint, maxt) in ranges {
            holes.insert(Hole { group: GroupId(0), range: TimeRange::new(TimestampMs(*mint), TimestampMs(*maxt)) });
            assert_eq!(holes.check(), Ok(()));
        }
        let found: Vec<_> = holes.of(GroupId(0)).iter().map(|r| (r.mint.0, r.maxt.0)).collect();
        assert_eq!(found, expected, "{ranges:?}");
    }

    #[test]
    fn holes_that_touch_become_one() {
        check_insert(&[(10, 20), (30, 40)], &[(10, 20), (30, 40)]);
        check_insert(&[(30, 40), (10, 20)], &[(10, 20), (30, 40)]);
        check_insert(&[(10, 20), (30, 40), (20, 30)], &[(10, 40)]);
        check_insert(&[(10, 20), (12, 15)], &[(10, 20)]);
        check_insert(&[(10, 20), (50, 60), (5, 55)], &[(5, 60)]);
        check_insert(&[(i64::MIN, 0), (5, i64::MAX)], &[(i64::MIN, 0), (5, i64::MAX)]);
    }

    #[test]
    fn past_the_bound_the_closest_two_become_one_and_nothing_is_forgotten() {
        let mut ranges: Vec<(i64, i64)> = (0..64).map(|i| (i * 100, i * 100 + 10)).collect();
        let mut expected = ranges.clone();
        ranges.push((3150, 3160));
        // 3100..3110, then 40 ms, then 3150..3160, then 40 ms, then 3200..: the first pair with the least gap is joined.
        expected[31] = (3100, 3160);
        check_insert(&ranges, &expected);
    }
}
