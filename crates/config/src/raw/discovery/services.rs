//! Service registries and inventories: Consul, DNS, Eureka, ZooKeeper, PuppetDB, Uyuni.

use std::collections::BTreeMap;

use model::DurationMs;

use super::super::http_client::{RawBasicAuth, RawHttpClient};
use super::check_http_url;
use crate::secret::Secret;
use crate::url::Url;
use crate::yaml::{Refusal, record, refuse, refuse_at};

record! {
    pub(crate) struct ConsulSd as "consul.SDConfig" in "consul.plain" [reset = ConsulSd::defaults, check = ConsulSd::check] {
        server: String = "server" [omit];
        path_prefix: String = "path_prefix" [omit];
        token: Secret = "token" [omit];
        datacenter: String = "datacenter" [omit];
        namespace: String = "namespace" [omit];
        partition: String = "partition" [omit];
        tag_separator: String = "tag_separator" [omit];
        scheme: String = "scheme" [omit];
        username: String = "username" [omit];
        password: Secret = "password" [omit];
        allow_stale: bool = "allow_stale" [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        services: Vec<String> = "services" [omit];
        tags: Vec<String> = "tags" [omit];
        node_meta: BTreeMap<String, String> = "node_meta" [omit];
        filter: String = "filter" [omit];
        health_filter: String = "health_filter" [omit];
        http_client: RawHttpClient = inline [];
    }
}

impl ConsulSd {
    fn defaults() -> ConsulSd {
        ConsulSd {
            tag_separator: ",".to_owned(),
            scheme: "http".to_owned(),
            server: "localhost:8500".to_owned(),
            allow_stale: true,
            refresh_interval: DurationMs::secs(30),
            http_client: RawHttpClient::defaults(),
            ..ConsulSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.server.trim().is_empty() {
            return refuse("consul SD configuration requires a server address");
        }
        let http = &mut self.http_client;
        if !self.username.is_empty() || !self.password.is_empty() {
            if http.basic_auth.is_some() {
                let text =
                    "at most one of consul SD configuration username and password and basic auth can be configured";
                return refuse_at("basic_auth", text);
            }
            http.basic_auth = Some(RawBasicAuth {
                username: self.username.clone(),
                password: self.password.clone(),
                ..RawBasicAuth::default()
            });
        }
        if !self.token.is_empty() && (http.authorization.is_some() || http.oauth2.is_some()) {
            return refuse_at("token", "at most one of consul SD token, authorization, or oauth2 can be configured");
        }
        http.check()
    }
}

record! {
    pub(crate) struct DnsSd as "dns.SDConfig" in "dns.plain" [reset = DnsSd::defaults, check = DnsSd::check] {
        names: Vec<String> = "names" [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        kind: String = "type" [];
        port: i64 = "port" [];
    }
}

impl DnsSd {
    fn defaults() -> DnsSd {
        DnsSd { refresh_interval: DurationMs::secs(30), kind: "SRV".to_owned(), ..DnsSd::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.names.is_empty() {
            return refuse("DNS-SD config must contain at least one SRV record name");
        }
        match self.kind.to_uppercase().as_str() {
            "SRV" => Ok(()),
            "A" | "AAAA" | "MX" | "NS" if self.port != 0 => Ok(()),
            "A" | "AAAA" | "MX" | "NS" => {
                refuse("a port is required in DNS-SD configs for all record types except SRV")
            }
            _ => refuse_at("type", format!("invalid DNS-SD records type {}", self.kind)),
        }
    }
}

record! {
    pub(crate) struct EurekaSd as "eureka.SDConfig" in "eureka.plain" [reset = EurekaSd::defaults, check = EurekaSd::check] {
        server: String = "server" [omit];
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
    }
}

impl EurekaSd {
    fn defaults() -> EurekaSd {
        EurekaSd {
            refresh_interval: DurationMs::secs(30),
            http_client: RawHttpClient::defaults(),
            ..EurekaSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.server.is_empty() {
            return refuse("eureka_sd: empty or null eureka server");
        }
        let url = Url::parse(&self.server).or_else(|e| refuse_at("server", e.to_string()))?;
        if url.scheme().is_empty() || url.host().is_empty() {
            return refuse_at("server", "eureka_sd: invalid eureka server URL");
        }
        self.http_client.check()
    }
}

/// The two that watch ZooKeeper.
macro_rules! zookeeper_sd {
    ($name:ident, $go:literal, $plain:literal, $called:literal) => {
        record! {
            pub(crate) struct $name as $go in $plain [reset = $name::defaults, check = $name::check] {
                servers: Vec<String> = "servers" [];
                paths: Vec<String> = "paths" [];
                timeout: DurationMs = "timeout" [omit];
            }
        }

        impl $name {
            fn defaults() -> $name {
                $name { timeout: DurationMs::secs(10), ..$name::default() }
            }

            fn check(&mut self) -> Result<(), Refusal> {
                if self.servers.is_empty() {
                    return refuse(concat!($called, " SD config must contain at least one Zookeeper server"));
                }
                if self.paths.is_empty() {
                    return refuse(concat!($called, " SD config must contain at least one path"));
                }
                match self.paths.iter().find(|path| !path.starts_with('/')) {
                    Some(path) => {
                        let text = format!(concat!($called, " SD config paths must begin with '/': {}"), path);
                        refuse_at("paths", text)
                    }
                    None => Ok(()),
                }
            }
        }
    };
}

zookeeper_sd!(NerveSd, "zookeeper.NerveSDConfig", "zookeeper.plain", "nerve");
zookeeper_sd!(ServersetSd, "zookeeper.ServersetSDConfig", "zookeeper.plain", "serverset");

record! {
    pub(crate) struct PuppetDbSd as "puppetdb.SDConfig" in "puppetdb.plain" [reset = PuppetDbSd::defaults, check = PuppetDbSd::check] {
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        url: String = "url" [];
        query: String = "query" [];
        include_parameters: bool = "include_parameters" [];
        port: i64 = "port" [];
    }
}

impl PuppetDbSd {
    fn defaults() -> PuppetDbSd {
        PuppetDbSd {
            refresh_interval: DurationMs::secs(60),
            port: 80,
            http_client: RawHttpClient::defaults(),
            ..PuppetDbSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        check_http_url(&self.url)?;
        if self.query.is_empty() {
            return refuse("query missing");
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct UyuniSd as "uyuni.SDConfig" in "uyuni.plain" [reset = UyuniSd::defaults, check = UyuniSd::check] {
        server: String = "server" [];
        username: String = "username" [];
        password: Secret = "password" [];
        http_client: RawHttpClient = inline [];
        entitlement: String = "entitlement" [omit];
        separator: String = "separator" [omit];
        refresh_interval: DurationMs = "refresh_interval" [omit];
    }
}

impl UyuniSd {
    fn defaults() -> UyuniSd {
        UyuniSd {
            entitlement: "monitoring_entitled".to_owned(),
            separator: ",".to_owned(),
            refresh_interval: DurationMs::mins(1),
            http_client: RawHttpClient::defaults(),
            ..UyuniSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.server.is_empty() {
            return refuse("Uyuni SD configuration requires server host");
        }
        Url::parse(&self.server).or_else(|e| refuse_at("server", format!("Uyuni Server URL is not valid: {e}")))?;
        if self.username.is_empty() {
            return refuse("Uyuni SD configuration requires a username");
        }
        if self.password.is_empty() {
            return refuse("Uyuni SD configuration requires a password");
        }
        self.http_client.check()
    }
}
