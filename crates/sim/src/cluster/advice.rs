//! The next thing to do when something in a cluster is refused, is not ready, or does not go: from the words of
//! Kubernetes and its controllers, as a person does who looks after clusters.

use super::{Controller, Key};

/// What follows every advice: nothing has to be cleared away by hand.
const AGAIN: &str = "then run the command again: it goes on from here";

impl Key {
    /// What `kubectl` calls it: `deployment/web -n shop`.
    pub(crate) fn for_kubectl(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.namespace.is_empty() {
            format!("{kind}/{}", self.name)
        } else {
            format!("{kind}/{} -n {}", self.name, self.namespace)
        }
    }

    /// How to take every finalizer off by hand.
    fn free(&self) -> String {
        format!(
            "`kubectl patch {} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'`",
            self.for_kubectl()
        )
    }
}

/// When the API server does not take an object. Words: Kubernetes, API server.
pub(crate) fn refused(key: &Key, reason: &str) -> String {
    let part = |before: &str, after: &str| {
        let (_, rest) = reason.split_once(before)?;
        rest.split_once(after).map(|(inside, _)| inside)
    };
    let advice = if reason.starts_with("no matches") {
        format!(
            "nothing in the cluster defines this kind (`kubectl get crd | grep -i {}`): let the step that installs its \
             CustomResourceDefinition be done before this one",
            key.kind.to_lowercase()
        )
    } else if reason.contains("calling webhook") {
        let host = part("https://", ".svc").unwrap_or_default();
        let (service, namespace) = host.split_once('.').unwrap_or((host, "NAMESPACE"));
        format!(
            "every {} has to pass this webhook, and nothing answers behind the service {namespace}/{service}: look why its pods do \
             not run (`kubectl get pods -n {namespace}`), or, when that software is gone for good, remove its \
             ValidatingWebhookConfiguration or MutatingWebhookConfiguration",
            key.kind
        )
    } else if reason.starts_with("namespaces ") && reason.contains("not found") {
        format!(
            "add a Namespace `{}` to the manifests of this step, or to those of a step that is done before it",
            key.namespace
        )
    } else if reason.contains("being terminated") || reason.contains("being deleted") {
        format!(
            "something of this name is still going: `kubectl get {} -o yaml` shows which finalizers hold it",
            if key.namespace.is_empty() {
                key.for_kubectl()
            } else {
                format!("namespace/{}", key.namespace)
            }
        )
    } else if reason.contains("belongs to the ") {
        "two platforms or steps must not share an object: name it in one of them only".to_owned()
    } else if reason.contains("does not answer") || reason.contains("is gone") {
        "look whether the cluster stands (`aws eks describe-cluster`) and answers (`kubectl version`)"
            .to_owned()
    } else {
        "mend what it says".to_owned()
    };
    format!("{advice}; {AGAIN}")
}

/// When pods cannot start. Words: Kubernetes, scheduler.
pub(super) fn pending(key: &Key, reason: &str) -> String {
    let advice = if reason.contains("nodes are available") {
        "the cluster has no machine that is ready: let the step that makes machines (a node group, a NodePool) be done before \
         this one, and look whether they joined (`kubectl get nodes`, `aws eks list-nodegroups`)"
            .to_owned()
    } else if reason.contains("not found") {
        "apply the claim in this step, or in one that is done before it".to_owned()
    } else if reason.contains("unbound") {
        format!(
            "its volume does not come: `kubectl describe pvc -n {}` says why; it needs a StorageClass, the EBS CSI driver \
             (`aws eks describe-addon --addon-name aws-ebs-csi-driver`), and a role that may make volumes",
            key.namespace
        )
    } else {
        format!("look at the events: `kubectl describe {}`", key.for_kubectl())
    };
    format!("{advice}; {AGAIN}")
}

/// When pods start and do not become ready. Words: Kubernetes, kubelet.
pub(super) fn failing(key: &Key, reason: &str) -> String {
    let about = key.for_kubectl();
    let said = reason.to_lowercase();
    let advice = if said.contains("imagepull") || said.contains("errimage") {
        "correct the image's name or tag in the manifest; if it is right, the machines may not read it: a private registry needs \
         `imagePullSecrets`, ECR the policy AmazonEC2ContainerRegistryReadOnly on the role of the machines, and all of them a way to \
         the registry"
            .to_owned()
    } else if said.contains("crashloop") {
        format!("the container starts and ends again: `kubectl logs {about} --previous` shows its last words")
    } else if said.contains("oomkilled") {
        "it needs more memory than its limit: raise `resources.limits.memory` in the manifest".to_owned()
    } else if said.contains("configerror") || said.contains("secret") || said.contains("configmap") {
        "a Secret or ConfigMap that the pod names is missing: make it in this step, or in one that is done before it".to_owned()
    } else if said.contains("insufficient") || said.contains("untolerated taint") {
        "no machine has room for it: lower its `resources.requests`, or let the node group or the NodePool have more machines".to_owned()
    } else if said.contains("probe") {
        format!(
            "it runs and its probe fails: try the probe's address by hand (`kubectl port-forward {about} PORT`), look at `kubectl logs \
             {about}`, or give it more time with the step's `within`"
        )
    } else {
        format!("look at `kubectl describe {about}` and `kubectl logs {about}`, and mend what they say")
    };
    format!("{advice}; {AGAIN}")
}

/// When pods are still on their way as time is up.
pub(super) fn slow(key: &Key) -> String {
    format!(
        "`kubectl logs {}` shows what they do; when all is well and it only takes longer, raise the step's `within`; {AGAIN}",
        key.for_kubectl()
    )
}

/// When what a controller makes does not come, and whether that controller runs.
pub(super) fn controller(controller: Controller, key: &Key, lives: bool) -> String {
    let name = controller.name();
    if !lives {
        return format!(
            "nobody works on it: let the component that installs {name} be done before this one, and look whether its pods run \
             (`kubectl get pods -A | grep {name}`); {AGAIN}"
        );
    }
    let about = key.for_kubectl();
    let usual = match controller {
        Controller::LoadBalancer => {
            "usual reasons: no subnets with the tag `kubernetes.io/role/elb`, or a role that may not make load balancers"
        }
        Controller::Volume => "usual reasons: no StorageClass, or a role that may not make volumes",
        Controller::Argo => {
            "usual reasons: a repository that cannot be read, or an object in it that the cluster refuses"
        }
        Controller::Karpenter => "usual reasons: no node class, subnets or security groups that it selects",
    };
    format!(
        "`kubectl describe {about}` and the log of {name} say what it waits for; {usual}. When it only takes longer, raise the step's \
         `within`; {AGAIN}"
    )
}

/// Who takes a finalizer off. Source: the sources of each controller.
fn keeper(finalizer: &str) -> Option<&'static str> {
    if finalizer.contains("k8s.aws/") || finalizer == "service.kubernetes.io/load-balancer-cleanup" {
        Some(Controller::LoadBalancer.name())
    } else if finalizer.contains("argocd.argoproj.io") {
        Some(Controller::Argo.name())
    } else if finalizer.contains("karpenter.") {
        Some(Controller::Karpenter.name())
    } else {
        None
    }
}

/// When something that is deleted does not go: what holds it, what is left in it, and whether the controller that
/// should let it go runs.
pub(crate) fn hanging(key: &Key, finalizers: &[String], inside: &[String], lives: bool) -> String {
    let about = key.for_kubectl();
    let free = key.free();
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
        _ if first == super::PVC_PROTECTION => format!(
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
