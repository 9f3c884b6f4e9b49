//! Answers of any length as messages: a head, pages of items, and an end that counts them, or a failure in its place.
//!
//! The end is a message of its own because a stream that was cut short looks like one that ended.

use std::collections::VecDeque;

use bytes::Bytes;
use cluster::DecodeError;
use cluster::codec::Encoder;
use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt};
use model::SeriesId;
use storage::{Chunk, SelectError, Series, SeriesBatch};

use crate::record::{Record, Source, VERSION, impossible, put_part};

/// A page is sent when it is this large.
const PAGE_BYTES: usize = 256 << 10;

/// Kinds of message.
mod kind {
    pub(super) const HEAD: u8 = 0;
    pub(super) const PAGE: u8 = 1;
    /// A page of series, whose last may go on in the next.
    pub(super) const SERIES: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const FAILED: u8 = 4;
}

/// Where in a page of series it says whether the last one goes on.
const GOES_ON_AT: usize = 2;
/// Bytes of a chunk besides its data, and of a series besides labels and chunks.
const CHUNK_BYTES: usize = Chunk::BYTES_MIN;
const SERIES_BYTES: usize = Series::BYTES_MIN;

fn begin(kind: u8) -> Encoder {
    let mut out = Encoder::new(VERSION);
    out.u8(kind);
    out
}

fn message<R: Record>(kind: u8, value: &R) -> Bytes {
    let mut out = begin(kind);
    value.put(&mut out);
    Bytes::from(out.finish())
}

/// A head and items that are all there, made into messages as they are asked for.
pub(crate) fn messages<H: Record, T: Record + Send + 'static>(
    head: &H,
    items: Vec<T>,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let end = message(kind::END, &(items.len() as u64));
    let mut items = items.into_iter().peekable();
    let pages = std::iter::from_fn(move || {
        items.peek()?;
        let mut out = begin(kind::PAGE);
        while let Some(item) = items.next_if(|_| out.byte_len() < PAGE_BYTES) {
            item.put(&mut out);
        }
        Some(Bytes::from(out.finish()))
    });
    futures::stream::iter(std::iter::once(message(kind::HEAD, head)).chain(pages).chain(std::iter::once(end)))
}

/// A head and series as they come, made into messages as these are asked for.
pub(crate) fn series_messages<H: Record>(
    head: &H,
    series: BoxStream<'static, Result<SeriesBatch, SelectError>>,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let waiting = VecDeque::from([message(kind::HEAD, head)]);
    unfold((waiting, Some(series), 0u64), |(mut waiting, mut series, mut count)| async move {
        loop {
            if let Some(next) = waiting.pop_front() {
                return Some((next, (waiting, series, count)));
            }
            match series.as_mut()?.next().await {
                Some(Ok(batch)) => {
                    count += batch.len() as u64;
                    series_pages(&batch, &mut waiting);
                }
                Some(Err(error)) => {
                    waiting.push_back(message(kind::FAILED, &error));
                    series = None;
                }
                None => {
                    waiting.push_back(message(kind::END, &count));
                    series = None;
                }
            }
        }
    })
}

fn begin_series() -> Encoder {
    let mut out = begin(kind::SERIES);
    out.bool(false);
    out
}

/// A series may be larger than a page: then it goes on in the next.
pub(crate) fn series_pages(batch: &[Series], pages: &mut VecDeque<Bytes>) {
    let mut out = begin_series();
    let empty = out.byte_len();
    let flush = |out: &mut Encoder, goes_on: bool, pages: &mut VecDeque<Bytes>| {
        let mut page = std::mem::replace(out, begin_series()).finish();
        page[GOES_ON_AT] = u8::from(goes_on);
        pages.push_back(Bytes::from(page));
    };
    for series in batch {
        let mut chunks = &series.chunks[..];
        loop {
            if out.byte_len() >= PAGE_BYTES {
                flush(&mut out, false, pages);
            }
            let fixed = SERIES_BYTES + series.labels.as_packed().len();
            let fitting = fitting(chunks, PAGE_BYTES.saturating_sub(out.byte_len() + fixed));
            if fitting == chunks.len() {
                put_part(series, chunks, &mut out);
                break;
            }
            if fitting == 0 && out.byte_len() > empty {
                flush(&mut out, false, pages);
                continue;
            }
            // At least one, however large, so that each page makes progress.
            let (now, later) = chunks.split_at(fitting.max(1));
            put_part(series, now, &mut out);
            flush(&mut out, !later.is_empty(), pages);
            if later.is_empty() {
                break;
            }
            chunks = later;
        }
    }
    if out.byte_len() > empty {
        flush(&mut out, false, pages);
    }
}

/// How many of the chunks fit into so many bytes.
fn fitting(chunks: &[Chunk], room: usize) -> usize {
    let mut bytes = 0usize;
    let fits = |chunk: &&Chunk| {
        bytes += CHUNK_BYTES + chunk.data.len();
        bytes <= room
    };
    chunks.iter().take_while(fits).count()
}

/// A message of an answer, its kind read.
pub(crate) enum Message<'a> {
    Head(Source<'a>),
    Page(Source<'a>),
    Series(Source<'a>),
    /// How many items there were.
    End(u64),
    Failed(SelectError),
}

/// Reads the kind of a message.
pub(crate) fn read(bytes: &Bytes) -> Result<Message<'_>, DecodeError> {
    let mut from = Source::new(bytes)?;
    match from.decoder.u8()? {
        kind::HEAD => Ok(Message::Head(from)),
        kind::PAGE => Ok(Message::Page(from)),
        kind::SERIES => Ok(Message::Series(from)),
        kind::END => finished(from).map(Message::End),
        kind::FAILED => finished(from).map(Message::Failed),
        found => Err(impossible("a message's kind", found)),
    }
}

/// The one value that is left in a message.
pub(crate) fn finished<R: Record>(mut from: Source<'_>) -> Result<R, DecodeError> {
    let value = R::get(&mut from)?;
    from.decoder.finish()?;
    Ok(value)
}

/// All values that are left in a message.
pub(crate) fn items<R: Record>(mut from: Source<'_>, into: &mut Vec<R>) -> Result<(), DecodeError> {
    while !from.decoder.is_at_end() {
        into.push(R::get(&mut from)?);
    }
    Ok(())
}

/// Puts pages of series together, and checks what holds for the whole answer.
#[derive(Debug, Default)]
pub(crate) struct SeriesReader {
    /// The last series of a page, which goes on in the next.
    held: Option<Series>,
    last: Option<SeriesId>,
    count: u64,
}

impl SeriesReader {
    /// The series that are whole with this page.
    pub(crate) fn page(&mut self, mut from: Source<'_>) -> Result<SeriesBatch, DecodeError> {
        let goes_on = from.decoder.bool("whether the last series goes on")?;
        let mut batch: Vec<Series> = Vec::new();
        if let Some(mut held) = self.held.take() {
            let rest = Series::get(&mut from)?;
            if rest.id != held.id {
                return Err(DecodeError::Rule { rule: "a series that goes on is the first of the next page" });
            }
            held.chunks.extend(rest.chunks);
            batch.push(held);
        }
        while !from.decoder.is_at_end() {
            let series = Series::get(&mut from)?;
            if self.last.is_some_and(|last| series.id < last) {
                return Err(DecodeError::Rule { rule: "series are sorted by id" });
            }
            self.last = Some(series.id);
            self.count += 1;
            batch.push(series);
        }
        if goes_on {
            self.held = batch.pop();
        }
        Ok(batch)
    }

    /// Whether the answer is whole.
    pub(crate) fn end(&self, count: u64) -> Result<(), DecodeError> {
        if self.held.is_some() || self.count != count {
            return Err(DecodeError::Rule { rule: "an answer has as many series as its end says" });
        }
        Ok(())
    }
}
