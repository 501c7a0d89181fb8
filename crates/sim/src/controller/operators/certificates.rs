//! cert-manager: accounts of issuers, certificates with the secrets they are kept in, and the certificates that
//! Gateways and Ingresses ask for by an annotation.

use landfall_apiserver::Key;
use serde_json::{Value, json};

use super::{Again, PLACEHOLDER, conditions, keep};
use crate::cluster::{Cluster, object};
use crate::world::State;

const MANAGER: &str = "cert-manager-controller";
const GROUP: &str = "cert-manager.io";
const VERSION: &str = "cert-manager.io/v1";
/// How long Let's Encrypt's certificates hold, and when they are renewed, in days.
const DAYS: (i64, i64) = (90, 60);

pub(super) fn tend(state: &mut State, cluster: &mut Cluster, now: u64, again: &mut Again) {
    for kind in ["Issuer", "ClusterIssuer"] {
        for (key, issuer) in cluster.all(GROUP, kind) {
            register(state, cluster, (&key, &issuer), now, again);
        }
    }
    ask_for_gateways(cluster, now);
    ask_for_ingresses(cluster, now);
    for (key, certificate) in cluster.all(GROUP, "Certificate") {
        if !object::is_going(&certificate) {
            issue(state, cluster, (&key, &certificate), now, again);
        }
    }
}

/// An issuer gets its account, or whatever else it needs to sign.
fn register(
    state: &State,
    cluster: &mut Cluster,
    (key, issuer): (&Key, &Value),
    now: u64,
    again: &mut Again,
) {
    let acme = &issuer["spec"]["acme"];
    if object::is_going(issuer) || !state.has_taken(cluster, issuer, ("issuer", 5), now, again) {
        return;
    }
    let (reason, message) = if acme.is_object() {
        (
            "ACMEAccountRegistered",
            "The ACME account was registered with the ACME server",
        )
    } else {
        ("IsReady", "")
    };
    let text = cluster.text(now);
    let said = [("Ready", true, reason, message)];
    let mut status = json!({ "conditions": conditions(issuer, object::generation(issuer), &said, &text) });
    if acme.is_object() {
        status["acme"] = json!({
            "uri": format!("{}/acme/acct/1", acme["server"].as_str().unwrap_or_default()),
            "lastRegisteredEmail": acme["email"],
        });
        if let Some(name) = acme["privateKeySecretRef"]["name"].as_str() {
            let namespace = if key.namespace.is_empty() {
                "cert-manager"
            } else {
                &key.namespace
            };
            secret(cluster, namespace, name, json!({}), &["tls.key"], now);
        }
    }
    cluster.merge_status(MANAGER, key, status, now);
}

/// A secret that stands is left as it is.
fn secret(cluster: &mut Cluster, namespace: &str, name: &str, annotations: Value, keys: &[&str], now: u64) {
    let key = object::key("v1", "Secret", namespace, name);
    if cluster.api.get(&key).is_some() {
        return;
    }
    let data: Value = keys
        .iter()
        .map(|name| ((*name).to_owned(), json!(PLACEHOLDER)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let kind = if keys.contains(&"tls.crt") {
        "kubernetes.io/tls"
    } else {
        "Opaque"
    };
    let body = json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": data,
        "metadata": {
            "name": name, "namespace": namespace, "annotations": annotations,
            "labels": { "controller.cert-manager.io/fao": "true" },
        },
    });
    let _ = cluster.create(MANAGER, body, now);
}

/// The issuer a certificate names, or what is wrong with it.
fn issuer(cluster: &Cluster, certificate: &Key, reference: &Value) -> Result<Value, String> {
    let kind = reference["kind"].as_str().unwrap_or("Issuer");
    let name = reference["name"].as_str().unwrap_or_default();
    let namespace = if kind == "ClusterIssuer" {
        ""
    } else {
        &certificate.namespace
    };
    let Some(found) = cluster.get(&object::key(VERSION, kind, namespace, name)) else {
        let what = kind.to_lowercase();
        return Err(format!(
            "Referenced \"{kind}\" not found: {what}.cert-manager.io \"{name}\" not found"
        ));
    };
    if !object::is_true(&found, "Ready") {
        return Err(format!(
            "Referenced issuer does not have a Ready status condition: {kind} {name}"
        ));
    }
    Ok(found.as_ref().clone())
}

/// How an issuer makes sure whose a name is, and how long that takes in seconds; none when it waits for a gateway.
fn takes(cluster: &Cluster, issuer: &Value) -> Option<(&'static str, u64)> {
    let Some(solvers) = issuer["spec"]["acme"]["solvers"].as_array() else {
        return Some(("certificate of one's own authority", 2));
    };
    let over_http = solvers.iter().find(|solver| solver["http01"].is_object());
    let Some(solver) = over_http else {
        return Some(("certificate by DNS-01", 75));
    };
    let parent = &solver["http01"]["gatewayHTTPRoute"]["parentRefs"][0];
    if let Some(name) = parent["name"].as_str() {
        let namespace = parent["namespace"].as_str().unwrap_or_default();
        let gateway = object::key("gateway.networking.k8s.io/v1", "Gateway", namespace, name);
        let answers = cluster.api.get(&gateway).is_some_and(object_has_address);
        return answers.then_some(("certificate by HTTP-01", 30));
    }
    Some(("certificate by HTTP-01", 30))
}

fn object_has_address(object: &std::sync::Arc<Value>) -> bool {
    object::has_address(object)
}

fn issue(
    state: &State,
    cluster: &mut Cluster,
    (key, certificate): (&Key, &Value),
    now: u64,
    again: &mut Again,
) {
    let generation = object::generation(certificate);
    let spec = &certificate["spec"];
    let named = spec["secretName"].as_str().unwrap_or_default();
    let kept = object::key("v1", "Secret", &key.namespace, named);
    let is_issued = object::is_true(certificate, "Ready")
        && object::condition(certificate, "Ready").is_some_and(|one| one["observedGeneration"] == generation);
    if is_issued && cluster.api.get(&kept).is_some() {
        return;
    }
    let text = cluster.text(now);
    let request = format!("{}-1", key.name);
    let asked = keep(
        cluster,
        MANAGER,
        json!({
            "apiVersion": VERSION, "kind": "CertificateRequest",
            "metadata": {
                "name": request, "namespace": key.namespace, "ownerReferences": object::owned_by(certificate),
                "annotations": { "cert-manager.io/certificate-name": key.name, "cert-manager.io/certificate-revision": "1" },
            },
            "spec": { "issuerRef": spec["issuerRef"], "request": "" },
        }),
        now,
    );
    let Some(asked) = asked else {
        return;
    };
    let asked_key = object::key(VERSION, "CertificateRequest", &key.namespace, &request);
    let waits = match issuer(cluster, key, &spec["issuerRef"]) {
        Err(why) => Some(why),
        Ok(issuer) => match takes(cluster, &issuer) {
            None => Some(
                "Waiting on certificate issuance: the gateway that answers the challenge has no address"
                    .to_owned(),
            ),
            Some(what) if !state.has_taken(cluster, certificate, what, now, again) => Some(format!(
                "Waiting on certificate issuance from order {}/{request}: \"pending\"",
                key.namespace
            )),
            Some(_) => None,
        },
    };
    if let Some(why) = waits {
        again.soon();
        let pending = conditions(&asked, 1, &[("Ready", false, "Pending", &why)], &text);
        cluster.merge_status(MANAGER, &asked_key, json!({ "conditions": pending }), now);
        let why = format!("Issuing certificate as Secret does not exist; {why}");
        let said = [
            (
                "Issuing",
                true,
                "DoesNotExist",
                "Issuing certificate as Secret does not exist",
            ),
            ("Ready", false, "DoesNotExist", why.as_str()),
        ];
        let status = json!({ "conditions": conditions(certificate, generation, &said, &text) });
        cluster.merge_status(MANAGER, key, status, now);
        return;
    }
    let said = [(
        "Ready",
        true,
        "Issued",
        "Certificate fetched from issuer successfully",
    )];
    let issued = json!({ "conditions": conditions(&asked, 1, &said, &text) });
    cluster.merge_status(MANAGER, &asked_key, issued, now);
    let reference = &spec["issuerRef"];
    let annotations = json!({
        "cert-manager.io/certificate-name": key.name,
        "cert-manager.io/issuer-name": reference["name"],
        "cert-manager.io/issuer-kind": reference["kind"].as_str().unwrap_or("Issuer"),
    });
    secret(
        cluster,
        &key.namespace,
        named,
        annotations,
        &["tls.crt", "tls.key", "ca.crt"],
        now,
    );
    let in_days = |days: i64| {
        let at = cluster
            .stamp(now)
            .checked_add(jiff::SignedDuration::from_hours(24 * days));
        at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .unwrap_or_default()
    };
    let said = [(
        "Ready",
        true,
        "Ready",
        "Certificate is up to date and has not expired",
    )];
    let status = json!({
        "conditions": conditions(certificate, generation, &said, &text),
        "notBefore": text, "notAfter": in_days(DAYS.0), "renewalTime": in_days(DAYS.1), "revision": 1,
    });
    cluster.set_status(MANAGER, key, status, now);
}

/// The issuer that an annotation names.
fn annotated(object: &Value) -> Option<Value> {
    let by = |name: &str, kind: &str| {
        let name = object::annotation(object, name)?;
        Some(json!({ "group": GROUP, "kind": kind, "name": name }))
    };
    by("cert-manager.io/cluster-issuer", "ClusterIssuer").or_else(|| by("cert-manager.io/issuer", "Issuer"))
}

fn ask(cluster: &mut Cluster, owner: &Value, name: &str, hosts: Value, issuer: &Value, now: u64) {
    let body = json!({
        "apiVersion": VERSION, "kind": "Certificate",
        "metadata": {
            "name": name, "namespace": owner["metadata"]["namespace"], "ownerReferences": object::owned_by(owner),
        },
        "spec": { "secretName": name, "dnsNames": hosts, "issuerRef": issuer, "usages": ["digital signature", "key encipherment"] },
    });
    keep(cluster, MANAGER, body, now);
}

/// Whether cert-manager was told to look at Gateways, as far as an Application says how it is configured.
fn looks_at_gateways(cluster: &Cluster) -> bool {
    let mut all = cluster.api.of_kind("argoproj.io", "Application");
    let own = all.find(|(_, one)| one["spec"]["source"]["chart"] == "cert-manager");
    own.is_none_or(|(_, one)| {
        one["spec"]["source"]["helm"]["valuesObject"]["config"]["enableGatewayAPI"] == true
    })
}

fn ask_for_gateways(cluster: &mut Cluster, now: u64) {
    let all = cluster.all("gateway.networking.k8s.io", "Gateway");
    if all.is_empty() || !looks_at_gateways(cluster) {
        return;
    }
    for (_, gateway) in all {
        let Some(issuer) = annotated(&gateway).filter(|_| !object::is_going(&gateway)) else {
            continue;
        };
        for listener in gateway["spec"]["listeners"].as_array().into_iter().flatten() {
            let named = listener["tls"]["certificateRefs"][0]["name"].as_str();
            if let (Some(name), Some(host)) = (named, listener["hostname"].as_str()) {
                ask(cluster, &gateway, name, json!([host]), &issuer, now);
            }
        }
    }
}

fn ask_for_ingresses(cluster: &mut Cluster, now: u64) {
    for (_, ingress) in cluster.all("networking.k8s.io", "Ingress") {
        let Some(issuer) = annotated(&ingress).filter(|_| !object::is_going(&ingress)) else {
            continue;
        };
        for tls in ingress["spec"]["tls"].as_array().into_iter().flatten() {
            if let Some(name) = tls["secretName"].as_str() {
                ask(cluster, &ingress, name, tls["hosts"].clone(), &issuer, now);
            }
        }
    }
}
