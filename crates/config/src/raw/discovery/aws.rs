//! Amazon's services.

use model::DurationMs;

use super::super::http_client::RawHttpClient;
use super::super::text::checked_string;
use crate::go;
use crate::secret::Secret;
use crate::yaml::{Refusal, record, refuse, refuse_at};

const REFRESH: DurationMs = DurationMs::secs(60);

checked_string! {
    /// Which service `aws_sd_configs` asks.
    pub(crate) struct AwsRole as "aws.Role", |role| match role {
        "ec2" | "ecs" | "elasticache" | "lightsail" | "msk" | "rds" => Ok(()),
        other => Err(unknown_role(other)),
    }
}

fn unknown_role(role: &str) -> String {
    format!("unknown AWS SD role {}", go::quote(role))
}

record! {
    pub(crate) struct AwsFilter as "aws.Filter" in "aws.Filter" [] {
        name: String = "name" [];
        values: Vec<String> = "values" [];
    }
}

record! {
    /// Has no defaults of its own: those of the service that it names come into play when it starts.
    pub(crate) struct AwsSd as "aws.SDConfig" in "aws.plain" [reset = AwsSd::default, check = AwsSd::check] {
        role: AwsRole = "role" [];
        region: String = "region" [omit];
        endpoint: String = "endpoint" [omit];
        access_key: String = "access_key" [omit];
        secret_key: Secret = "secret_key" [omit];
        profile: String = "profile" [omit];
        role_arn: String = "role_arn" [omit];
        external_id: String = "external_id" [omit];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        port: i64 = "port" [omit];
        http_client: RawHttpClient = inline [no_dir];
        filters: Vec<Option<AwsFilter>> = "filters" [omit];
        clusters: Vec<String> = "clusters" [omit];
    }
}

impl AwsSd {
    fn check(&mut self) -> Result<(), Refusal> {
        if self.role.0.is_empty() { refuse(unknown_role("")) } else { Ok(()) }
    }
}

record! {
    pub(crate) struct Ec2Sd as "aws.EC2SDConfig" in "aws.plain" [reset = Ec2Sd::defaults, check = Ec2Sd::check] {
        endpoint: String = "endpoint" [];
        region: String = "region" [];
        access_key: String = "access_key" [omit];
        secret_key: Secret = "secret_key" [omit];
        profile: String = "profile" [omit];
        role_arn: String = "role_arn" [omit];
        external_id: String = "external_id" [omit];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        port: i64 = "port" [];
        filters: Vec<Option<AwsFilter>> = "filters" [];
        http_client: RawHttpClient = inline [];
    }
}

impl Ec2Sd {
    fn defaults() -> Ec2Sd {
        Ec2Sd { port: 80, refresh_interval: REFRESH, http_client: RawHttpClient::defaults(), ..Ec2Sd::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.filters.iter().any(|f| f.as_ref().is_none_or(|f| f.values.is_empty())) {
            return refuse_at("filters", "EC2 SD configuration filter values cannot be empty");
        }
        self.http_client.check()
    }
}

record! {
    pub(crate) struct LightsailSd as "aws.LightsailSDConfig" in "aws.plain" [reset = LightsailSd::defaults, check = |sd| sd.http_client.check()] {
        endpoint: String = "endpoint" [];
        region: String = "region" [];
        access_key: String = "access_key" [omit];
        secret_key: Secret = "secret_key" [omit];
        profile: String = "profile" [omit];
        role_arn: String = "role_arn" [omit];
        external_id: String = "external_id" [omit];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        port: i64 = "port" [];
        http_client: RawHttpClient = inline [];
    }
}

impl LightsailSd {
    fn defaults() -> LightsailSd {
        LightsailSd {
            port: 80,
            refresh_interval: REFRESH,
            http_client: RawHttpClient::defaults(),
            ..LightsailSd::default()
        }
    }
}

/// The services that are asked about clusters.
macro_rules! clusters_sd {
    ($name:ident, $go:literal, $concurrency:literal) => {
        record! {
            pub(crate) struct $name as $go in "aws.plain" [reset = $name::defaults, check = |sd| sd.http_client.check()] {
                region: String = "region" [];
                endpoint: String = "endpoint" [];
                access_key: String = "access_key" [omit];
                secret_key: Secret = "secret_key" [omit];
                profile: String = "profile" [omit];
                role_arn: String = "role_arn" [omit];
                external_id: String = "external_id" [omit];
                clusters: Vec<String> = "clusters" [omit];
                port: i64 = "port" [];
                refresh_interval: DurationMs = "refresh_interval" [omit];
                request_concurrency: i64 = "request_concurrency" [omit];
                http_client: RawHttpClient = inline [];
            }
        }

        impl $name {
            fn defaults() -> $name {
                $name {
                    port: 80,
                    refresh_interval: REFRESH,
                    request_concurrency: $concurrency,
                    http_client: RawHttpClient::defaults(),
                    ..$name::default()
                }
            }
        }
    };
}

clusters_sd!(EcsSd, "aws.ECSSDConfig", 20);
clusters_sd!(ElasticacheSd, "aws.ElasticacheSDConfig", 10);
clusters_sd!(MskSd, "aws.MSKSDConfig", 10);

record! {
    pub(crate) struct RdsSd as "aws.RDSSDConfig" in "aws.plain" [reset = RdsSd::defaults, check = |sd| sd.http_client.check()] {
        region: String = "region" [];
        endpoint: String = "endpoint" [];
        access_key: String = "access_key" [omit];
        secret_key: Secret = "secret_key" [omit];
        profile: String = "profile" [omit];
        role_arn: String = "role_arn" [omit];
        external_id: String = "external_id" [omit];
        clusters: Vec<String> = "clusters" [omit];
        port: i64 = "port" [];
        refresh_interval: DurationMs = "refresh_interval" [omit];
        filters: Vec<Option<AwsFilter>> = "filters" [];
        request_concurrency: i64 = "request_concurrency" [omit];
        http_client: RawHttpClient = inline [];
    }
}

impl RdsSd {
    fn defaults() -> RdsSd {
        RdsSd {
            port: 80,
            refresh_interval: REFRESH,
            request_concurrency: 10,
            http_client: RawHttpClient::defaults(),
            ..RdsSd::default()
        }
    }
}
