//! The next thing to do when an object does not become ready, as a person does who looks after clusters. Said once, here.

use crate::key::Key;

/// What follows every advice: nothing has to be cleared away by hand.
const AGAIN: &str = "then run the command again: it goes on from here";

fn then(advice: impl std::fmt::Display) -> String {
    format!("{advice}; {AGAIN}")
}

/// When a container does not run. Words: kubelet.
pub(super) fn container(pod: &Key, reason: &str, message: &str) -> String {
    let namespace = &pod.namespace;
    let name = &pod.name;
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            let lower = message.to_lowercase();
            if lower.contains("no basic auth")
                || lower.contains("unauthorized")
                || lower.contains("denied")
                || lower.contains("403")
            {
                then(
                    "the registry does not let the machines read the image: a private registry needs `imagePullSecrets`, ECR the \
                     policy AmazonEC2ContainerRegistryPullOnly on the role of the machines",
                )
            } else if lower.contains("timeout") || lower.contains("no such host") || lower.contains("i/o") {
                then(
                    "the machines do not reach the registry: they need a way out, a NAT gateway or endpoints of ECR and S3",
                )
            } else {
                then(
                    "correct the image's name or tag in the manifest; if it is right, the machines may not read it: a private \
                     registry needs `imagePullSecrets`, ECR the policy AmazonEC2ContainerRegistryPullOnly on the role of the \
                     machines, and all of them a way to the registry",
                )
            }
        }
        "OOMKilled" => {
            then("it needs more memory than its limit: raise `resources.limits.memory` in the manifest")
        }
        "CreateContainerConfigError" => then(
            "a Secret or ConfigMap that the pod names is missing, or has not the key: make it in this step, or in one that is done \
             before it",
        ),
        "CrashLoopBackOff" | "Error" | "StartError" | "RunContainerError"
            if message.contains("exec format error") =>
        {
            then(
                "the image is built for another processor: use one for the architecture of the machines, or choose machines with \
             `nodeSelector: {kubernetes.io/arch: …}`",
            )
        }
        "CrashLoopBackOff" => then(format_args!(
            "the container starts and ends again: `kubectl logs {name} -n {namespace} --previous` shows its last words"
        )),
        _ => look(pod),
    }
}

/// When a pod has no machine. Words: scheduler.
pub(super) fn unscheduled(pod: &Key, message: &str) -> String {
    if message.contains("no nodes available") || message.contains("0/0 nodes") {
        then(
            "the cluster has no machine that is ready: let the step that makes machines (a node group, a NodePool) be done before \
             this one, and look whether they joined (`kubectl get nodes`, `aws eks list-nodegroups`)",
        )
    } else if message.contains("persistentvolumeclaim") && message.contains("not found") {
        then("apply the claim in this step, or in one that is done before it")
    } else if message.contains("unbound") {
        claim(pod, message)
    } else if message.contains("Insufficient") || message.contains("Too many pods") {
        then(
            "no machine has room for it: lower its `resources.requests`, or let the node group or the NodePool have more machines",
        )
    } else if message.contains("untolerated taint") {
        then(
            "the machines carry a taint that the pod does not tolerate: give it a toleration, or machines without that taint",
        )
    } else if message.contains("node affinity")
        || message.contains("node selector")
        || message.contains("didn't match")
    {
        then(
            "no machine has the labels that the pod selects: correct its `nodeSelector` or affinity, or bring such machines",
        )
    } else {
        then(format_args!(
            "look at its events: `kubectl describe {}`",
            pod.for_kubectl()
        ))
    }
}

/// When a claim gets no volume. Words: volume controller, CSI drivers.
pub(super) fn claim(key: &Key, message: &str) -> String {
    let namespace = &key.namespace;
    if message.contains("UnauthorizedOperation")
        || message.contains("not authorized")
        || message.contains("AccessDenied")
    {
        then(
            "the CSI driver may not make volumes: give its role the policy AmazonEBSCSIDriverPolicyV2, and bind that role to its \
             service account (Pod Identity)",
        )
    } else if message.contains("storageclass") && message.contains("not found")
        || message.contains("no storage class is set")
    {
        then(
            "make the StorageClass it names in a step that is done before this one, or name one that stands (`kubectl get sc`)",
        )
    } else {
        then(format_args!(
            "its volume does not come: `kubectl describe pvc -n {namespace}` says why; it needs a StorageClass, the EBS CSI driver \
             (`aws eks describe-addon --addon-name aws-ebs-csi-driver`), and a role that may make volumes"
        ))
    }
}

/// When a pod has a machine and its sandbox or volumes do not come.
pub(super) fn starting(pod: &Key, reason: &str, message: &str) -> String {
    let lower = message.to_lowercase();
    match reason {
        "FailedMount" if lower.contains("not found") => then(
            "a Secret or ConfigMap that the pod mounts is missing: make it in this step, or in one that is done before it",
        ),
        "FailedAttachVolume" if lower.contains("multi-attach") => then(
            "its volume is still attached to another machine: it is let go when the old pod is gone (`kubectl get pods -o wide`); a \
             Deployment with such a volume needs `strategy: {type: Recreate}`",
        ),
        "FailedCreatePodSandBox"
            if lower.contains("assign an ip")
                || lower.contains("aws-cni")
                || lower.contains("vpc.amazonaws.com") =>
        {
            then(
                "the machine has no address left for the pod: use larger subnets, prefix delegation, or other machines, and look at \
                 the add-on vpc-cni (`kubectl logs -n kube-system -l k8s-app=aws-node`)",
            )
        }
        _ => look(pod),
    }
}

/// When a pod runs and its probe fails.
pub(super) fn probe(pod: &Key) -> String {
    let (name, namespace) = (&pod.name, &pod.namespace);
    then(format_args!(
        "it runs and its probe fails: try the probe's address by hand (`kubectl port-forward {name} -n {namespace} PORT`), look at \
         `kubectl logs {name} -n {namespace}`, or give it more time with the step's `within`"
    ))
}

/// When a controller may not make the pods.
pub(super) fn refused(maker: &Key, message: &str) -> String {
    if message.contains("exceeded quota") {
        then(format_args!(
            "the ResourceQuota of the namespace is used up (`kubectl get resourcequota -n {}`): raise it, or ask for less",
            maker.namespace
        ))
    } else if message.contains("violates PodSecurity") {
        then(
            "the Pod Security level of the namespace forbids such pods: change their securityContext as the message says, or the \
             label `pod-security.kubernetes.io/enforce` of the Namespace",
        )
    } else if message.contains("serviceaccount") && message.contains("not found") {
        then("make the ServiceAccount in this step, or in one that is done before it")
    } else if message.contains("webhook") {
        then(
            "every pod has to pass this webhook, and it refuses or does not answer: look why its own pods do not run",
        )
    } else {
        then(format_args!(
            "`kubectl describe {}` says what refuses them",
            maker.for_kubectl()
        ))
    }
}

/// When a part of an Application does not come.
pub(super) fn part(application: &Key, message: &str) -> String {
    if message.contains("no matches for kind") || message.contains("could not find the requested resource") {
        return then("let the step that installs the definition of this kind be done before this one");
    }
    then(format_args!(
        "`argocd app get {}` shows all its parts; correct its values or the manifest in its source",
        application.name
    ))
}

/// When a certificate is not given.
pub(super) fn certificate(key: &Key, reason: &str) -> String {
    let lower = reason.to_lowercase();
    if lower.contains("accessdenied") || lower.contains("not authorized") {
        then(
            "cert-manager may not write to Route 53: give its role `route53:ChangeResourceRecordSets` on the hosted zone",
        )
    } else if lower.contains("ratelimited") || lower.contains("too many") {
        "the authority gives no more certificates for these names this week: use its staging server for trying out, and wait, or use \
         another name"
            .to_owned()
    } else if lower.contains("propagat") || lower.contains("dns") || lower.contains("nxdomain") {
        then(
            "the record is not seen from outside yet: look whether the domain is delegated to this hosted zone (`dig NS DOMAIN`)",
        )
    } else {
        then(format_args!(
            "`kubectl describe {}` says what it waits for",
            key.for_kubectl()
        ))
    }
}

/// When a machine does not come.
pub(super) fn machine(claim: &Key) -> String {
    then(format_args!(
        "`kubectl describe {}` says what AWS answered; usual reasons: no capacity of the instance types it allows, subnets or \
         security groups that its node class does not find, or a role that may not join the cluster",
        claim.for_kubectl()
    ))
}

/// When an event warns of something.
pub(super) fn warning(key: &Key, message: &str) -> String {
    if message.contains("unable to resolve at least one subnet")
        || message.contains("couldn't auto-discover subnets")
    {
        then(
            "no subnets carry the tag `kubernetes.io/role/elb` (internal: `kubernetes.io/role/internal-elb`): tag them, or name them \
             in an annotation",
        )
    } else if message.contains("AccessDenied") || message.contains("not authorized to perform") {
        then("the role of its controller may not do this: add the action that the message names")
    } else {
        look(key)
    }
}

/// When nothing better is known.
pub(super) fn look(key: &Key) -> String {
    let about = key.for_kubectl();
    if key.kind == "Pod" {
        let (name, namespace) = (&key.name, &key.namespace);
        then(format_args!(
            "look at `kubectl describe {about}` and `kubectl logs {name} -n {namespace}`, and mend what they say"
        ))
    } else {
        then(format_args!(
            "look at `kubectl describe {about}`, and mend what it says"
        ))
    }
}
