//! Schedulers of containers other than Kubernetes: Docker, Swarm, Kuma, Marathon, Nomad.

use model::DurationMs;

use super::super::http_client::RawHttpClient;
use crate::secret::Secret;
use crate::url::Url;
use crate::yaml::{Refusal, record, refuse, refuse_at};

record! {
    pub(crate) struct DockerFilter as "moby.Filter" in "moby.Filter" [] {
        name: String = "name" [];
        values: Vec<String> = "values" [];
    }
}

record! {
    pub(crate) struct DockerSd as "moby.DockerSDConfig" in "moby.plain" [reset = DockerSd::defaults, check = DockerSd::check] {
        http_client: RawHttpClient = inline [];
        host: String = "host" [];
        port: i64 = "port" [];
        filters: Vec<DockerFilter> = "filters" [];
        host_networking_host: String = "host_networking_host" [];
        refresh_interval: DurationMs = "refresh_interval" [];
        match_first_network: bool = "match_first_network" [];
    }
}

fn check_host(host: &str) -> Result<(), Refusal> {
    if host.is_empty() {
        return refuse("host missing");
    }
    Url::parse(host).map(|_| ()).or_else(|e| refuse_at("host", e.to_string()))
}

impl DockerSd {
    fn defaults() -> DockerSd {
        DockerSd {
            refresh_interval: DurationMs::secs(60),
            port: 80,
            host_networking_host: "localhost".to_owned(),
            http_client: RawHttpClient::defaults(),
            match_first_network: true,
            ..DockerSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        check_host(&self.host)?;
        self.http_client.check()
    }
}

record! {
    pub(crate) struct DockerSwarmSd as "moby.DockerSwarmSDConfig" in "moby.plain" [reset = DockerSwarmSd::defaults, check = DockerSwarmSd::check] {
        http_client: RawHttpClient = inline [];
        host: String = "host" [];
        role: String = "role" [];
        port: i64 = "port" [];
        filters: Vec<DockerFilter> = "filters" [];
        refresh_interval: DurationMs = "refresh_interval" [];
    }
}

impl DockerSwarmSd {
    fn defaults() -> DockerSwarmSd {
        DockerSwarmSd {
            refresh_interval: DurationMs::secs(60),
            port: 80,
            http_client: RawHttpClient::defaults(),
            ..DockerSwarmSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        check_host(&self.host)?;
        match self.role.as_str() {
            "services" | "nodes" | "tasks" => {}
            "" => return refuse("role missing (one of: tasks, services, nodes)"),
            role => {
                return refuse_at("role", format!("invalid role {role}, expected tasks, services, or nodes"));
            }
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct KumaSd as "xds.SDConfig" in "xds.plainKumaConf" [reset = KumaSd::defaults, check = KumaSd::check] {
        http_client: RawHttpClient = inline [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        fetch_timeout: DurationMs = "fetch_timeout" [omit];
        server: String = "server" [omit];
        client_id: String = "client_id" [omit];
    }
}

impl KumaSd {
    fn defaults() -> KumaSd {
        KumaSd {
            http_client: RawHttpClient::defaults(),
            refresh_interval: DurationMs::secs(15),
            fetch_timeout: DurationMs::mins(2),
            ..KumaSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.server.is_empty() {
            return refuse("kuma SD server must not be empty: ");
        }
        let url = Url::parse(&self.server).or_else(|e| refuse_at("server", e.to_string()))?;
        if url.scheme().is_empty() || url.host().is_empty() {
            let text = format!("kuma SD server must not be empty and have a scheme: {}", self.server);
            return refuse_at("server", text);
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct MarathonSd as "marathon.SDConfig" in "marathon.plain" [reset = MarathonSd::defaults, check = MarathonSd::check] {
        servers: Vec<String> = "servers" [omit];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        auth_token: Secret = "auth_token" [omit];
        auth_token_file: String = "auth_token_file" [omit, path];
        http_client: RawHttpClient = inline [];
    }
}

impl MarathonSd {
    fn defaults() -> MarathonSd {
        MarathonSd {
            refresh_interval: DurationMs::secs(30),
            http_client: RawHttpClient::defaults(),
            ..MarathonSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.servers.is_empty() {
            return refuse("marathon_sd: must contain at least one Marathon server");
        }
        let (token, file) = (!self.auth_token.is_empty(), !self.auth_token_file.is_empty());
        if token && file {
            return refuse_at(
                "auth_token",
                "marathon_sd: at most one of auth_token & auth_token_file must be configured",
            );
        }
        let http = &self.http_client;
        if token || file {
            let clash = if http.basic_auth.is_some() {
                "basic_auth, auth_token & auth_token_file"
            } else if !http.bearer_token.is_empty() || !http.bearer_token_file.is_empty() {
                "bearer_token, bearer_token_file, auth_token & auth_token_file"
            } else if http.authorization.is_some() {
                "auth_token, auth_token_file & authorization"
            } else {
                ""
            };
            if !clash.is_empty() {
                return refuse(format!("marathon_sd: at most one of {clash} must be configured"));
            }
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct NomadSd as "nomad.SDConfig" in "nomad.plain" [reset = NomadSd::defaults, check = NomadSd::check] {
        allow_stale: bool = "allow_stale" [];
        http_client: RawHttpClient = inline [];
        namespace: String = "namespace" [];
        refresh_interval: DurationMs = "refresh_interval" [];
        region: String = "region" [];
        server: String = "server" [];
        tag_separator: String = "tag_separator" [omit];
    }
}

impl NomadSd {
    fn defaults() -> NomadSd {
        NomadSd {
            allow_stale: true,
            http_client: RawHttpClient::defaults(),
            namespace: "default".to_owned(),
            refresh_interval: DurationMs::secs(60),
            region: "global".to_owned(),
            server: "http://localhost:4646".to_owned(),
            tag_separator: ",".to_owned(),
            ..NomadSd::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.server.trim().is_empty() {
            return refuse("nomad SD configuration requires a server address");
        }
        self.http_client.check()
    }
}
