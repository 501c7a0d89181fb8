//! The next thing to do when a cluster refuses something, or does not let it go: from the words of Kubernetes and its
//! controllers, as a person does who looks after clusters.

use crate::conflict;
use crate::key::Key;
use crate::trouble::{DELETING, FOREIGN, Refusal};

/// What follows every advice: nothing has to be cleared away by hand.
const AGAIN: &str = "then run the command again: it goes on from here";

/// How to take every finalizer off by hand.
fn free(key: &Key) -> String {
    format!(
        "`kubectl patch {} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'`",
        key.for_kubectl()
    )
}

/// When the API server does not take an object. Words: Kubernetes, API server.
pub(crate) fn refused(key: &Key, refusal: &Refusal) -> String {
    let reason = refusal.message.as_str();
    let part = |before: &str, after: &str| {
        let (_, rest) = reason.split_once(before)?;
        rest.split_once(after).map(|(inside, _)| inside)
    };
    let conflicts = conflict::conflicts(refusal);
    if !conflicts.is_empty() {
        return conflict::kept_by_others(&conflicts).1;
    }
    let advice = if reason.starts_with("no matches") && refusal.reason == FOREIGN {
        format!(
            "every cluster has this API in other versions: `kubectl api-resources | grep -i {}` shows which apiVersion to write",
            key.kind.to_lowercase()
        )
    } else if reason.starts_with("no matches") {
        format!(
            "nothing in the cluster defines this kind (`kubectl get crd | grep -i {}`): let the step that installs its \
             CustomResourceDefinition be done before this one",
            key.kind.to_lowercase()
        )
    } else if reason.contains("calling webhook") || reason.contains("failed to call webhook") {
        let host = part("https://", ".svc").unwrap_or_default();
        let (service, namespace) = host.split_once('.').unwrap_or((host, "NAMESPACE"));
        format!(
            "every {} has to pass this webhook, and nothing answers behind the service {namespace}/{service}: look why its pods do \
             not run (`kubectl get pods -n {namespace}`), or, when that software is gone for good, remove its \
             ValidatingWebhookConfiguration or MutatingWebhookConfiguration",
            key.kind
        )
    } else if reason.contains("admission webhook") && reason.contains("denied") {
        "a policy of the cluster refuses it: change the manifest as the message says, or the policy"
            .to_owned()
    } else if reason.starts_with("namespaces ") && reason.contains("not found") {
        format!(
            "add a Namespace `{}` to the manifests of this step, or to those of a step that is done before it",
            key.namespace
        )
    } else if let Some((_, held)) = reason.split_once(", held by its finalizer ") {
        let held: Vec<String> = held.split(", ").map(str::to_owned).collect();
        return hanging(key, &held, &[], true);
    } else if reason.contains("being terminated") || reason.contains("being deleted") {
        format!(
            "something of this name is still going: `kubectl get {} -o yaml` shows which finalizers hold it",
            if key.namespace.is_empty() || refusal.reason == DELETING {
                key.for_kubectl()
            } else {
                format!("namespace/{}", key.namespace)
            }
        )
    } else if reason.contains("belongs to ") {
        "two platforms, steps or tools must not share an object: name it in one of them only".to_owned()
    } else if refusal.is_immutable() {
        format!(
            "what the manifest changes cannot be changed in place: write it as it was, give the object another name, or delete it \
             (`kubectl delete {}`), so that it is made anew; what it holds goes with it",
            key.for_kubectl()
        )
    } else if refusal.code == 403 {
        "the identity in use may not do this: give it an EKS access entry with the policy AmazonEKSClusterAdminPolicy".to_owned()
    } else {
        "mend what it says".to_owned()
    };
    format!("{advice}; {AGAIN}")
}

/// When something is not ready and nothing tells why.
pub(crate) fn slow(key: &Key) -> String {
    format!(
        "`kubectl describe {}` shows what it waits for; when all is well and it only takes longer, raise the step's `within`; {AGAIN}",
        key.for_kubectl()
    )
}

/// Who would give something an address, and does not.
pub(crate) enum Giver {
    /// It names a class that is not there.
    NoClass {
        /// The kind of the class.
        kind: &'static str,
        name: String,
    },
    /// A controller, by the name its workload has in the label `app.kubernetes.io/name`.
    Workload {
        name: &'static str,
        /// What leaves it to this controller.
        of: String,
    },
}

/// When nobody gives something an address.
pub(crate) fn no_address(giver: &Giver) -> String {
    let advice = match giver {
        Giver::NoClass { kind, .. } => format!(
            "`kubectl get {}` shows which there are: name one of these, or let the component that brings the class be done before \
             this step",
            kind.to_lowercase()
        ),
        Giver::Workload { name, .. } => format!(
            "`kubectl get pods -A -l app.kubernetes.io/name={name}` shows whether it is installed and what holds its pods up: let the \
             component that installs it be done before this step, or mend its pods"
        ),
    };
    format!("{advice}; {AGAIN}")
}

/// When somebody deletes what was applied, again and again or once.
pub(crate) fn deleted(key: &Key) -> String {
    let place = match key.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" or everything in namespace {namespace}"),
    };
    format!(
        "find out who deletes {key}{place} (another tool that prunes what it does not know, a clean-up job, a person: the cluster's \
         audit log names them, where it is switched on) and stop that; {AGAIN}",
        key = key.for_kubectl()
    )
}

/// When a Job that cleans up before a removal has failed.
pub(crate) fn clean_up_failed(key: &Key) -> String {
    format!(
        "`kubectl logs job/{} -n {}` shows what went wrong: mend it and delete the Job's failed run (`kubectl delete {}`), which \
         gives the clean-up up, or put the step back and remove it again; {AGAIN}",
        key.name,
        key.namespace,
        key.for_kubectl()
    )
}

/// The finalizer of claims, which the cluster itself sees to.
const PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";

/// Who takes a finalizer off: the name its workload has in the label `app.kubernetes.io/name`. Source: the sources of
/// each controller.
pub(crate) fn keeper(finalizer: &str) -> Option<&'static str> {
    let known = [
        ("elbv2.k8s.aws/", "aws-load-balancer-controller"),
        ("ingress.k8s.aws/", "aws-load-balancer-controller"),
        ("service.k8s.aws/", "aws-load-balancer-controller"),
        ("gateway.k8s.aws/", "aws-load-balancer-controller"),
        (
            "service.kubernetes.io/load-balancer-cleanup",
            "aws-load-balancer-controller",
        ),
        ("argocd.argoproj.io", "argocd-application-controller"),
        ("karpenter.", "karpenter"),
        ("ebs-csi-aws-com", "aws-ebs-csi-driver"),
        ("finalizers.fluxcd.io", "helm-controller"),
        ("acme.cert-manager.io", "cert-manager"),
        ("externalsecrets.external-secrets.io", "external-secrets"),
    ];
    if finalizer.contains("eks.amazonaws.com") {
        // Its controllers run with AWS, not in the cluster.
        return None;
    }
    known
        .iter()
        .find(|(part, _)| finalizer.contains(part))
        .map(|(_, name)| *name)
}

/// Whether what a controller made is found by a sweep, so that it may be left to it.
pub(crate) fn is_swept(keeper: &str) -> bool {
    matches!(
        keeper,
        "aws-load-balancer-controller" | "argocd-application-controller" | "karpenter" | "aws-ebs-csi-driver"
    )
}

/// When something that is deleted does not go: what holds it, what is left in it, and whether the controller that
/// should let it go runs.
pub(crate) fn hanging(key: &Key, finalizers: &[String], inside: &[String], lives: bool) -> String {
    let about = key.for_kubectl();
    let free = free(key);
    let Some(first) = finalizers.first() else {
        let left = match inside {
            [] => format!("`kubectl describe {about}` says what is left"),
            some => format!(
                "it goes once {} is gone: look what holds that back",
                some.join(" and ")
            ),
        };
        return format!("{left}; {AGAIN}");
    };
    match keeper(first) {
        _ if first == PVC_PROTECTION => format!(
            "a pod still uses the claim: `kubectl describe {about}` names it under \"Used By\"; delete that pod; {AGAIN}"
        ),
        Some(name) if lives => format!(
            "{name} takes {first} off once it has removed what it made, and does not get there: read its log \
             (`kubectl get pods -A -l app.kubernetes.io/name={name}` finds it) and mend what it says; {AGAIN}"
        ),
        Some(name) => format!(
            "only {name} takes {first} off, and it does not run: start it again (apply the component that installs it), or take \
             the finalizer off with {free} and run `landfall destroy` again, which sweeps what the controller made"
        ),
        None => {
            let domain = first.split('/').next().unwrap_or(first);
            format!(
                "find the controller of {domain} that takes {first} off, look whether it runs, and read its log; when it was removed for \
                 good, nobody cleans up any more: take the finalizer off with {free}; {AGAIN}"
            )
        }
    }
}
