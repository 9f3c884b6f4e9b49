//! The base rule against its meaning: in every generation that counts, whoever may have acknowledged together is met.

use super::*;
use crate::tests_support::{group, id};

/// Every pair (or the one, or both) of members whose acknowledgements suffice has one among `counted`.
fn meets_all_who_acknowledge(generation: &Generation, counted: &[ReplicaId]) -> bool {
    let members: Vec<&ReplicaId> = generation.members.iter().map(|m| &m.replica).collect();
    match members.as_slice() {
        [one] => counted.contains(one),
        [a, b] => counted.contains(a) || counted.contains(b),
        [a, b, c] => [[a, b], [b, c], [a, c]].iter().all(|pair| pair.iter().any(|r| counted.contains(r))),
        _ => unreachable!("one to three members"),
    }
}

/// Whoever did not seal cannot be enough for an acknowledgement.
fn leaves_nobody_who_acknowledges(generation: &Generation, counted: &[ReplicaId]) -> bool {
    let left = generation.members.iter().filter(|m| !counted.contains(&m.replica)).count();
    left < generation.members.len().min(2)
}

#[test]
fn a_quorum_meets_everyone_who_may_have_acknowledged_and_no_more_is_asked() {
    let mut cases = 0;
    for (factor, exchanged) in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2), (3, 3)] {
        let group = group(factor, exchanged);
        let everyone = factor + exchanged;
        let newest = group.newest().number;
        for mut said in 0..4_u32.pow(u32::try_from(everyone).unwrap()) {
            let mut replies = Replies::new();
            let mut counted = Vec::new();
            for number in 1..=everyone {
                let word = said % 4;
                said /= 4;
                let generation = if word == 1 { GenerationNumber(newest.0 + 1) } else { newest };
                if word > 0 {
                    replies.insert(id(number), Flags { generation, filled: word == 3 });
                }
                // A founding member that calls itself unfilled cannot be believed.
                if word == 3 || word == 2 && number > factor {
                    counted.push((id(number), word == 3));
                }
            }
            let who = |only_filled: bool| -> Vec<ReplicaId> {
                counted.iter().filter(|(_, filled)| *filled || !only_filled).map(|(id, _)| id.clone()).collect()
            };
            let reads = group.generations().iter().all(|g| meets_all_who_acknowledge(g, &who(factor == 2)));
            assert_eq!(
                has_quorum(&group, Purpose::Read, &replies, Rules::ALL),
                reads,
                "{factor} {exchanged} {replies:?}"
            );
            let seals = group.generations().iter().all(|g| match factor {
                // Both, the text says: with one the other could not acknowledge either, but a read might ask it alone.
                2 => g.members.iter().all(|m| who(false).contains(&m.replica)),
                _ => leaves_nobody_who_acknowledges(g, &who(false)),
            });
            assert_eq!(
                has_quorum(&group, Purpose::Seal, &replies, Rules::ALL),
                seals,
                "{factor} {exchanged} {replies:?}"
            );
            let before = &group.generations()[..group.generations().len() - 1];
            let fills_it = !before.is_empty() && before.iter().all(|g| meets_all_who_acknowledge(g, &who(factor == 2)));
            assert_eq!(fills(&group, &replies, Rules::ALL), fills_it, "{factor} {exchanged} {replies:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 4 + 16 + 16 + 64 + 256 + 64 + 256 + 1024 + 4096);
}
