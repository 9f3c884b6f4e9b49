//! Clouds, part one: Azure, DigitalOcean, Google, Hetzner, IONOS, Linode, Oracle.

use model::DurationMs;

use super::super::http_client::RawHttpClient;
use super::{PORT, REFRESH, roles};
use crate::go;
use crate::secret::Secret;
use crate::yaml::{Refusal, record, refuse, refuse_at};

roles!(DigitalOceanRole, "digitalocean.Role", "DigitalOcean SD role", "droplets" | "databases");
roles!(HetznerRole, "hetzner.Role", "role", "robot" | "hcloud");

record! {
    /// Go leaves its file names as they are written.
    pub(crate) struct AzureSd as "azure.SDConfig" in "azure.plain" [reset = AzureSd::defaults, check = AzureSd::check] {
        environment: String = "environment" [omit];
        port: i64 = "port" [];
        subscription_id: String = "subscription_id" [];
        tenant_id: String = "tenant_id" [omit];
        client_id: String = "client_id" [omit];
        client_secret: Secret = "client_secret" [omit];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        authentication_method: String = "authentication_method" [omit];
        resource_group: String = "resource_group" [omit];
        http_client: RawHttpClient = inline [no_dir];
    }
}

impl AzureSd {
    fn defaults() -> AzureSd {
        AzureSd {
            port: PORT,
            refresh_interval: DurationMs::mins(5),
            environment: "AzurePublicCloud".to_owned(),
            authentication_method: "OAuth".to_owned(),
            http_client: RawHttpClient::defaults(),
            ..AzureSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        let required = |given: bool, name: &str| {
            if given { Ok(()) } else { refuse(format!("azure SD configuration requires a {name}")) }
        };
        required(!self.subscription_id.is_empty(), "subscription_id")?;
        match self.authentication_method.as_str() {
            "OAuth" => {
                required(!self.tenant_id.is_empty(), "tenant_id")?;
                required(!self.client_id.is_empty(), "client_id")?;
                required(!self.client_secret.is_empty(), "client_secret")?;
            }
            "ManagedIdentity" | "SDK" | "WorkloadIdentity" => {}
            other => {
                let text = format!(
                    "unknown authentication_type {}. Supported types are \"OAuth\", \"ManagedIdentity\", \"SDK\" or \
                     \"WorkloadIdentity\"",
                    go::quote(other)
                );
                return refuse_at("authentication_method", text);
            }
        }
        self.http_client.check()
    }
}

record! {
    /// A field of Go's struct that only its tests fill, and that is printed all the same.
    pub(crate) struct NoFields as "http.Client" in "http.Client" [] {
    }
}

record! {
    pub(crate) struct DigitalOceanSd as "digitalocean.SDConfig" in "digitalocean.plain" [reset = DigitalOceanSd::defaults, check = DigitalOceanSd::check] {
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [];
        port: i64 = "port" [];
        role: DigitalOceanRole = "role" [];
        http_client_of_tests: Option<NoFields> = "httpclient" [];
    }
}

impl DigitalOceanSd {
    fn defaults() -> DigitalOceanSd {
        DigitalOceanSd {
            port: PORT,
            refresh_interval: REFRESH,
            http_client: RawHttpClient::defaults(),
            role: DigitalOceanRole("droplets".to_owned()),
            ..DigitalOceanSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.role.0.is_empty() {
            return refuse("role missing (one of: droplets, databases)");
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct GceSd as "gce.SDConfig" in "gce.plain" [reset = GceSd::defaults, check = GceSd::check] {
        project: String = "project" [];
        zone: String = "zone" [];
        filter: String = "filter" [omit];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        port: i64 = "port" [];
        tag_separator: String = "tag_separator" [omit];
    }
}

impl GceSd {
    fn defaults() -> GceSd {
        GceSd { port: PORT, tag_separator: ",".to_owned(), refresh_interval: REFRESH, ..GceSd::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.project.is_empty() {
            return refuse("GCE SD configuration requires a project");
        }
        if self.zone.is_empty() { refuse("GCE SD configuration requires a zone") } else { Ok(()) }
    }
}

record! {
    pub(crate) struct HetznerSd as "hetzner.SDConfig" in "hetzner.plain" [reset = HetznerSd::defaults, check = HetznerSd::check] {
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [];
        port: i64 = "port" [];
        role: HetznerRole = "role" [];
        label_selector: String = "label_selector" [omit];
    }
}

impl HetznerSd {
    fn defaults() -> HetznerSd {
        HetznerSd {
            port: PORT,
            refresh_interval: REFRESH,
            http_client: RawHttpClient::defaults(),
            ..HetznerSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.role.0.is_empty() {
            return refuse("role missing (one of: robot, hcloud)");
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct IonosSd as "ionos.SDConfig" in "ionos.plain" [reset = IonosSd::defaults, check = IonosSd::check] {
        datacenter_id: String = "datacenter_id" [];
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [];
        port: i64 = "port" [];
    }
}

impl IonosSd {
    fn defaults() -> IonosSd {
        IonosSd { http_client: RawHttpClient::defaults(), refresh_interval: REFRESH, port: PORT, ..IonosSd::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.datacenter_id.is_empty() {
            return refuse("datacenter id can't be empty");
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct LinodeSd as "linode.SDConfig" in "linode.plain" [reset = LinodeSd::defaults, check = |sd| sd.http_client.check()] {
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [];
        port: i64 = "port" [];
        tag_separator: String = "tag_separator" [omit];
        region: String = "region" [omit];
    }
}

impl LinodeSd {
    fn defaults() -> LinodeSd {
        LinodeSd {
            tag_separator: ",".to_owned(),
            port: PORT,
            refresh_interval: REFRESH,
            http_client: RawHttpClient::defaults(),
            ..LinodeSd::default()
        }
    }
}

record! {
    pub(crate) struct OciSd as "oci.SDConfig" in "oci.plain" [reset = OciSd::defaults, check = OciSd::check] {
        auth: String = "auth" [omit];
        tenancy: String = "tenancy" [omit];
        user: String = "user" [omit];
        fingerprint: String = "fingerprint" [omit];
        key_file: String = "key_file" [omit, path];
        key_passphrase: Secret = "key_passphrase" [omit];
        key_passphrase_file: String = "key_passphrase_file" [omit, path];
        region: String = "region" [];
        compartments: Vec<String> = "compartments" [omit];
        http_client: RawHttpClient = inline [];
        port: i64 = "port" [];
        refresh_interval: DurationMs = "refresh_interval" [];
    }
}

impl OciSd {
    fn defaults() -> OciSd {
        OciSd {
            port: PORT,
            refresh_interval: REFRESH,
            auth: "api_key".to_owned(),
            http_client: RawHttpClient::defaults(),
            ..OciSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.region.is_empty() {
            return refuse("oci_sd: region is required");
        }
        self.check_auth()?;
        if let Some(i) = self.compartments.iter().position(String::is_empty) {
            return refuse_at("compartments", format!("oci_sd: compartments[{i}] must not be empty"));
        }
        if self.refresh_interval <= DurationMs::ZERO {
            let text = format!("oci_sd: refresh_interval must be positive, got {}", self.refresh_interval);
            return refuse_at("refresh_interval", text);
        }
        self.http_client.check()
    }

    fn check_auth(&self) -> Result<(), Refusal> {
        let passphrase = !self.key_passphrase.is_empty();
        let passphrase_file = !self.key_passphrase_file.is_empty();
        let named = [
            (&self.tenancy, "tenancy"),
            (&self.user, "user"),
            (&self.fingerprint, "fingerprint"),
            (&self.key_file, "key_file"),
        ];
        match self.auth.as_str() {
            "api_key" => {
                if let Some((_, name)) = named.iter().find(|(value, _)| value.is_empty()) {
                    return refuse(format!("oci_sd: api_key auth requires {name}"));
                }
                if passphrase && passphrase_file {
                    let text = "oci_sd: at most one of key_passphrase and key_passphrase_file must be configured";
                    return refuse_at("key_passphrase", text);
                }
                Ok(())
            }
            "instance_principal" => {
                if passphrase || passphrase_file || named.iter().any(|(value, _)| !value.is_empty()) {
                    let text = "oci_sd: instance_principal auth must not have tenancy, user, fingerprint, key_file, \
                                key_passphrase, or key_passphrase_file set";
                    return refuse_at("auth", text);
                }
                Ok(())
            }
            other => {
                let other = go::quote(other);
                let text =
                    format!("oci_sd: unknown auth method {other}, expected \"api_key\" or \"instance_principal\"");
                refuse_at("auth", text)
            }
        }
    }
}
