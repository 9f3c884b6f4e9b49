//! The discovery mechanisms that a job may name: `static_configs` and every `*_sd_configs` of Prometheus 3.14.
//!
//! Narthex runs the first three; the others are read, checked and printed all the same, so that a file's verdict does not
//! depend on what is built.

mod aws;
mod cloud;
mod containers;
mod hosting;
mod kubernetes;
mod services;

use model::DurationMs;

use super::http_client::RawHttpClient;
use crate::go;
use crate::target_groups::TargetGroup;
use crate::url::Url;
use crate::yaml::record::Paths;
use crate::yaml::{Encode, Refusal, record, refuse, refuse_at};

/// Where machines are scraped unless said otherwise.
const PORT: i64 = 80;
/// How often clouds are asked unless said otherwise.
const REFRESH: DurationMs = DurationMs::secs(60);

/// A closed set of roles.
macro_rules! roles {
    ($name:ident, $go:literal, $called:literal, $($role:literal)|+) => {
        $crate::raw::text::checked_string! {
            pub(crate) struct $name as $go, |role| match role {
                $($role)|+ => Ok(()),
                other => Err(format!(concat!("unknown ", $called, " {}"), $crate::go::quote(other))),
            }
        }
    };
}

use roles;

/// Declares the mechanisms in the order of their keys, which is that in which Prometheus checks and prints them.
macro_rules! discoveries {
    ($($field:ident: $type:ty = $key:tt;)*) => {
        record! {
            /// All mechanisms of one owner (a job, a set of Alertmanagers).
            pub(crate) struct RawDiscoveries as "discovery.Configs" in "discovery.Configs" [] {
                $($field: Vec<Option<$type>> = $key [omit];)*
            }
        }

        impl RawDiscoveries {
            /// Refuses entries without a value.
            pub(crate) fn check(&mut self) -> Result<(), Refusal> {
                $(if self.$field.contains(&None) {
                    return refuse_at($key, concat!("empty or null section in ", $key));
                })*
                Ok(())
            }

            /// The keys that are in use.
            pub(crate) fn used(&self) -> Vec<&'static str> {
                let mut keys = Vec::new();
                $(if !self.$field.is_empty() {
                    keys.push($key);
                })*
                keys
            }
        }
    };
}

discoveries! {
    aws_sd_configs: aws::AwsSd = "aws_sd_configs";
    azure_sd_configs: cloud::AzureSd = "azure_sd_configs";
    consul_sd_configs: services::ConsulSd = "consul_sd_configs";
    digitalocean_sd_configs: cloud::DigitalOceanSd = "digitalocean_sd_configs";
    dns_sd_configs: services::DnsSd = "dns_sd_configs";
    docker_sd_configs: containers::DockerSd = "docker_sd_configs";
    dockerswarm_sd_configs: containers::DockerSwarmSd = "dockerswarm_sd_configs";
    ec2_sd_configs: aws::Ec2Sd = "ec2_sd_configs";
    ecs_sd_configs: aws::EcsSd = "ecs_sd_configs";
    elasticache_sd_configs: aws::ElasticacheSd = "elasticache_sd_configs";
    eureka_sd_configs: services::EurekaSd = "eureka_sd_configs";
    file_sd_configs: RawFileSd = "file_sd_configs";
    gce_sd_configs: cloud::GceSd = "gce_sd_configs";
    hetzner_sd_configs: cloud::HetznerSd = "hetzner_sd_configs";
    http_sd_configs: RawHttpSd = "http_sd_configs";
    ionos_sd_configs: cloud::IonosSd = "ionos_sd_configs";
    kubernetes_sd_configs: kubernetes::KubernetesSd = "kubernetes_sd_configs";
    kuma_sd_configs: containers::KumaSd = "kuma_sd_configs";
    lightsail_sd_configs: aws::LightsailSd = "lightsail_sd_configs";
    linode_sd_configs: cloud::LinodeSd = "linode_sd_configs";
    marathon_sd_configs: containers::MarathonSd = "marathon_sd_configs";
    msk_sd_configs: aws::MskSd = "msk_sd_configs";
    nerve_sd_configs: services::NerveSd = "nerve_sd_configs";
    nomad_sd_configs: containers::NomadSd = "nomad_sd_configs";
    oci_sd_configs: cloud::OciSd = "oci_sd_configs";
    openstack_sd_configs: hosting::OpenStackSd = "openstack_sd_configs";
    outscale_sd_configs: hosting::OutscaleSd = "outscale_sd_configs";
    ovhcloud_sd_configs: hosting::OvhCloudSd = "ovhcloud_sd_configs";
    puppetdb_sd_configs: services::PuppetDbSd = "puppetdb_sd_configs";
    rds_sd_configs: aws::RdsSd = "rds_sd_configs";
    scaleway_sd_configs: hosting::ScalewaySd = "scaleway_sd_configs";
    serverset_sd_configs: services::ServersetSd = "serverset_sd_configs";
    stackit_sd_configs: hosting::StackitSd = "stackit_sd_configs";
    static_configs: TargetGroup = "static_configs";
    triton_sd_configs: hosting::TritonSd = "triton_sd_configs";
    uyuni_sd_configs: services::UyuniSd = "uyuni_sd_configs";
    vultr_sd_configs: hosting::VultrSd = "vultr_sd_configs";
}

/// The mechanisms that Narthex runs.
pub(crate) const BUILT: [&str; 3] = ["file_sd_configs", "http_sd_configs", "static_configs"];

record! {
    /// One entry of `file_sd_configs`.
    pub(crate) struct RawFileSd as "file.SDConfig" in "file.plain" [reset = RawFileSd::defaults, check = RawFileSd::check] {
        files: Vec<String> = "files" [path];
        refresh_interval: DurationMs = "refresh_interval" [omit];
    }
}

impl RawFileSd {
    fn defaults() -> RawFileSd {
        RawFileSd { refresh_interval: DurationMs::mins(5), ..RawFileSd::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.files.is_empty() {
            return refuse("file service discovery config must contain at least one path name");
        }
        match self.files.iter().find(|name| !is_target_file_pattern(name)) {
            Some(name) => refuse_at("files", format!("path name {} is not valid for file discovery", go::quote(name))),
            None => Ok(()),
        }
    }
}

/// `[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)`
fn is_target_file_pattern(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    matches!(extension, "json" | "yml" | "yaml" | "JSON" | "YML" | "YAML")
        && stem.split_once('*').is_none_or(|(_, behind)| !behind.contains('/'))
        && !stem.contains('\n')
}

record! {
    /// One entry of `http_sd_configs`.
    pub(crate) struct RawHttpSd as "http.SDConfig" in "http.plain" [reset = RawHttpSd::defaults, check = RawHttpSd::check] {
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        url: String = "url" [];
    }
}

impl RawHttpSd {
    fn defaults() -> RawHttpSd {
        RawHttpSd {
            http_client: RawHttpClient::defaults(),
            refresh_interval: DurationMs::secs(60),
            ..RawHttpSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        check_http_url(&self.url)?;
        self.http_client.check()
    }
}

/// A required URL with a host, of http or https.
fn check_http_url(url: &str) -> Result<(), Refusal> {
    if url.is_empty() {
        return refuse("URL is missing");
    }
    let url = Url::parse(url).or_else(|e| refuse_at("url", e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return refuse_at("url", "URL scheme must be 'http' or 'https'");
    }
    if url.host().is_empty() {
        return refuse_at("url", "host is missing in URL");
    }
    Ok(())
}

/// Refuses targets that are URLs.
pub(crate) fn check_static_targets(groups: &[Option<TargetGroup>]) -> Result<(), Refusal> {
    match groups.iter().flatten().flat_map(|g| &g.targets).find(|address| address.contains('/')) {
        Some(address) => refuse_at("static_configs", format!("{} is not a valid hostname", go::quote(address))),
        None => Ok(()),
    }
}

impl Paths for TargetGroup {}

/// Whether two records print the same, places aside.
fn prints_like<T: Encode>(a: &T, b: &T) -> bool {
    a.encode() == b.encode()
}
