//! Streams that are not read, dropped, late or cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use storage::SelectError;

use super::support::{Fake, Served, batch, member_at, select_request, until};
use crate::Limits;

#[tokio::test]
async fn a_stream_goes_as_fast_as_it_is_read_and_stops_when_it_is_dropped() {
    let fake = Arc::new(Fake { endless: 200_000, ..Fake::default() });
    let served = Served::plain(&fake);
    let (far, entry) = member_at(&served.address, Limits::default());
    let mut selected = far.select(entry.clone(), select_request()).await.unwrap();
    assert_eq!(selected.series.next().await.unwrap().unwrap().len(), 1);
    // While nobody reads, other calls on the connection are answered, and no more is made than windows hold.
    for seq in 0..200 {
        far.push(entry.clone(), batch(seq, 100)).await.unwrap();
    }
    let made = fake.given.load(Ordering::SeqCst);
    assert!(made < 40, "{made} batches of 200 kB were made for nobody");
    for _ in 0..100 {
        assert!(selected.series.next().await.unwrap().is_ok());
    }
    drop(selected);
    until("the work ends", || fake.at_work.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn streams_that_nobody_reads_hold_up_no_other() {
    let fake = Arc::new(Fake { endless: 200_000, ..Fake::default() });
    let served = Served::plain(&fake);
    let (far, entry) = member_at(&served.address, Limits::default());
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(far.select(entry.clone(), select_request()).await.unwrap());
    }
    let mut read = far.select(entry, select_request()).await.unwrap();
    for _ in 0..50 {
        assert!(read.series.next().await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn an_answer_that_is_late_is_none_and_its_work_is_stopped() {
    let fake = Arc::new(Fake { hangs: true, ..Fake::default() });
    let served = Served::plain(&fake);
    let short = Duration::from_millis(300);
    let limits = Limits { push_timeout: short, short_timeout: short, stream_timeout: short, ..Limits::default() };
    let (far, entry) = member_at(&served.address, limits);
    assert!(far.push(entry.clone(), batch(1, 3)).await.is_err());
    assert!(far.seal(entry.clone(), model::TimestampMs(0)).await.is_err());
    assert!(far.select(entry, select_request()).await.is_err());
    until("the work ends", || fake.at_work.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_stream_that_outlives_its_time_ends_in_an_error() {
    let fake = Arc::new(Fake { endless: 1_000, ..Fake::default() });
    let served = Served::plain(&fake);
    let (far, entry) =
        member_at(&served.address, Limits { stream_timeout: Duration::from_millis(500), ..Limits::default() });
    let mut selected = far.select(entry, select_request()).await.unwrap();
    let error = loop {
        match selected.series.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("an endless stream does not end well"),
        }
    };
    assert!(matches!(error, SelectError::Unavailable(_)), "{error}");
    assert!(selected.series.next().await.is_none());
    until("the work ends", || fake.at_work.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_server_that_is_killed_is_found_out_at_once() {
    let fake = Arc::new(Fake { endless: 1_000, ..Fake::default() });
    let mut served = Served::plain(&fake);
    let (far, entry) = member_at(&served.address, Limits::default());
    let mut selected = far.select(entry.clone(), select_request()).await.unwrap();
    assert!(selected.series.next().await.unwrap().is_ok());
    served.kill();
    let began = std::time::Instant::now();
    let error = loop {
        match selected.series.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a stream that was cut does not end well"),
        }
    };
    assert!(matches!(error, SelectError::Unavailable(_)), "{error}");
    // Whoever calls on is told as soon; far below every timeout of a call.
    far.push(entry.clone(), batch(1, 3)).await.unwrap_err();
    far.push(entry, batch(2, 3)).await.unwrap_err();
    assert!(began.elapsed() < Limits::default().push_timeout, "{:?}", began.elapsed());
}
