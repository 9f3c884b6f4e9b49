//! Clouds, part two: OpenStack, Outscale, OVHcloud, Scaleway, STACKIT, Triton, Vultr.

use model::DurationMs;

use super::super::http_client::{RawHttpClient, RawTls};
use super::{PORT, REFRESH, roles};
use crate::go;
use crate::secret::Secret;
use crate::url::Url;
use crate::yaml::{Refusal, record, refuse, refuse_at};

roles!(OpenStackRole, "openstack.Role", "OpenStack SD role", "hypervisor" | "instance" | "loadbalancer");
roles!(ScalewayRole, "scaleway.role", "role", "instance" | "baremetal");

record! {
    pub(crate) struct OpenStackSd as "openstack.SDConfig" in "openstack.plain" [reset = OpenStackSd::defaults, check = OpenStackSd::check] {
        identity_endpoint: String = "identity_endpoint" [];
        username: String = "username" [];
        userid: String = "userid" [];
        password: Secret = "password" [];
        project_name: String = "project_name" [];
        project_id: String = "project_id" [];
        domain_name: String = "domain_name" [];
        domain_id: String = "domain_id" [];
        application_credential_name: String = "application_credential_name" [];
        application_credential_id: String = "application_credential_id" [];
        application_credential_secret: Secret = "application_credential_secret" [];
        role: OpenStackRole = "role" [];
        region: String = "region" [];
        refresh_interval: DurationMs = "refresh_interval" [];
        port: i64 = "port" [];
        all_tenants: bool = "all_tenants" [omit];
        tls_config: RawTls = "tls_config" [omit];
        availability: String = "availability" [omit];
    }
}

impl OpenStackSd {
    fn defaults() -> OpenStackSd {
        OpenStackSd {
            port: PORT,
            refresh_interval: REFRESH,
            availability: "public".to_owned(),
            ..OpenStackSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if !matches!(self.availability.as_str(), "public" | "internal" | "admin") {
            let text = format!("unknown availability {}, must be one of admin, internal or public", self.availability);
            return refuse_at("availability", text);
        }
        if self.role.0.is_empty() {
            return refuse("role missing (one of: instance, hypervisor, loadbalancer)");
        }
        if self.region.is_empty() { refuse("openstack SD configuration requires a region") } else { Ok(()) }
    }
}

/// Secrets that may stand in a file of their own.
fn check_secret_key(key: &Secret, file: &str) -> Result<(), Refusal> {
    match (key.is_empty(), file.is_empty()) {
        (true, true) => refuse("one of secret_key & secret_key_file must be configured"),
        (false, false) => refuse("at most one of secret_key & secret_key_file must be configured"),
        (true, false) | (false, true) => Ok(()),
    }
}

record! {
    pub(crate) struct OutscaleSd as "outscale.SDConfig" in "outscale.plain" [reset = OutscaleSd::defaults, check = OutscaleSd::check] {
        endpoint: String = "endpoint" [omit];
        region: String = "region" [];
        access_key: String = "access_key" [];
        secret_key: Secret = "secret_key" [];
        secret_key_file: String = "secret_key_file" [path];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        port: i64 = "port" [];
        http_client: RawHttpClient = inline [];
    }
}

impl OutscaleSd {
    fn defaults() -> OutscaleSd {
        OutscaleSd {
            port: PORT,
            refresh_interval: REFRESH,
            http_client: RawHttpClient::defaults(),
            region: "eu-west-2".to_owned(),
            ..OutscaleSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.region.is_empty() {
            return refuse("outscale SD configuration requires a region");
        }
        if self.access_key.is_empty() {
            return refuse("outscale SD configuration requires access_key");
        }
        check_secret_key(&self.secret_key, &self.secret_key_file)?;
        if self.endpoint.is_empty() {
            self.endpoint = format!("https://api.{}.outscale.com/api/v1", self.region);
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct OvhCloudSd as "ovhcloud.SDConfig" in "ovhcloud.plain" [reset = OvhCloudSd::defaults, check = OvhCloudSd::check] {
        endpoint: String = "endpoint" [];
        application_key: String = "application_key" [];
        application_secret: Secret = "application_secret" [];
        consumer_key: Secret = "consumer_key" [];
        refresh_interval: DurationMs = "refresh_interval" [];
        service: String = "service" [];
    }
}

impl OvhCloudSd {
    fn defaults() -> OvhCloudSd {
        OvhCloudSd { endpoint: "ovh-eu".to_owned(), refresh_interval: REFRESH, ..OvhCloudSd::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        let required = [
            (self.endpoint.is_empty(), "endpoint"),
            (self.application_key.is_empty(), "application key"),
            (self.application_secret.is_empty(), "application secret"),
            (self.consumer_key.is_empty(), "consumer key"),
        ];
        if let Some((_, name)) = required.iter().find(|(missing, _)| *missing) {
            return refuse(format!("{name} can not be empty"));
        }
        match self.service.as_str() {
            "dedicated_server" | "vps" => Ok(()),
            other => refuse_at("service", format!("unknown service: {other}")),
        }
    }
}

record! {
    pub(crate) struct ScalewaySd as "scaleway.SDConfig" in "scaleway.plain" [reset = ScalewaySd::defaults, check = ScalewaySd::check] {
        project_id: String = "project_id" [];
        api_url: String = "api_url" [omit];
        zone: String = "zone" [];
        access_key: String = "access_key" [];
        secret_key: Secret = "secret_key" [];
        secret_key_file: String = "secret_key_file" [path];
        name_filter: String = "name_filter" [omit];
        tags_filter: Vec<String> = "tags_filter" [omit];
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [];
        port: i64 = "port" [];
        role: ScalewayRole = "role" [];
    }
}

const SCALEWAY_ZONES: &str = "fr-par-1, fr-par-2, fr-par-3, nl-ams-1, nl-ams-2, nl-ams-3, pl-waw-1, pl-waw-2, pl-waw-3";

impl ScalewaySd {
    fn defaults() -> ScalewaySd {
        ScalewaySd {
            port: PORT,
            refresh_interval: REFRESH,
            http_client: RawHttpClient::defaults(),
            zone: "fr-par-1".to_owned(),
            api_url: "https://api.scaleway.com".to_owned(),
            ..ScalewaySd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.role.0.is_empty() {
            return refuse("role missing (one of: instance, baremetal)");
        }
        if self.project_id.is_empty() {
            return refuse("project_id is mandatory");
        }
        check_secret_key(&self.secret_key, &self.secret_key_file)?;
        if self.access_key.is_empty() {
            return refuse("access_key is mandatory");
        }
        self.check_formats().or_else(|text| refuse(format!("scaleway-sdk-go: {text}")))?;
        self.http_client.check()
    }

    /// What Scaleway's own client checks before it starts.
    fn check_formats(&self) -> Result<(), String> {
        const UUID: &str = "expected a UUID: xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
        let key = &self.access_key;
        let of_key = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if !(key.len() == 20 && key.starts_with("SCW") && key.bytes().all(of_key)) {
            return Err(format!("invalid access key format '{key}', expected SCWXXXXXXXXXXXXXXXXX format"));
        }
        if self.secret_key_file.is_empty() && !is_uuid(self.secret_key.reveal()) {
            // Prometheus prints the key itself here.
            return Err(format!("invalid secret key format '{}', {UUID}", self.secret_key));
        }
        if !is_uuid(&self.project_id) {
            return Err(format!("invalid project ID format '{}', {UUID}", self.project_id));
        }
        if self.zone.is_empty() {
            return Err("default zone cannot be empty".to_owned());
        }
        if !is_scaleway_zone(&self.zone) {
            let text = format!("invalid default zone format '{}', available zones are: {SCALEWAY_ZONES}", self.zone);
            return Err(text);
        }
        let url = &self.api_url;
        if url.is_empty() || Url::parse(url).is_err() {
            return Err(format!("invalid API url '{url}'"));
        }
        if url.ends_with('/') {
            return Err(format!("invalid API url '{url}' it should not have a trailing slash"));
        }
        Ok(())
    }
}

/// Hexadecimal digits in groups of 8, 4, 4, 4 and 12.
pub(super) fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// `[a-z]{2}-[a-z]{3,7}-[0-9]{1,2}`
fn is_scaleway_zone(text: &str) -> bool {
    let lower = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase());
    let parts: Vec<&str> = text.split('-').collect();
    let [country, city, number] = parts[..] else { return false };
    country.len() == 2
        && lower(country)
        && (3..=7).contains(&city.len())
        && lower(city)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

record! {
    pub(crate) struct StackitSd as "stackit.SDConfig" in "stackit.plain" [reset = StackitSd::defaults, check = StackitSd::check] {
        http_client: RawHttpClient = inline [];
        project: String = "project" [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        port: i64 = "port" [omit];
        region: String = "region" [omit];
        endpoint: String = "endpoint" [omit];
        service_account_key: Secret = "service_account_key" [omit];
        private_key: Secret = "private_key" [omit];
        service_account_key_path: String = "service_account_key_path" [omit];
        private_key_path: String = "private_key_path" [omit];
        credentials_file_path: String = "credentials_file_path" [omit];
    }
}

impl StackitSd {
    fn defaults() -> StackitSd {
        StackitSd {
            region: "eu01".to_owned(),
            port: PORT,
            refresh_interval: REFRESH,
            http_client: RawHttpClient::defaults(),
            ..StackitSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.endpoint.is_empty() && self.region.is_empty() {
            return refuse("stackit_sd: endpoint and region missing");
        }
        if let Err(e) = Url::parse(&self.endpoint) {
            let text = format!("stackit_sd: invalid endpoint {}: {e}", go::quote(&self.endpoint));
            return refuse_at("endpoint", text);
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct TritonSd as "triton.SDConfig" in "triton.plain" [reset = TritonSd::defaults, check = TritonSd::check] {
        account: String = "account" [];
        role: String = "role" [];
        dns_suffix: String = "dns_suffix" [];
        endpoint: String = "endpoint" [];
        groups: Vec<String> = "groups" [omit];
        port: i64 = "port" [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        tls_config: RawTls = "tls_config" [omit];
        version: i64 = "version" [];
    }
}

impl TritonSd {
    fn defaults() -> TritonSd {
        TritonSd {
            role: "container".to_owned(),
            port: 9163,
            refresh_interval: REFRESH,
            version: 1,
            ..TritonSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if !matches!(self.role.as_str(), "container" | "cn") {
            return refuse_at("role", "triton SD configuration requires role to be 'container' or 'cn'");
        }
        if self.account.is_empty() {
            return refuse("triton SD configuration requires an account");
        }
        if self.dns_suffix.is_empty() {
            return refuse("triton SD configuration requires a dns_suffix");
        }
        if self.endpoint.is_empty() {
            return refuse("triton SD configuration requires an endpoint");
        }
        if self.refresh_interval <= DurationMs::ZERO {
            let text = "triton SD configuration requires RefreshInterval to be a positive integer";
            return refuse_at("refresh_interval", text);
        }
        Ok(())
    }
}

record! {
    pub(crate) struct VultrSd as "vultr.SDConfig" in "vultr.plain" [reset = VultrSd::defaults, check = |sd| sd.http_client.check()] {
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [];
        port: i64 = "port" [];
    }
}

impl VultrSd {
    fn defaults() -> VultrSd {
        VultrSd { port: PORT, refresh_interval: REFRESH, http_client: RawHttpClient::defaults(), ..VultrSd::default() }
    }
}
