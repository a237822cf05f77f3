//! What wrangler.jsonc must say so that the platform takes it and the code works. Pure.
//!
//! The platform's limits are from Cloudflare's documentation of Workers ("Limits") and Containers.

use super::{Finding, Verdict};
use serde_json::Value;

/// Most bytes of a variable.
const MAX_VARIABLE_BYTES: usize = 5 << 10;
/// Most variables and secrets of a Worker on a paid plan.
const MAX_VARIABLES: usize = 128;
/// Most images of a container's class.
const MAX_IMAGES: usize = 100;
/// The longest name of a Worker that still has a workers.dev host.
const MAX_NAME: usize = 63;
/// From this date on the runtime tells the object that a caller has hung up. With an earlier one, abandoned commands run on.
const EARLIEST_DATE: &str = "2026-11-17";
/// Variables that are credentials.
const SECRETS: [&str; 3] = ["CABANA_API_KEY", "CABANA_TOKEN_SECRET", "CABANA_JWT_SECRET"];

/// What the platform would refuse: the reason, if there is one.
pub(crate) fn refusal(configuration: &Value) -> Option<String> {
    let too_long = |name: &str| format!("the name {name:?} of the Worker: 1 to {MAX_NAME} characters of a-z, 0-9 and hyphens");
    let name = configuration["name"].as_str().unwrap_or_default();
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !(1..=MAX_NAME).contains(&name.len()) || !is_plain || name.starts_with('-') || name.ends_with('-') {
        return Some(too_long(name));
    }
    let variables: Vec<_> = configuration["vars"].as_object().into_iter().flatten().collect();
    if variables.len() > MAX_VARIABLES {
        return Some(format!("vars: {} variables, and the platform takes {MAX_VARIABLES}, secrets included", variables.len()));
    }
    for (name, value) in variables {
        let size = value.as_str().map_or_else(|| value.to_string().len(), str::len);
        if size > MAX_VARIABLE_BYTES {
            let advice = match name.as_str() {
                "CABANA_KINDS" => "shorten the descriptions in sandboxes/, or have fewer kinds",
                name if name.starts_with("CABANA_TENANT_LIMITS") => {
                    "put some of its tenants into CABANA_TENANT_LIMITS_2, and so on"
                }
                _ => "shorten it",
            };
            return Some(format!("vars.{name} has {size} bytes, and the platform takes {MAX_VARIABLE_BYTES}: {advice}"));
        }
    }
    let containers = configuration["containers"].as_array().into_iter().flatten();
    for container in containers {
        let (class, images) = (&container["class_name"], container["images"].as_object().map_or(0, serde_json::Map::len));
        if images > MAX_IMAGES {
            return Some(format!(
                "the container of {class} has {images} images, and the platform takes {MAX_IMAGES}: give kinds a class of their own"
            ));
        }
    }
    None
}

/// Everything that can be said without the account.
pub(super) fn examine(configuration: &Value) -> Vec<Finding> {
    let platform = match refusal(configuration) {
        Some(refusal) => Verdict::Missing(refusal),
        None => Verdict::Good("names, variables and images are within the platform's limits".to_owned()),
    };
    vec![
        Finding::new("limits", platform),
        Finding::new("compatibility date", date(configuration)),
        Finding::new("secrets", secrets(configuration)),
        Finding::new("logs", logs(configuration)),
        Finding::new("database binding", database(configuration)),
        Finding::new("preview domain", previews(configuration)),
    ]
}

fn date(configuration: &Value) -> Verdict {
    match configuration["compatibility_date"].as_str() {
        // RFC 3339's dates sort as text.
        Some(date) if date >= EARLIEST_DATE => Verdict::Good(date.to_owned()),
        date => Verdict::Missing(format!(
            "compatibility_date is {}: with one before {EARLIEST_DATE}, commands run on whose callers have hung up",
            date.unwrap_or("not set")
        )),
    }
}

fn secrets(configuration: &Value) -> Verdict {
    match SECRETS.into_iter().find(|name| !configuration["vars"][*name].is_null()) {
        Some(name) => Verdict::Missing(format!("{name} stands in vars, for everyone to read: `npx wrangler secret put {name}`")),
        None => Verdict::Good("none stands in wrangler.jsonc".to_owned()),
    }
}

fn logs(configuration: &Value) -> Verdict {
    let observability = &configuration["observability"];
    if observability["enabled"] == true && observability["redact_query_string"] != true {
        let advice = "set observability.redact_query_string: tokens in queries would be logged";
        return Verdict::Missing(advice.to_owned());
    }
    Verdict::Good("queries of URLs, in which tokens may stand, are not logged".to_owned())
}

/// The databases that are bound for the directory and keys: each binding, and the database's name.
pub(super) fn databases(configuration: &Value) -> Vec<(&str, &str)> {
    let bound = configuration["d1_databases"].as_array().into_iter().flatten();
    let named = bound.filter_map(|database| Some((database["binding"].as_str()?, database["database_name"].as_str()?)));
    named.filter(|(binding, _)| *binding == "DIRECTORY" || binding.starts_with("DIRECTORY_")).collect()
}

fn database(configuration: &Value) -> Verdict {
    match databases(configuration).as_slice() {
        bound @ [_, ..] if bound.iter().any(|(binding, _)| *binding == "DIRECTORY") => {
            let names: Vec<_> = bound.iter().map(|(binding, name)| format!("{binding} is {name}")).collect();
            Verdict::Good(names.join(", "))
        }
        _ => Verdict::Notice("no database is bound as DIRECTORY: there are no lists, API keys and projects".to_owned()),
    }
}

fn previews(configuration: &Value) -> Verdict {
    let Some(domain) = configuration["vars"]["CABANA_PREVIEW_DOMAIN"].as_str().filter(|domain| !domain.is_empty()) else {
        return Verdict::Notice("vars.CABANA_PREVIEW_DOMAIN is not set: programs are reached by the API's path only".to_owned());
    };
    let pattern = format!("*.{domain}/*");
    let routes = configuration["routes"].as_array().into_iter().flatten();
    let is_routed = routes.clone().any(|route| route == pattern.as_str() || route["pattern"] == pattern.as_str());
    if !is_routed {
        let zone = zone(domain);
        return Verdict::Missing(format!(
            r#"routes lacks {{"pattern": "{pattern}", "zone_name": "{zone}"}}: previews would not arrive"#
        ));
    }
    let certificate = match domain.split('.').count() {
        // Cloudflare's Universal SSL covers a zone's apex and one level below it.
        0..=2 => "its certificate is Universal SSL's".to_owned(),
        _ => format!(
            "*.{domain} needs a certificate of its own (Advanced Certificate Manager): Universal SSL covers one level of a zone"
        ),
    };
    Verdict::Notice(format!("{pattern} is routed; it needs a proxied DNS record for *.{domain}, and {certificate}"))
}

/// The zone that a domain is most likely in. A guess, for an example.
fn zone(domain: &str) -> &str {
    domain.rmatch_indices('.').nth(1).map_or(domain, |(dot, _)| &domain[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::{examine, refusal};
    use crate::doctor::{Verdict, parse};
    use serde_json::{Value, json};

    fn changed(pointer: &str, value: Value) -> Value {
        let mut configuration = parse(include_str!("../../../wrangler.jsonc")).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        configuration.pointer_mut(parent).unwrap()[key] = value;
        configuration
    }

    #[test]
    fn what_the_platform_refuses_is_refused_here() {
        let many = |count: usize| (0..count).map(|one| (format!("V{one}"), json!(1))).collect::<serde_json::Map<_, _>>();
        for (pointer, value, reason) in [
            ("/name", json!("Cabana"), "a-z"),
            ("/name", json!(""), "1 to 63"),
            ("/name", json!("a".repeat(64)), "1 to 63"),
            ("/vars/CABANA_KINDS", json!({ "a": "b".repeat(5_120) }), "sandboxes/"),
            (
                "/vars/CABANA_TENANT_LIMITS",
                json!("a".repeat(5_121)),
                "5121 bytes, and the platform takes 5120: put some of its tenants",
            ),
            ("/vars", json!(many(129)), "129 variables"),
            ("/containers/0/images", json!(many(101)), "101 images"),
        ] {
            let refused = refusal(&changed(pointer, value)).unwrap_or_default();
            assert!(refused.contains(reason), "{pointer}: {refused}");
        }
        assert_eq!(refusal(&changed("/vars/CABANA_TENANT_LIMITS", json!("a".repeat(5_120)))), None);
    }

    #[test]
    fn the_configuration_in_this_repository_will_do() {
        let findings = examine(&parse(include_str!("../../../wrangler.jsonc")).unwrap());
        assert!(findings.iter().all(|finding| !finding.is_missing()), "{findings:?}");
    }

    #[test]
    fn what_would_not_work_is_missing() {
        for (pointer, value, subject) in [
            ("/compatibility_date", json!("2026-11-16"), "compatibility date"),
            ("/compatibility_date", Value::Null, "compatibility date"),
            ("/vars/CABANA_API_KEY", json!("k"), "secrets"),
            ("/observability", json!({ "enabled": true }), "logs"),
            ("/vars/CABANA_PREVIEW_DOMAIN", json!("preview.example.com"), "preview domain"),
        ] {
            let findings = examine(&changed(pointer, value));
            let missing: Vec<_> = findings.iter().filter(|finding| finding.is_missing()).map(|finding| finding.subject).collect();
            assert_eq!(missing, [subject], "{pointer}");
        }
    }

    #[test]
    fn a_routed_preview_domain_says_what_dns_and_certificates_it_needs() {
        for (domain, needs) in [("example.com", "Universal SSL's"), ("preview.example.com", "Advanced Certificate Manager")] {
            let mut configuration = changed("/vars/CABANA_PREVIEW_DOMAIN", json!(domain));
            configuration["routes"] = json!([{ "pattern": format!("*.{domain}/*"), "zone_name": "example.com" }]);
            let findings = examine(&configuration);
            let finding = findings.iter().find(|finding| finding.subject == "preview domain").unwrap();
            assert!(matches!(&finding.verdict, Verdict::Notice(text) if text.contains(needs)), "{finding}");
        }
    }
}
