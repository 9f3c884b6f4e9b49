//! Where a job's targets come from: the mechanisms that Narthex runs.

use model::DurationMs;

use crate::http_client::HttpClientConfig;
use crate::raw::discovery::RawDiscoveries;
use crate::target_groups::TargetGroup;

/// One mechanism of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceDiscovery {
    /// Groups written into the configuration; all of a job's, in order. A group's source is its index.
    Static(Vec<TargetGroup>),
    /// Groups in files.
    File(FileDiscovery),
    /// Groups from a server.
    Http(Box<HttpDiscovery>),
}

/// `file_sd_configs`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Patterns; `*` in the last part alone. Not empty.
    pub files: Vec<String>,
    /// How often they are read even where nothing says that they changed.
    pub refresh_interval: DurationMs,
}

/// `http_sd_configs`
#[derive(Clone, Debug, PartialEq)]
pub struct HttpDiscovery {
    /// Of http or https, with a host.
    pub url: String,
    /// How often it is asked.
    pub refresh_interval: DurationMs,
    /// How to connect.
    pub http_client: HttpClientConfig,
}

impl ServiceDiscovery {
    pub(crate) fn from_raw(raw: &RawDiscoveries) -> Vec<ServiceDiscovery> {
        let mut out = Vec::new();
        for file in raw.file_sd_configs.iter().flatten() {
            out.push(ServiceDiscovery::File(FileDiscovery {
                files: file.files.clone(),
                refresh_interval: file.refresh_interval,
            }));
        }
        for http in raw.http_sd_configs.iter().flatten() {
            out.push(ServiceDiscovery::Http(Box::new(HttpDiscovery {
                url: http.url.clone(),
                refresh_interval: http.refresh_interval,
                http_client: HttpClientConfig::from_raw(&http.http_client),
            })));
        }
        if !raw.static_configs.is_empty() {
            out.push(ServiceDiscovery::Static(raw.static_configs.iter().flatten().cloned().collect()));
        }
        out
    }
}
