//! Who would give an Ingress, a Service or a Gateway its address, and whether that controller is there at all.

use serde_json::Value;

use crate::advice::{self, Giver};
use crate::explain::Explanation;
use crate::hangs;
use crate::key::{GroupKind, Key};
use crate::link::Link;
use crate::trouble::Trouble;

/// The annotation and the classes by which a Service is left to the AWS Load Balancer Controller. Source: its
/// documentation, "Network Load Balancer".
const TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
const LOAD_BALANCERS: &str = "aws-load-balancer-controller";

/// Why something gets no address when nobody is there who would give it one.
pub(crate) async fn nobody_gives_one(
    link: &Link,
    key: &Key,
    object: &Value,
) -> Result<Option<Explanation>, Trouble> {
    let giver = match key.kind.as_str() {
        "Ingress" => {
            let named = &object["spec"]["ingressClassName"];
            let class = named
                .as_str()
                .or(object["metadata"]["annotations"]["kubernetes.io/ingress.class"].as_str());
            of_class(link, ("networking.k8s.io", "IngressClass", "controller"), class).await?
        }
        "Gateway" if key.group == "gateway.networking.k8s.io" => {
            let class = object["spec"]["gatewayClassName"].as_str();
            of_class(
                link,
                ("gateway.networking.k8s.io", "GatewayClass", "controllerName"),
                class,
            )
            .await?
        }
        "Service" if key.group.is_empty() => of_service(object),
        _ => None,
    };
    let Some(giver) = giver else {
        return Ok(None);
    };
    if let Giver::Workload { name, .. } = &giver
        && hangs::runs(link, name).await?
    {
        return Ok(None);
    }
    let why = match &giver {
        Giver::NoClass { kind, name } => format!("there is no {kind} `{name}`, so that nobody takes it up"),
        Giver::Workload { name, of } => {
            format!("{name}, which gives addresses to what has {of}, does not run")
        }
    };
    Ok(Some(Explanation {
        why,
        way_out: advice::no_address(&giver),
        subject: None,
    }))
}

/// Who looks after a class. Nobody is named when that is not one we know: it may run anywhere.
async fn of_class(
    link: &Link,
    (group, kind, field): (&str, &'static str, &str),
    class: Option<&str>,
) -> Result<Option<Giver>, Trouble> {
    let discovery = link.discovery().await?;
    let resource = discovery.preferred(&GroupKind {
        group: group.to_owned(),
        kind: kind.to_owned(),
    });
    let (Some(resource), Some(class)) = (resource, class) else {
        return Ok(None);
    };
    let Some(found) = link.get(&resource.path("", Some(class))).await? else {
        return Ok(Some(Giver::NoClass {
            kind,
            name: class.to_owned(),
        }));
    };
    let controller = found["spec"][field].as_str().unwrap_or_default();
    let name = match controller {
        "ingress.k8s.aws/alb" | "gateway.k8s.aws/alb" | "gateway.k8s.aws/nlb" => LOAD_BALANCERS,
        "gateway.envoyproxy.io/gatewayclass-controller" => "envoy-gateway",
        _ => return Ok(None),
    };
    Ok(Some(Giver::Workload {
        name,
        of: format!("the {kind} `{class}`"),
    }))
}

fn of_service(service: &Value) -> Option<Giver> {
    if service["spec"]["type"] != "LoadBalancer" {
        return None;
    }
    let class = service["spec"]["loadBalancerClass"].as_str();
    let kind = service["metadata"]["annotations"][TYPE].as_str();
    let of = match (class, kind) {
        (Some("service.k8s.aws/nlb"), _) => "the class `service.k8s.aws/nlb`".to_owned(),
        (None, Some(kind @ ("external" | "nlb-ip"))) => format!("{TYPE} `{kind}`"),
        _ => return None,
    };
    Some(Giver::Workload {
        name: LOAD_BALANCERS,
        of,
    })
}
