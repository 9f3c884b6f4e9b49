//! `kubernetes_sd_configs`.

mod selectors;

use super::super::http_client::RawHttpClient;
use super::super::text::checked_string;
use super::prints_like;
use crate::go;
use crate::url::Url;
use crate::yaml::{Refusal, record, refuse, refuse_at};

checked_string! {
    pub(crate) struct KubernetesRole as "kubernetes.Role", |role| match role {
        "node" | "pod" | "service" | "endpoints" | "endpointslice" | "ingress" => Ok(()),
        other => Err(format!("unknown Kubernetes SD role {}", go::quote(other))),
    }
}

record! {
    pub(crate) struct KubernetesSd as "kubernetes.SDConfig" in "kubernetes.plain" [reset = KubernetesSd::defaults, check = KubernetesSd::check] {
        api_server: Option<Url> = "api_server" [omit];
        role: KubernetesRole = "role" [];
        kubeconfig_file: String = "kubeconfig_file" [path];
        http_client: RawHttpClient = inline [];
        namespaces: Namespaces = "namespaces" [omit];
        selectors: Vec<Selector> = "selectors" [omit];
        attach_metadata: AttachMetadata = "attach_metadata" [omit];
    }
}

record! {
    pub(crate) struct Namespaces as "kubernetes.NamespaceDiscovery" in "kubernetes.plain" [reset = Namespaces::default] {
        own_namespace: bool = "own_namespace" [];
        names: Vec<String> = "names" [];
    }
}

record! {
    pub(crate) struct Selector as "kubernetes.SelectorConfig" in "kubernetes.SelectorConfig" [] {
        role: KubernetesRole = "role" [omit];
        label: String = "label" [omit];
        field: String = "field" [omit];
    }
}

record! {
    pub(crate) struct AttachMetadata as "kubernetes.AttachMetadataConfig" in "kubernetes.AttachMetadataConfig" [] {
        node: bool = "node" [];
        namespace: bool = "namespace" [];
        deployment: bool = "deployment" [];
        job: bool = "job" [];
        cronjob: bool = "cronjob" [];
    }
}

impl KubernetesSd {
    fn defaults() -> KubernetesSd {
        KubernetesSd { http_client: RawHttpClient::defaults(), ..KubernetesSd::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.role.0.is_empty() {
            return refuse("role missing (one of: pod, service, endpoints, endpointslice, node, ingress)");
        }
        self.http_client.check()?;
        let custom_client = !prints_like(&self.http_client, &RawHttpClient::defaults());
        let (server, file) = (self.api_server.is_some(), !self.kubeconfig_file.is_empty());
        if server && file {
            return refuse_at("api_server", "cannot use 'kubeconfig_file' and 'api_server' simultaneously");
        }
        if file && custom_client {
            let text = "cannot use a custom HTTP client configuration together with 'kubeconfig_file'";
            return refuse_at("kubeconfig_file", text);
        }
        if !server && custom_client {
            return refuse("to use custom HTTP client configuration please provide the 'api_server' URL explicitly");
        }
        if server && self.namespaces.own_namespace {
            let text = "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously";
            return refuse_at("namespaces", text);
        }
        if file && self.namespaces.own_namespace {
            let text = "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously";
            return refuse_at("namespaces", text);
        }
        self.check_selectors()
    }

    fn check_selectors(&self) -> Result<(), Refusal> {
        let role = self.role.0.as_str();
        let allowed: &[&str] = match role {
            "pod" => &["pod", "node"],
            "service" => &["service"],
            "endpointslice" => &["pod", "service", "endpointslice"],
            "endpoints" => &["pod", "service", "endpoints"],
            "node" => &["node"],
            "ingress" => &["ingress"],
            // Written as `"null"`, which is not read as a role.
            _ => &[],
        };
        let mut seen = Vec::new();
        for selector in &self.selectors {
            let of = selector.role.0.as_str();
            if seen.contains(&of) {
                return Err(Refusal::placed(selector.at, format!("duplicated selector role: {of}")));
            }
            seen.push(of);
            if allowed.is_empty() {
                let text = "expecting one of: pod, service, endpoints, endpointslice, node or ingress";
                return refuse_at("role", format!("invalid role: {}, {text}", go::quote(role)));
            }
            if !allowed.contains(&of) {
                let text = format!("{role} role supports only {} selectors", allowed.join(", "));
                return Err(Refusal::placed(selector.at, text));
            }
            selectors::check_field(&selector.field)
                .and_then(|()| selectors::check_label(&selector.label))
                .map_err(|text| Refusal::placed(selector.at, text))?;
        }
        Ok(())
    }
}
