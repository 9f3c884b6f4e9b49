//! Every decoder of the program: its name as a fuzz target, and the function that takes any bytes.
//!
//! The targets in `fuzz/` and the test here run this one table, so they cannot differ. `fuzz/README.md` says which bytes of
//! the program go to which target. A function panics where a promise is broken, and returns otherwise.

mod write;

/// A function that takes any bytes.
pub type Run = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Run)] = &[
    ("batch", batch::fuzzing::fuzz_batch),
    ("block_files", block::fuzzing::fuzz_files),
    ("block_header", block::fuzzing::fuzz_header),
    ("block_meta", block::fuzzing::fuzz_meta),
    ("bucket_manifest", bucket::fuzzing::fuzz_manifest),
    ("chunkenc_histograms", chunkenc::fuzzing::fuzz_histograms),
    ("chunkenc_xor", chunkenc::fuzzing::fuzz_xor),
    ("chunkenc_xor2", chunkenc::fuzzing::fuzz_xor2),
    ("cluster_command", cluster::fuzzing::fuzz_command),
    ("cluster_group", cluster::fuzzing::fuzz_group),
    ("cluster_state", cluster::fuzzing::fuzz_snapshot),
    ("config_object_store", config::fuzzing::fuzz_object_store),
    ("config_prometheus", config::fuzzing::fuzz_prometheus_yml),
    ("config_target_groups", config::fuzzing::fuzz_target_groups),
    ("config_values", config::fuzzing::fuzz_values),
    ("config_web", config::fuzzing::fuzz_web),
    ("discovery_file", discovery::fuzzing::fuzz_file),
    ("discovery_http", discovery::fuzzing::fuzz_http_answer),
    ("distributor_write", write::request),
    ("exposition_cache", exposition::fuzzing::fuzz_cached_pages),
    ("exposition_conversion", exposition::fuzzing::fuzz_conversion),
    ("exposition_headers", exposition::fuzzing::fuzz_headers),
    ("exposition_messages", exposition::fuzzing::fuzz_messages),
    ("exposition_number", exposition::fuzzing::fuzz_number),
    ("exposition_page", exposition::fuzzing::fuzz_parser),
    ("head_chunk_file", head::fuzzing::fuzz_chunk_file),
    ("head_snapshot", head::fuzzing::fuzz_snapshot),
    ("httpclient_body", httpclient::fuzzing::fuzz_body),
    ("httpclient_location", httpclient::fuzzing::fuzz_location),
    ("ingester_change", ingester::fuzzing::fuzz_change),
    ("ingester_control", ingester::fuzzing::fuzz_control),
    ("ingester_replay", ingester::fuzzing::fuzz_replay),
    ("membership_map_file", membership::fuzzing::fuzz_map_file),
    ("membership_report", membership::fuzzing::fuzz_report),
    ("model_duration", model::fuzzing::fuzz_duration),
    ("model_labels", model::fuzzing::fuzz_labels),
    ("promql_duration", promql::fuzzing::fuzz_durations),
    ("promql_expr", promql::fuzzing::fuzz_expr),
    ("promql_number", promql::fuzzing::fuzz_numbers),
    ("promql_script", promql::fuzzing::fuzz_script),
    ("promql_selector", promql::fuzzing::fuzz_selector),
    ("promql_series_desc", promql::fuzzing::fuzz_series_desc),
    ("proto_messages", proto::fuzzing::fuzz_messages),
    ("querier_parameters", querier::fuzzing::fuzz_form),
    ("raft_message", raft::fuzzing::fuzz_message),
    ("raft_record", raft::fuzzing::fuzz_record),
    ("regexp", regexp::fuzzing::fuzz_regexp),
    ("relabel", relabel::fuzzing::fuzz_relabel),
    ("remotewrite_body", remotewrite::fuzzing::fuzz_body),
    ("remotewrite_request", remotewrite::fuzzing::fuzz_write_request),
    ("remotewrite_v2_request", remotewrite::fuzzing::fuzz_v2_request),
    ("scraper_messages", scraper::fuzzing::fuzz_messages),
    ("scraper_pages", scraper::fuzzing::fuzz_pages),
    ("scraper_targets", scraper::fuzzing::fuzz_targets),
    ("targets_answer", targets::fuzzing::fuzz_answer),
    ("targets_question", targets::fuzzing::fuzz_question),
    ("wal_segments", wal::fuzzing::fuzz_segments),
    ("wire_answers", wire::fuzzing::fuzz_answers),
    ("wire_pages", wire::fuzzing::fuzz_pages),
    ("wire_questions", wire::fuzzing::fuzz_questions),
];

/// The function of the target `name`. In a `const` it fails to compile where there is none, and nothing but that target's crates
/// is linked.
pub const fn target(name: &str) -> Run {
    let mut i = 0;
    while i < TARGETS.len() {
        if same(TARGETS[i].0.as_bytes(), name.as_bytes()) {
            return TARGETS[i].1;
        }
        i += 1;
    }
    panic!("no target of this name is in the table")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    a.len() == b.len()
}
