//! What a run is like: how large, how fast, how bad.

use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// No fault happens.
    pub(crate) is_healthy: bool,
    pub(crate) replication_factor: u8,
    pub(crate) groups: u32,
    pub(crate) spares: usize,
    pub(crate) series: u8,
    pub(crate) window_mins: i64,
    pub(crate) list_max: usize,
    /// In thousand.
    pub(crate) loss: u32,
    pub(crate) duplicates: u32,
    pub(crate) sync_at_once: u32,
    pub(crate) skew_s: i64,
    /// Mean of the rarer, longer steps of time.
    pub(crate) jump_mins: i64,
    /// Deliver, write, read, nodes, clients, control, time, faults.
    pub(crate) weights: [u32; 8],
    /// Crash, start, lose a disk, cut off, heal, bucket down or up, drain.
    pub(crate) faults: [u32; 7],
    pub(crate) steps: usize,
}

impl Profile {
    pub(crate) fn draw(random: &mut Random) -> Profile {
        let is_healthy = random.permille(80);
        let replication_factor = [3, 3, 3, 3, 3, 3, 2, 1][random.below(8)];
        let mut pick = |choices: &[i64]| *random.pick(choices);
        let jump_mins = pick(&[10, 30, 45, 45, 70, 240, 600]);
        let window_mins = pick(&[60, 60, 90, 180]);
        let skew_s = pick(&[0, 10, 60, 600]);
        let list_max = pick(&[3, 8, 100]).unsigned_abs() as usize;
        let loss = pick(&[0, 20, 60, 150]).unsigned_abs() as u32;
        let duplicates = pick(&[0, 30, 100]).unsigned_abs() as u32;
        let sync_at_once = pick(&[950, 700, 400, 100]).unsigned_abs() as u32;
        let faults = pick(&[4, 12, 30]).unsigned_abs() as u32;
        let groups = pick(&[1, 1, 1, 2]).unsigned_abs() as u32;
        // How patient writers are: what waits long meets what has changed meanwhile.
        let clients = pick(&[40, 15, 4]).unsigned_abs() as u32;
        // Members come and go all the time.
        let churns = pick(&[0, 0, 1]) == 1;
        let (control, exchanges) = if churns { (130, 5) } else { (40, 1) };
        let mut profile = Profile {
            is_healthy,
            replication_factor,
            groups,
            spares: 1,
            series: 8,
            window_mins,
            list_max,
            loss,
            duplicates,
            sync_at_once,
            skew_s,
            jump_mins,
            weights: [620, 50, 22, 240, clients, control, 20, if churns { faults.max(12) } else { faults }],
            faults: [30, 40, 14 * exchanges, 10, 16, 8, 6 * exchanges],
            steps: 1400,
        };
        if is_healthy {
            profile.loss = 0;
            profile.skew_s = 0;
            profile.duplicates = 0;
            profile.weights[7] = 0;
            profile.jump_mins = 2;
            profile.weights[6] = 80;
        }
        profile
    }
}
