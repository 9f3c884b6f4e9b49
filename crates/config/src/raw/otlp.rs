//! The `otlp` block.

use super::text::named_string;
use crate::go;
use crate::scheme::NameValidation;
use crate::yaml::{Refusal, record, refuse_at};

named_string! {
    pub(crate) struct TranslationStrategy as "otlptranslator.TranslationStrategyOption"
}

record! {
    /// The `otlp` block.
    pub(crate) struct RawOtlp as "config.OTLPConfig" in "config.plain" [reset = RawOtlp::defaults, check = RawOtlp::check] {
        promote_all_resource_attributes: bool = "promote_all_resource_attributes" [omit];
        promote_resource_attributes: Vec<String> = "promote_resource_attributes" [omit];
        ignore_resource_attributes: Vec<String> = "ignore_resource_attributes" [omit];
        translation_strategy: TranslationStrategy = "translation_strategy" [omit];
        keep_identifying_resource_attributes: bool = "keep_identifying_resource_attributes" [omit];
        convert_histograms_to_nhcb: bool = "convert_histograms_to_nhcb" [omit];
        promote_scope_metadata: bool = "promote_scope_metadata" [omit];
        label_name_underscore_sanitization: bool = "label_name_underscore_sanitization" [omit];
        label_name_preserve_multiple_underscores: bool = "label_name_preserve_multiple_underscores" [omit];
    }
}

impl RawOtlp {
    pub(crate) fn defaults() -> RawOtlp {
        RawOtlp {
            translation_strategy: TranslationStrategy("UnderscoreEscapingWithSuffixes".to_owned()),
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
            ..RawOtlp::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.promote_all_resource_attributes {
            if !self.promote_resource_attributes.is_empty() {
                let text = "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured \
                            simultaneously";
                return refuse_at("promote_resource_attributes", text);
            }
            return trim_names(&mut self.ignore_resource_attributes, "ignored").or_else(|text| {
                refuse_at("ignore_resource_attributes", format!("invalid 'ignore_resource_attributes': {text}"))
            });
        }
        if !self.ignore_resource_attributes.is_empty() {
            let text =
                "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true";
            return refuse_at("ignore_resource_attributes", text);
        }
        trim_names(&mut self.promote_resource_attributes, "promoted").or_else(|text| {
            refuse_at("promote_resource_attributes", format!("invalid 'promote_resource_attributes': {text}"))
        })
    }

    /// What depends on `global`, and is checked last of all.
    pub(crate) fn check_strategy(&self, validation: NameValidation) -> Result<(), Refusal> {
        let strategy = &self.translation_strategy.0;
        match strategy.as_str() {
            "" | "UnderscoreEscapingWithSuffixes" | "UnderscoreEscapingWithoutSuffixes" => Ok(()),
            "NoTranslation" | "NoUTF8EscapingWithSuffixes" if validation == NameValidation::Legacy => {
                let text =
                    format!("OTLP translation strategy {} is not allowed when UTF8 is disabled", go::quote(strategy));
                refuse_at("otlp", text)
            }
            "NoTranslation" | "NoUTF8EscapingWithSuffixes" => Ok(()),
            other => refuse_at("otlp", format!("unsupported OTLP translation strategy {}", go::quote(other))),
        }
    }
}

/// Takes white space off the names; all that are empty or repeated are named, a line each.
fn trim_names(names: &mut [String], adjective: &str) -> Result<(), String> {
    let mut errors = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let trimmed = name.trim().to_owned();
        if trimmed.is_empty() {
            errors.push(format!("empty {adjective} OTel resource attribute"));
        } else if seen.contains(&trimmed) {
            errors.push(format!("duplicated {adjective} OTel resource attribute {}", go::quote(&trimmed)));
        } else {
            seen.push(trimmed.clone());
            *name = trimmed;
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}
