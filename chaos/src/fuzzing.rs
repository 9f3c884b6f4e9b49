//! Entry points for fuzzing: no bytes make these panic.

use crate::record::{Account, RECORD_BYTES};
use crate::wire;

/// A compressed write request; what was read is the same when it is written and read again.
pub fn fuzz_request(bytes: &[u8]) {
    let Ok(series) = wire::decode(bytes) else { return };
    // Values may be NaN, which equals nothing: the bytes are compared.
    let message = wire::encode(&series);
    let again = wire::decode(&wire::compress(&message).expect("memory for a request")).expect("written just now");
    assert_eq!(wire::encode(&again), message);
}

/// A file of records.
pub fn fuzz_account(bytes: &[u8]) {
    let Ok(account) = Account::parse(bytes) else { return };
    assert!(account.requests.len() <= bytes.len() / RECORD_BYTES);
    assert!(account.requests.iter().enumerate().all(|(index, record)| record.request == index as u64));
}

#[cfg(test)]
mod tests {
    use e2e::random::Random;

    use super::*;
    use crate::plan::tests::plan;
    use crate::record::{self, Outcome, Record, Recorder};
    use crate::wire::Requests;

    fn mutate(good: &[u8], target: fn(&[u8])) {
        let mut random = Random::new(1);
        for _ in 0..5_000 {
            let mut bytes = good.to_vec();
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.bits() as u8;
            }
            if random.below(2) == 0 {
                bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            }
            target(&bytes);
        }
    }

    #[test]
    fn no_bytes_make_a_request_panic() {
        let body = Requests::new(&plan(), 0).compressed(&plan(), 3).unwrap();
        mutate(&body, fuzz_request);
        // What is inside is reached past the compression's own checks.
        mutate(&snap::raw::Decoder::new().decompress_vec(&body).unwrap(), |message| {
            fuzz_request(&wire::compress(message).unwrap());
        });
    }

    #[test]
    fn no_bytes_make_a_ledger_panic() {
        let folder = tempfile::tempdir().unwrap();
        let (mut recorder, _) = Recorder::open(folder.path(), 0).unwrap();
        for request in 0..20 {
            recorder.append(&Record { outcome: Outcome::Acked, attempts: 1, request, at_ms: 7 }).unwrap();
        }
        mutate(&std::fs::read(record::file_of(folder.path(), 0)).unwrap(), fuzz_account);
    }
}
