//! `azuread` of remote write.

use crate::secret::Secret;
use crate::yaml::{Refusal, record, refuse, refuse_at};

/// Where Azure's webhook puts the token unless the environment says otherwise.
const TOKEN_FILE: &str = "/var/run/secrets/azure/tokens/azure-identity-token";

record! {
    pub(crate) struct RawAzureAd as "azuread.AzureADConfig" in "azuread.plain" [reset = RawAzureAd::default, check = RawAzureAd::check] {
        managed_identity: Option<ManagedIdentity> = "managed_identity" [omit];
        workload_identity: Option<WorkloadIdentity> = "workload_identity" [omit];
        oauth: Option<OAuth> = "oauth" [omit];
        sdk: Option<Sdk> = "sdk" [omit];
        certificate: Option<Certificate> = "certificate" [omit];
        cloud: String = "cloud" [omit];
        scope: String = "scope" [omit];
    }
}

record! {
    pub(crate) struct ManagedIdentity as "azuread.ManagedIdentityConfig" in "azuread.ManagedIdentityConfig" [] {
        client_id: String = "client_id" [omit];
    }
}

record! {
    pub(crate) struct WorkloadIdentity as "azuread.WorkloadIdentityConfig" in "azuread.WorkloadIdentityConfig" [] {
        client_id: String = "client_id" [omit];
        tenant_id: String = "tenant_id" [omit];
        token_file_path: String = "token_file_path" [omit];
    }
}

record! {
    pub(crate) struct OAuth as "azuread.OAuthConfig" in "azuread.OAuthConfig" [] {
        client_id: String = "client_id" [omit];
        client_secret: Secret = "client_secret" [omit];
        tenant_id: String = "tenant_id" [omit];
    }
}

record! {
    pub(crate) struct Sdk as "azuread.SDKConfig" in "azuread.SDKConfig" [] {
        tenant_id: String = "tenant_id" [omit];
    }
}

record! {
    pub(crate) struct Certificate as "azuread.CertificateConfig" in "azuread.CertificateConfig" [] {
        client_id: String = "client_id" [omit];
        tenant_id: String = "tenant_id" [omit];
        certificate_path: String = "certificate_path" [omit];
        certificate_key_path: String = "certificate_key_path" [omit];
        certificate_password: Secret = "certificate_password" [omit];
        send_certificate_chain: bool = "send_certificate_chain" [omit];
    }
}

impl RawAzureAd {
    fn check(&mut self) -> Result<(), Refusal> {
        if self.cloud.is_empty() {
            "AzurePublic".clone_into(&mut self.cloud);
        }
        if !matches!(self.cloud.as_str(), "AzureChina" | "AzureGovernment" | "AzurePublic") {
            return refuse_at("cloud", "must provide a cloud in the Azure AD config");
        }
        let methods = [
            self.managed_identity.is_some(),
            self.workload_identity.is_some(),
            self.oauth.is_some(),
            self.sdk.is_some(),
            self.certificate.is_some(),
        ];
        match methods.iter().filter(|m| **m).count() {
            0 => {
                return refuse(
                    "must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth, Azure Certificate \
                     or Azure SDK in the Azure AD config",
                );
            }
            1 => {}
            _ => return refuse("cannot provide multiple authentication methods in the Azure AD config"),
        }
        self.check_method()?;
        let in_scope = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_:/.-".contains(c);
        if !self.scope.chars().all(in_scope) {
            return refuse_at("scope", "the provided scope contains invalid characters");
        }
        Ok(())
    }

    fn check_method(&mut self) -> Result<(), Refusal> {
        if let Some(method) = &self.managed_identity
            && !method.client_id.is_empty()
        {
            uuid(&method.client_id, "Managed Identity client_id")?;
        }
        if let Some(method) = &mut self.workload_identity {
            required(&method.client_id, "Workload Identity client_id")?;
            required(&method.tenant_id, "Workload Identity tenant_id")?;
            uuid(&method.client_id, "Workload Identity client_id")?;
            uuid(&method.tenant_id, "Workload Identity tenant_id")?;
            if method.token_file_path.is_empty() {
                TOKEN_FILE.clone_into(&mut method.token_file_path);
            }
        }
        if let Some(method) = &self.oauth {
            required(&method.client_id, "OAuth client_id")?;
            required(method.client_secret.reveal(), "OAuth client_secret")?;
            required(&method.tenant_id, "OAuth tenant_id")?;
            uuid(&method.client_id, "OAuth client_id")?;
        }
        if let Some(method) = &self.certificate {
            required(&method.client_id, "Certificate client_id")?;
            required(&method.tenant_id, "Certificate tenant_id")?;
            required(&method.certificate_path, "Certificate certificate_path")?;
            uuid(&method.client_id, "Certificate client_id")?;
        }
        Ok(())
    }
}

fn required(value: &str, name: &str) -> Result<(), Refusal> {
    if value.is_empty() { refuse(format!("must provide an Azure {name} in the Azure AD config")) } else { Ok(()) }
}

/// The forms that Google's `uuid.Parse` takes: plain, with `urn:uuid:` in front, in any two characters, without `-`.
fn uuid(text: &str, name: &str) -> Result<(), Refusal> {
    let refused = || refuse(format!("the provided Azure {name} is invalid"));
    let hex = |s: &[u8]| s.iter().all(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let core = match bytes.len() {
        32 => return if hex(bytes) { Ok(()) } else { refused() },
        36 => bytes,
        38 => &bytes[1..37],
        45 if bytes[..9].eq_ignore_ascii_case(b"urn:uuid:") => &bytes[9..],
        _ => return refused(),
    };
    let dashed = |i: usize| matches!(i, 8 | 13 | 18 | 23);
    let valid = core.iter().enumerate().all(|(i, b)| if dashed(i) { *b == b'-' } else { b.is_ascii_hexdigit() });
    if valid { Ok(()) } else { refused() }
}
