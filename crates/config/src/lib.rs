//! Configuration files, from text to checked values: `prometheus.yml` with Prometheus 3.14's verdicts, target groups of file
//! and http discovery, the web configuration and the object store's.
//!
//! Everything is pure: what lies outside (files, environment) comes in as functions, and nothing is connected to. Errors say
//! what Prometheus says, and the file, line and column besides. Rule files are another matter and not read here.
//!
//! `raw` holds the files as Prometheus' Go structs do, `yaml` reads and prints them as Go's library does; the public types
//! are made of those that Narthex acts on.

pub mod discovery;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod glob;
mod go;
pub mod http_client;
pub mod load;
pub mod object_store;
mod raw;
mod read;
pub mod relabel_config;
pub mod scheme;
pub mod scrape_config;
pub mod secret;
pub mod size;
pub mod target_groups;
pub mod url;
pub mod web;
mod yaml;

pub use discovery::{FileDiscovery, HttpDiscovery, ServiceDiscovery};
pub use error::{LoadError, Position, Refused, TypeError};
pub use http_client::HttpClientConfig;
pub use load::{Config, Defaults, GlobalConfig, Outside, StorageConfig, UnsupportedBlock, load, parse};
pub use object_store::{ObjectStoreConfig, parse_object_store};
pub use relabel_config::{RelabelAction, RelabelConfig};
pub use scheme::{NameEscaping, NameValidation};
pub use scrape_config::{ScrapeConfig, ScrapeLimits, ScrapeProtocol};
pub use secret::Secret;
pub use size::ByteSize;
pub use target_groups::{TargetFormat, TargetGroup, parse_target_groups};
pub use web::{WebConfig, parse_web};
