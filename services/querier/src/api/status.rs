//! The process and its configuration: `status/…`, `features`, `notifications`.

use std::sync::Arc;

use model::{TenantId, TimestampMs};

use super::Api;
use super::answer::{Answer, ApiResult};
use super::error::ApiError;
use super::form::Form;
use super::json::{put_date, put_int, put_list, put_text, put_uint};
use super::params;
use crate::{Ranking, StatusSource};

fn source(api: &Api) -> &Arc<dyn StatusSource> {
    &api.sources.status
}

/// A member of an object.
enum Member<'a> {
    Text(&'a str),
    Uint(u64),
    Int(i64),
    Bool(bool),
    Date(TimestampMs),
}

fn put_object(out: &mut Vec<u8>, members: &[(&str, Member<'_>)]) {
    put_list(out, b"{}", members, |out, (name, value)| {
        put_text(out, name);
        out.push(b':');
        match value {
            Member::Text(text) => put_text(out, text),
            Member::Uint(n) => put_uint(out, *n),
            Member::Int(n) => put_int(out, *n),
            Member::Bool(b) => put_bool(out, *b),
            Member::Date(at) => put_date(out, *at),
        }
    });
}

fn put_bool(out: &mut Vec<u8>, b: bool) {
    out.extend_from_slice(if b { b"true" } else { b"false" });
}

/// `status/config`
pub(crate) fn config(api: &Api) -> ApiResult {
    let yaml = source(api).config_yaml();
    Ok(Answer::data(|out| put_object(out, &[("yaml", Member::Text(&yaml))])))
}

/// `status/flags`
pub(crate) fn flags(api: &Api) -> ApiResult {
    let flags = source(api).flags();
    Ok(Answer::data(|out| {
        put_list(out, b"{}", &flags, |out, (name, value)| {
            put_text(out, name);
            out.push(b':');
            put_text(out, value);
        });
    }))
}

/// `status/runtimeinfo`
pub(crate) fn runtime_info(api: &Api) -> ApiResult {
    let info = source(api).runtime_info();
    let members = [
        ("startTime", Member::Date(info.start_time)),
        ("CWD", Member::Text(&info.working_directory)),
        ("hostname", Member::Text(&info.hostname)),
        ("serverTime", Member::Date(info.server_time)),
        ("reloadConfigSuccess", Member::Bool(info.reload_config_success)),
        ("lastConfigTime", Member::Date(info.last_config_time)),
        ("corruptionCount", Member::Uint(info.corruption_count)),
        ("goroutineCount", Member::Uint(info.task_count)),
        ("GOMAXPROCS", Member::Uint(info.threads)),
        ("GOMEMLIMIT", Member::Int(info.memory_limit_bytes)),
        // Go's own.
        ("GOGC", Member::Text("")),
        ("GODEBUG", Member::Text("")),
        ("storageRetention", Member::Text(&info.storage_retention)),
    ];
    Ok(Answer::data(|out| put_object(out, &members)))
}

/// `status/buildinfo`
pub(crate) fn build_info(api: &Api) -> ApiResult {
    Ok(Answer::data(|out| put_build_info(api, out)))
}

/// What was built, for `/version` too.
pub(crate) fn put_build_info(api: &Api, out: &mut Vec<u8>) {
    let info = source(api).build_info();
    let members = [
        ("version", Member::Text(&info.version)),
        ("revision", Member::Text(&info.revision)),
        ("branch", Member::Text(&info.branch)),
        ("buildUser", Member::Text(&info.build_user)),
        ("buildDate", Member::Text(&info.build_date)),
        ("goVersion", Member::Text(&info.compiler_version)),
    ];
    put_object(out, &members);
}

/// `status/tsdb`
pub(crate) async fn tsdb(api: &Api, form: &Form) -> ApiResult {
    const REFUSED: &str = "limit must be a positive number";
    const LIMIT_MAX: usize = 10_000;
    const LIMIT_DEFAULT: usize = 10;
    let limit = match params::number(form, "limit", REFUSED)? {
        None => LIMIT_DEFAULT,
        Some(limit) => usize::try_from(limit).ok().filter(|l| *l > 0).ok_or_else(|| ApiError::bad_data(REFUSED))?,
    };
    if limit > LIMIT_MAX {
        return Err(ApiError::bad_data(format!("limit must not exceed {LIMIT_MAX}")));
    }
    let source = source(api).clone();
    // Counting goes over all labels.
    let status = api.compute(move || source.tsdb(&TenantId::anonymous(), limit)).await?;
    // Where there is no sample, Prometheus' bounds are the wrong way round.
    let head = [
        ("numSeries", Member::Uint(status.series_count)),
        ("numLabelPairs", Member::Uint(status.label_pair_count)),
        ("chunkCount", Member::Uint(status.chunk_count)),
        ("minTime", Member::Int(status.mint.map_or(i64::MAX, |t| t.0))),
        ("maxTime", Member::Int(status.maxt.map_or(i64::MIN, |t| t.0))),
    ];
    Ok(Answer::data(|out| {
        out.extend_from_slice(b"{\"headStats\":");
        put_object(out, &head);
        put_ranking(out, "seriesCountByMetricName", &status.series_by_metric, limit);
        put_ranking(out, "labelValueCountByLabelName", &status.values_by_label, limit);
        put_ranking(out, "memoryInBytesByLabelName", &status.bytes_by_label, limit);
        put_ranking(out, "seriesCountByLabelValuePair", &status.series_by_pair, limit);
        out.push(b'}');
    }))
}

fn put_ranking(out: &mut Vec<u8>, name: &str, ranking: &Ranking, limit: usize) {
    out.push(b',');
    put_text(out, name);
    out.push(b':');
    put_list(out, b"[]", ranking.iter().take(limit), |out, (name, count)| {
        put_object(out, &[("name", Member::Text(name)), ("value", Member::Uint(*count))]);
    });
}

/// `status/walreplay`
pub(crate) fn wal_replay(api: &Api) -> ApiResult {
    let replay = source(api).wal_replay();
    let members = [
        ("min", Member::Uint(replay.min)),
        ("max", Member::Uint(replay.max)),
        ("current", Member::Uint(replay.current)),
    ];
    Ok(Answer::data(|out| put_object(out, &members)))
}

/// `notifications`
pub(crate) fn notifications(api: &Api) -> ApiResult {
    let all = source(api).notifications();
    Ok(Answer::data(|out| {
        put_list(out, b"[]", &all, |out, n| {
            put_object(
                out,
                &[("text", Member::Text(&n.text)), ("date", Member::Date(n.date)), ("active", Member::Bool(n.active))],
            );
        });
    }))
}
