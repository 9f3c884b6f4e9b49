//! The `alerting` block.

use model::DurationMs;

use super::discovery::{RawDiscoveries, check_static_targets};
use super::http_client::RawHttpClient;
use super::remote::RawSigV4;
use super::text::checked_string;
use crate::relabel_config::RawRelabelConfig;
use crate::scheme::NameValidation;
use crate::yaml::{Refusal, record, refuse_at};

record! {
    /// The `alerting` block.
    pub(crate) struct RawAlerting as "config.AlertingConfig" in "config.plain" [reset = RawAlerting::default, check = RawAlerting::check] {
        alert_relabel_configs: Vec<Option<RawRelabelConfig>> = "alert_relabel_configs" [omit];
        alertmanagers: Vec<Option<RawAlertmanager>> = "alertmanagers" [omit];
    }
}

checked_string! {
    pub(crate) struct ApiVersion as "config.AlertmanagerAPIVersion", |version| match version {
        "v2" => Ok(()),
        other => Err(format!("expected Alertmanager api version to be one of [v2] but got {other}")),
    }
}

record! {
    /// One entry of `alertmanagers`.
    pub(crate) struct RawAlertmanager as "config.AlertmanagerConfig" in "config.AlertmanagerConfig" [reset = RawAlertmanager::defaults, check = RawAlertmanager::check] {
        http_client: RawHttpClient = inline [];
        sigv4: Option<RawSigV4> = "sigv4" [omit];
        scheme: String = "scheme" [omit];
        path_prefix: String = "path_prefix" [omit];
        timeout: DurationMs = "timeout" [omit];
        api_version: ApiVersion = "api_version" [];
        relabel_configs: Vec<Option<RawRelabelConfig>> = "relabel_configs" [omit];
        alert_relabel_configs: Vec<Option<RawRelabelConfig>> = "alert_relabel_configs" [omit];
        discoveries: RawDiscoveries = inline [];
    }
}

impl RawAlerting {
    fn check(&mut self) -> Result<(), Refusal> {
        if self.alert_relabel_configs.contains(&None) {
            return refuse_at("alert_relabel_configs", "empty or null alert relabeling rule");
        }
        Ok(())
    }

    /// Checks the rules once it is known which names are labels. Prometheus 3.14 crashes on `alertmanagers: [null]`.
    pub(crate) fn validate(&self, scheme: NameValidation) -> Result<(), Refusal> {
        let check_all = |rules: &[Option<RawRelabelConfig>]| {
            rules.iter().flatten().try_for_each(|rule| rule.validate(scheme).map(|_| ()))
        };
        check_all(&self.alert_relabel_configs)?;
        for alertmanager in &self.alertmanagers {
            let Some(alertmanager) = alertmanager else {
                return Err(Refusal::placed(self.at, "empty or null section in alertmanagers"));
            };
            check_all(&alertmanager.alert_relabel_configs)?;
            check_all(&alertmanager.relabel_configs)?;
        }
        Ok(())
    }
}

impl RawAlertmanager {
    fn defaults() -> RawAlertmanager {
        RawAlertmanager {
            scheme: "http".to_owned(),
            timeout: DurationMs::secs(10),
            api_version: ApiVersion("v2".to_owned()),
            http_client: RawHttpClient::defaults(),
            ..RawAlertmanager::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        self.discoveries.check()?;
        self.http_client.check()?;
        let http = &self.http_client;
        let authenticated = http.basic_auth.is_some() || http.authorization.is_some() || http.oauth2.is_some();
        if authenticated && self.sigv4.is_some() {
            let text = "at most one of basic_auth, authorization, oauth2, & sigv4 must be configured";
            return refuse_at("sigv4", text);
        }
        if self.relabel_configs.is_empty() {
            check_static_targets(&self.discoveries.static_configs)?;
        }
        if self.relabel_configs.contains(&None) {
            return refuse_at("relabel_configs", "empty or null Alertmanager target relabeling rule");
        }
        if self.alert_relabel_configs.contains(&None) {
            return refuse_at("alert_relabel_configs", "empty or null Alertmanager alert relabeling rule");
        }
        Ok(())
    }
}
