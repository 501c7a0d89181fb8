//! What only the Go sources of the API say: how lists and mappings are merged, and what may stand in a text.
//!
//! Facts, kept as tables that are read once. A type's name leaves out what all have before it; a test sees that every
//! line names a field that exists.

use serde_json::{Map, Value, json};

/// Lists that are maps, by type and field, and the fields that tell their items apart.
const LIST_MAPS: &str = "
meta.v1.ObjectMeta ownerReferences uid
core.v1.PodSpec volumes name
core.v1.PodSpec initContainers name
core.v1.PodSpec containers name
core.v1.PodSpec ephemeralContainers name
core.v1.PodSpec imagePullSecrets name
core.v1.PodSpec hostAliases ip
core.v1.PodSpec topologySpreadConstraints topologyKey,whenUnsatisfiable
core.v1.PodSpec schedulingGates name
core.v1.PodSpec resourceClaims name
core.v1.PodStatus conditions type
core.v1.PodStatus podIPs ip
core.v1.PodStatus resourceClaimStatuses name
core.v1.Container ports containerPort,protocol
core.v1.Container env name
core.v1.Container volumeMounts mountPath
core.v1.Container volumeDevices devicePath
core.v1.EphemeralContainer ports containerPort,protocol
core.v1.EphemeralContainer env name
core.v1.EphemeralContainer volumeMounts mountPath
core.v1.EphemeralContainer volumeDevices devicePath
core.v1.ContainerStatus volumeMounts mountPath
core.v1.ContainerStatus allocatedResourcesStatus name
core.v1.ResourceStatus resources resourceID
core.v1.ResourceRequirements claims name
core.v1.ServiceSpec ports port,protocol
core.v1.ServiceStatus conditions type
core.v1.ServiceAccount secrets name
core.v1.NodeStatus conditions type
core.v1.NodeStatus addresses type
core.v1.NamespaceStatus conditions type
core.v1.PersistentVolumeClaimStatus conditions type
core.v1.ReplicationControllerStatus conditions type
apps.v1.DeploymentStatus conditions type
apps.v1.DaemonSetStatus conditions type
apps.v1.ReplicaSetStatus conditions type
apps.v1.StatefulSetStatus conditions type
autoscaling.v2.HorizontalPodAutoscalerStatus conditions type
policy.v1.PodDisruptionBudgetStatus conditions type
networking.v1.ServiceCIDRStatus conditions type
storage.v1.CSINodeSpec drivers name
certificates.v1.CertificateSigningRequestStatus conditions type
flowcontrol.v1.FlowSchemaStatus conditions type
flowcontrol.v1.PriorityLevelConfigurationStatus conditions type
resource.v1.ResourceClaimStatus reservedFor uid
resource.v1.ResourceClaimStatus devices driver,device,pool
resource.v1.AllocatedDeviceStatus conditions type
admissionregistration.v1.MutatingWebhookConfiguration webhooks name
admissionregistration.v1.ValidatingWebhookConfiguration webhooks name
admissionregistration.v1.MutatingWebhook matchConditions name
admissionregistration.v1.ValidatingWebhook matchConditions name
admissionregistration.v1.ValidatingAdmissionPolicySpec matchConditions name
admissionregistration.v1.ValidatingAdmissionPolicySpec variables name
admissionregistration.v1.ValidatingAdmissionPolicyStatus conditions type
apiextensions.v1.CustomResourceDefinitionStatus conditions type
apiregistration.v1.APIServiceStatus conditions type
";

/// Lists that are sets.
const LIST_SETS: &str = "
meta.v1.ObjectMeta finalizers
core.v1.NodeSpec podCIDRs
core.v1.ContainerRestartRuleOnExitCodes values
discovery.v1.Endpoint addresses
storage.v1.CSIDriverSpec volumeLifecycleModes
batch.v1.PodFailurePolicyOnExitCodesRequirement values
admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec validationActions
";

/// Types that are merged as a whole.
const ATOMIC_TYPES: &str = "
meta.v1.LabelSelector
core.v1.ConfigMapKeySelector
core.v1.LocalObjectReference
core.v1.NodeSelector
core.v1.NodeSelectorTerm
core.v1.ObjectFieldSelector
core.v1.ObjectReference
core.v1.ResourceFieldSelector
core.v1.ScopeSelector
core.v1.SecretKeySelector
core.v1.SecretReference
core.v1.TopologySelectorTerm
core.v1.TypedLocalObjectReference
core.v1.FileKeySelector
autoscaling.v1.CrossVersionObjectReference
rbac.v1.RoleRef
rbac.v1.Subject
networking.v1.ServiceBackendPort
admissionregistration.v1.MatchResources
admissionregistration.v1.NamedRuleWithOperations
admissionregistration.v1.ParamKind
admissionregistration.v1.ParamRef
";

/// Mappings that are merged as a whole, by type and field.
const ATOMIC_FIELDS: &str = "
core.v1.PodSpec nodeSelector
core.v1.ReplicationControllerSpec selector
core.v1.ServiceSpec selector
node.v1.Scheduling nodeSelector
";

/// What the server fills in, where it is part of what tells items apart.
const DEFAULTS: &str = "
core.v1.ContainerPort protocol TCP
core.v1.ServicePort protocol TCP
";

/// Texts with few values.
const VALUES: &str = "
core.v1.Container imagePullPolicy Always|IfNotPresent|Never
core.v1.Container terminationMessagePolicy File|FallbackToLogsOnError
core.v1.Container restartPolicy Always|OnFailure|Never
core.v1.ContainerPort protocol TCP|UDP|SCTP
core.v1.ServicePort protocol TCP|UDP|SCTP
core.v1.PodSpec restartPolicy Always|OnFailure|Never
core.v1.PodSpec dnsPolicy ClusterFirst|ClusterFirstWithHostNet|Default|None
core.v1.PodSpec preemptionPolicy Never|PreemptLowerPriority
core.v1.PodOS name linux|windows
core.v1.ServiceSpec type ClusterIP|ExternalName|LoadBalancer|NodePort
core.v1.ServiceSpec sessionAffinity ClientIP|None
core.v1.ServiceSpec externalTrafficPolicy Cluster|Local
core.v1.ServiceSpec internalTrafficPolicy Cluster|Local
core.v1.ServiceSpec ipFamilyPolicy SingleStack|PreferDualStack|RequireDualStack
core.v1.ServiceSpec trafficDistribution PreferClose|PreferSameZone|PreferSameNode
core.v1.Toleration operator Exists|Equal|Lt|Gt
core.v1.Toleration effect NoSchedule|PreferNoSchedule|NoExecute
core.v1.Taint effect NoSchedule|PreferNoSchedule|NoExecute
core.v1.TopologySpreadConstraint whenUnsatisfiable DoNotSchedule|ScheduleAnyway
core.v1.TopologySpreadConstraint nodeAffinityPolicy Honor|Ignore
core.v1.TopologySpreadConstraint nodeTaintsPolicy Honor|Ignore
core.v1.NodeSelectorRequirement operator In|NotIn|Exists|DoesNotExist|Gt|Lt
meta.v1.LabelSelectorRequirement operator In|NotIn|Exists|DoesNotExist
core.v1.HTTPGetAction scheme HTTP|HTTPS
core.v1.VolumeMount mountPropagation None|HostToContainer|Bidirectional
core.v1.VolumeMount recursiveReadOnly Disabled|IfPossible|Enabled
core.v1.PodSecurityContext fsGroupChangePolicy OnRootMismatch|Always
core.v1.SeccompProfile type Localhost|RuntimeDefault|Unconfined
core.v1.AppArmorProfile type Localhost|RuntimeDefault|Unconfined
core.v1.PersistentVolumeSpec persistentVolumeReclaimPolicy Retain|Recycle|Delete
core.v1.PersistentVolumeSpec volumeMode Block|Filesystem
core.v1.PersistentVolumeClaimSpec volumeMode Block|Filesystem
core.v1.LimitRangeItem type Container|Pod|PersistentVolumeClaim
core.v1.ScopedResourceSelectorRequirement operator In|NotIn|Exists|DoesNotExist
apps.v1.DeploymentStrategy type Recreate|RollingUpdate
apps.v1.StatefulSetUpdateStrategy type OnDelete|RollingUpdate
apps.v1.StatefulSetSpec podManagementPolicy OrderedReady|Parallel
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted Retain|Delete
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenScaled Retain|Delete
apps.v1.DaemonSetUpdateStrategy type OnDelete|RollingUpdate
batch.v1.JobSpec completionMode NonIndexed|Indexed
batch.v1.JobSpec podReplacementPolicy TerminatingOrFailed|Failed
batch.v1.CronJobSpec concurrencyPolicy Allow|Forbid|Replace
autoscaling.v2.MetricSpec type ContainerResource|External|Object|Pods|Resource
autoscaling.v2.MetricTarget type Utilization|Value|AverageValue
autoscaling.v2.HPAScalingPolicy type Pods|Percent
autoscaling.v2.HPAScalingRules selectPolicy Max|Min|Disabled
policy.v1.PodDisruptionBudgetSpec unhealthyPodEvictionPolicy IfHealthyBudget|AlwaysAllow
networking.v1.HTTPIngressPath pathType Exact|ImplementationSpecific|Prefix
networking.v1.NetworkPolicyPort protocol TCP|UDP|SCTP
storage.v1.StorageClass reclaimPolicy Delete|Retain|Recycle
storage.v1.StorageClass volumeBindingMode Immediate|WaitForFirstConsumer
storage.v1.CSIDriverSpec fsGroupPolicy None|File|ReadWriteOnceWithFSType
scheduling.v1.PriorityClass preemptionPolicy Never|PreemptLowerPriority
discovery.v1.EndpointSlice addressType IPv4|IPv6|FQDN
rbac.v1.RoleRef kind Role|ClusterRole
rbac.v1.Subject kind User|Group|ServiceAccount
apiextensions.v1.CustomResourceDefinitionSpec scope Cluster|Namespaced
apiextensions.v1.CustomResourceConversion strategy None|Webhook
admissionregistration.v1.MutatingWebhook failurePolicy Fail|Ignore
admissionregistration.v1.MutatingWebhook matchPolicy Exact|Equivalent
admissionregistration.v1.MutatingWebhook sideEffects None|NoneOnDryRun
admissionregistration.v1.MutatingWebhook reinvocationPolicy Never|IfNeeded
admissionregistration.v1.ValidatingWebhook failurePolicy Fail|Ignore
admissionregistration.v1.ValidatingWebhook matchPolicy Exact|Equivalent
admissionregistration.v1.ValidatingWebhook sideEffects None|NoneOnDryRun
admissionregistration.v1.RuleWithOperations scope Cluster|Namespaced|*
admissionregistration.v1.ValidatingAdmissionPolicySpec failurePolicy Fail|Ignore
";

/// Texts in lists with few values.
const ITEM_VALUES: &str = "
core.v1.PersistentVolumeSpec accessModes ReadWriteOnce|ReadOnlyMany|ReadWriteMany|ReadWriteOncePod
core.v1.PersistentVolumeClaimSpec accessModes ReadWriteOnce|ReadOnlyMany|ReadWriteMany|ReadWriteOncePod
core.v1.ServiceSpec ipFamilies IPv4|IPv6
networking.v1.NetworkPolicySpec policyTypes Ingress|Egress
admissionregistration.v1.RuleWithOperations operations CREATE|UPDATE|DELETE|CONNECT|*
";

/// Whole numbers with limits: the least and the greatest.
const RANGES: &str = "
core.v1.ContainerPort containerPort 1 65535
core.v1.ContainerPort hostPort 0 65535
core.v1.ServicePort port 1 65535
core.v1.ServicePort nodePort 0 65535
core.v1.Probe initialDelaySeconds 0 2147483647
core.v1.Probe periodSeconds 0 2147483647
core.v1.Probe timeoutSeconds 0 2147483647
core.v1.Probe successThreshold 0 2147483647
core.v1.Probe failureThreshold 0 2147483647
core.v1.PodSpec terminationGracePeriodSeconds 0 9223372036854775807
core.v1.TopologySpreadConstraint maxSkew 1 2147483647
core.v1.WeightedPodAffinityTerm weight 1 100
core.v1.PreferredSchedulingTerm weight 1 100
apps.v1.DeploymentSpec replicas 0 2147483647
apps.v1.DeploymentSpec minReadySeconds 0 2147483647
apps.v1.DeploymentSpec revisionHistoryLimit 0 2147483647
apps.v1.StatefulSetSpec replicas 0 2147483647
apps.v1.ReplicaSetSpec replicas 0 2147483647
batch.v1.JobSpec parallelism 0 2147483647
batch.v1.JobSpec completions 0 2147483647
batch.v1.JobSpec backoffLimit 0 2147483647
batch.v1.JobSpec ttlSecondsAfterFinished 0 2147483647
batch.v1.CronJobSpec successfulJobsHistoryLimit 0 2147483647
batch.v1.CronJobSpec failedJobsHistoryLimit 0 2147483647
autoscaling.v2.HorizontalPodAutoscalerSpec minReplicas 0 2147483647
autoscaling.v2.HorizontalPodAutoscalerSpec maxReplicas 1 2147483647
networking.v1.NetworkPolicyPort endPort 1 65535
networking.v1.ServiceBackendPort number 1 65535
admissionregistration.v1.MutatingWebhook timeoutSeconds 1 30
admissionregistration.v1.ValidatingWebhook timeoutSeconds 1 30
";

/// Writes all of it into the generated schemas.
pub(crate) fn add(definitions: &mut Map<String, Value>) {
    for words in lines(LIST_MAPS) {
        if let [of, field, keys] = words[..] {
            let field = property(definitions, of, field);
            let keys: Vec<&str> = keys.split(',').collect();
            if let Some(field) = field {
                field["x-kubernetes-list-type"] = json!("map");
                field["x-kubernetes-list-map-keys"] = json!(keys);
            }
        }
    }
    for words in lines(LIST_SETS) {
        if let [of, field] = words[..]
            && let Some(field) = property(definitions, of, field)
        {
            field["x-kubernetes-list-type"] = json!("set");
        }
    }
    for words in lines(ATOMIC_TYPES) {
        if let Some(schema) = definitions.get_mut(&name(words[0])) {
            schema["x-kubernetes-map-type"] = json!("atomic");
        }
    }
    for words in lines(ATOMIC_FIELDS) {
        if let [of, field] = words[..]
            && let Some(field) = property(definitions, of, field)
        {
            field["x-kubernetes-map-type"] = json!("atomic");
        }
    }
    for words in lines(DEFAULTS) {
        if let [of, field, value] = words[..]
            && let Some(field) = property(definitions, of, field)
        {
            field["default"] = json!(value);
        }
    }
    for words in lines(VALUES) {
        if let [of, field, values] = words[..]
            && let Some(field) = property(definitions, of, field)
        {
            field["enum"] = values.split('|').collect();
        }
    }
    for words in lines(ITEM_VALUES) {
        if let [of, field, values] = words[..]
            && let Some(field) = property(definitions, of, field)
        {
            field["items"]["enum"] = values.split('|').collect();
        }
    }
    for words in lines(RANGES) {
        if let [of, field, least, most] = words[..]
            && let Some(field) = property(definitions, of, field)
        {
            let number = |text: &str| json!(text.parse::<i64>().unwrap_or_default());
            field["minimum"] = number(least);
            field["maximum"] = number(most);
        }
    }
}

fn lines(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split(' ').collect())
}

/// The full name of a type.
pub(crate) fn name(short: &str) -> String {
    let before = match short.split('.').next().unwrap_or_default() {
        "meta" => "io.k8s.apimachinery.pkg.apis.",
        "apiextensions" => "io.k8s.apiextensions-apiserver.pkg.apis.",
        "apiregistration" => "io.k8s.kube-aggregator.pkg.apis.",
        _ => "io.k8s.api.",
    };
    format!("{before}{short}")
}

fn property<'a>(definitions: &'a mut Map<String, Value>, of: &str, field: &str) -> Option<&'a mut Value> {
    definitions
        .get_mut(&name(of))?
        .get_mut("properties")?
        .get_mut(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_names_something_that_exists() {
        let definitions = crate::builtin::definitions();
        let mut wrong = Vec::new();
        for table in [
            LIST_MAPS,
            LIST_SETS,
            ATOMIC_FIELDS,
            DEFAULTS,
            VALUES,
            ITEM_VALUES,
            RANGES,
        ] {
            for words in lines(table) {
                let field = &definitions.get(&name(words[0])).unwrap_or(&Value::Null)["properties"][words[1]];
                if field.is_null() {
                    wrong.push(words.join(" "));
                }
            }
        }
        for words in lines(ATOMIC_TYPES) {
            if !definitions.contains_key(&name(words[0])) {
                wrong.push(words[0].to_owned());
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn only_lists_are_maps_and_sets() {
        for table in [LIST_MAPS, LIST_SETS, ITEM_VALUES] {
            for words in lines(table) {
                let field = &crate::builtin::definitions()[&name(words[0])]["properties"][words[1]];
                assert_eq!(field["type"], "array", "{words:?}");
            }
        }
    }
}
