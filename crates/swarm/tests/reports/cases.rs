//! The table of what goes wrong.

use landfall_sim::{Fault, Target};
use landfall_swarm::Platform;

use super::platforms::{cluster, manifest, one, own, parts, plain, template, uses, without_volumes};
use super::{Case, Command, Passing, Then};

const MINUTE: u64 = 60_000;
const STACK: &str = "acme-parts-main";

fn fails(stack: &str, resource: &str, reason: &str) -> Fault {
    Fault::StackFails {
        stack: stack.to_owned(),
        resource: resource.to_owned(),
        reason: reason.to_owned(),
    }
}

fn delete_fails(stack: &str, resource: &str, reason: &str) -> Fault {
    Fault::DeleteFails {
        stack: stack.to_owned(),
        resource: resource.to_owned(),
        reason: reason.to_owned(),
    }
}

fn limit(stack: &str, resource: &str) -> Fault {
    Fault::LimitExceeded {
        stack: stack.to_owned(),
        resource: resource.to_owned(),
    }
}

fn never_ready(object: &str, reason: &str) -> Fault {
    Fault::PodsNeverReady {
        object: object.to_owned(),
        reason: reason.to_owned(),
    }
}

fn no_image(object: &str, image: &str) -> Fault {
    Fault::ImagePullFails {
        object: object.to_owned(),
        image: image.to_owned(),
    }
}

/// Types AWS refuses to make, and its usual words for that.
const REFUSED: &[(&str, &str)] = &[
    ("bucket_name_is_somebody_elses", "AWS::S3::Bucket"),
    ("elastic_ip_quota", "AWS::EC2::EIP"),
    ("load_balancer_quota", "AWS::ElasticLoadBalancingV2::LoadBalancer"),
    ("role_denied_by_the_organization", "AWS::IAM::Role"),
    ("policy_not_allowed", "AWS::IAM::ManagedPolicy"),
    (
        "certificate_never_validated",
        "AWS::CertificateManager::Certificate",
    ),
    ("cognito_domain_taken", "AWS::Cognito::UserPoolDomain"),
    ("database_quota", "AWS::RDS::DBInstance"),
    ("log_group_quota", "AWS::Logs::LogGroup"),
    ("cloudfront_account_not_verified", "AWS::CloudFront::Distribution"),
    ("queue_access_denied", "AWS::SQS::Queue"),
];

/// Other things AWS says when a resource is made.
const NOT_MADE: &[(&str, &str, &str)] = &[
    (
        "nat_gateway_quota",
        "AWS::EC2::NatGateway",
        "Performing this operation would exceed the limit of 5 NAT gateways (Service: Ec2, Status Code: 400)",
    ),
    (
        "vcpu_quota",
        "AWS::EC2::Instance",
        "You have requested more vCPU capacity than your current vCPU limit of 5 allows for the instance bucket that the specified instance type belongs to. (Service: Ec2, Status Code: 400)",
    ),
    (
        "bucket_quota",
        "AWS::S3::Bucket",
        "You have attempted to create more buckets than allowed (Service: S3, Status Code: 400)",
    ),
    (
        "instance_capacity",
        "AWS::AutoScaling::AutoScalingGroup",
        "We currently do not have sufficient m5.2xlarge capacity in the Availability Zone you requested (us-east-1a). Our system will be working on provisioning additional capacity.",
    ),
    (
        "alias_belongs_to_another_distribution",
        "AWS::CloudFront::Distribution",
        "Invalid request provided: One or more of the CNAMEs you provided are already associated with a different resource. (Service: CloudFront, Status Code: 409)",
    ),
    (
        "secret_waits_for_its_end",
        "AWS::SecretsManager::Secret",
        "You can't create this secret because a secret with this name is already scheduled for deletion. (Service: SecretsManager, Status Code: 400)",
    ),
    (
        "key_pending_deletion",
        "AWS::Logs::LogGroup",
        "arn:aws:kms:us-east-1:111122223333:key/1b2c3d4e is pending deletion. (Service: Kms, Status Code: 400, Error Code: KMSInvalidStateException)",
    ),
    (
        "bucket_still_being_deleted",
        "AWS::S3::Bucket",
        "A conflicting conditional operation is currently in progress against this resource. Please try again. (Service: S3, Status Code: 409)",
    ),
    (
        "wait_condition_timed_out",
        "AWS::CloudFormation::WaitCondition",
        "WaitCondition timed out. Received 0 conditions when expecting 1",
    ),
    (
        "service_never_stable",
        "AWS::ECS::Service",
        "Resource handler returned message: \"Exceeded attempts to wait\" (HandlerErrorCode: NotStabilized)",
    ),
    (
        "handler_throttled",
        "AWS::DynamoDB::Table",
        "Rate exceeded (Service: DynamoDb, Status Code: 400, Error Code: ThrottlingException)",
    ),
    (
        "property_not_valid",
        "AWS::Lambda::Function",
        "Properties validation failed for resource Thing with message: #/Role: failed validation constraint for keyword [pattern]",
    ),
    (
        "queue_denied_explicitly",
        "AWS::SQS::Queue",
        "User: arn:aws:sts::111122223333:assumed-role/deployer/you is not authorized to perform: sqs:createqueue on resource: arn:aws:sqs:us-east-1:111122223333:jobs with an explicit deny in an identity-based policy",
    ),
    (
        "nothing_known_of_the_reason",
        "AWS::DynamoDB::Table",
        "Internal Failure",
    ),
];

/// What AWS says when a resource is to go.
const NOT_GONE: &[(&str, &str, &str)] = &[
    (
        "bucket_not_empty",
        "AWS::S3::Bucket",
        "The bucket you tried to delete is not empty. You must delete all versions in the bucket. (Service: S3, Status Code: 409)",
    ),
    (
        "registry_not_empty",
        "AWS::ECR::Repository",
        "The repository with name 'shop' in registry with id '111122223333' cannot be deleted because it still contains images (Service: Ecr, Status Code: 400)",
    ),
    (
        "zone_not_empty",
        "AWS::Route53::HostedZone",
        "The specified hosted zone contains non-required resource record sets and so cannot be deleted. (Service: Route53, Status Code: 400)",
    ),
    (
        "edge_function_has_replicas",
        "AWS::Lambda::Function",
        "Lambda was unable to delete arn:aws:lambda:us-east-1:111122223333:function:edge:1 because it is a replicated function. Please see our documentation for Deleting Lambda@Edge Functions and Replicas. (Service: Lambda, Status Code: 400)",
    ),
    (
        "database_is_protected",
        "AWS::RDS::DBInstance",
        "Cannot delete protected DB Instance, please disable deletion protection and try again. (Service: Rds, Status Code: 400)",
    ),
    (
        "role_has_a_policy_of_somebody",
        "AWS::IAM::Role",
        "Cannot delete entity, must detach all policies first. (Service: Iam, Status Code: 409)",
    ),
    (
        "export_in_use",
        "AWS::SSM::Parameter",
        "Export acme-VpcId cannot be deleted as it is in use by billing-api",
    ),
    (
        "security_group_in_use",
        "AWS::EC2::SecurityGroup",
        "resource sg-0f3a1c2b has a dependent object (Service: Ec2, Status Code: 400)",
    ),
    (
        "nothing_known_of_what_stays",
        "AWS::DynamoDB::Table",
        "Table is being updated",
    ),
];

/// Why the pods of the demo's shop do not become ready.
const PODS: &[(&str, &str)] = &[
    (
        "pods_crash",
        "CrashLoopBackOff: back-off 5m0s restarting failed container=web pod=web-7c9d",
    ),
    (
        "pods_out_of_memory",
        "OOMKilled: the container web used more than its limit of 128Mi",
    ),
    (
        "pods_lack_a_secret",
        "CreateContainerConfigError: secret \"orders-db\" not found",
    ),
    (
        "pods_fail_their_probe",
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
    ),
    (
        "pods_do_not_fit",
        "Pending: 0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available",
    ),
];

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\ndata: { colour: green }\n";
const HELD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ledger, finalizers: [books.example.com/keep] }\ndata: { pages: \"7\" }\n";
const WIDGET: &str =
    "apiVersion: factory.example.com/v1\nkind: Widget\nmetadata: { name: first }\nspec: { size: 3 }\n";
const WIDGETS: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: widgets.factory.example.com }\nspec:\n  group: factory.example.com\n  scope: Namespaced\n  names: { kind: Widget, plural: widgets, singular: widget }\n  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]\n";
const WEBHOOK: &str = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: { name: gate }\nwebhooks:\n  - name: check.gate.example.com\n    failurePolicy: Fail\n    sideEffects: None\n    admissionReviewVersions: [v1]\n    clientConfig: { service: { name: gate, namespace: default, path: /validate } }\n    rules: [{ apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [configmaps] }]\n";
const GATE: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: gate }\nspec:\n  replicas: 1\n  selector: { matchLabels: { app: gate } }\n  template:\n    metadata: { labels: { app: gate } }\n    spec: { containers: [{ name: gate, image: \"registry.example/gate:1\" }] }\n---\napiVersion: v1\nkind: Service\nmetadata: { name: gate }\nspec: { selector: { app: gate }, ports: [{ port: 443 }] }\n";
const ELSEWHERE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: team }\ndata: { colour: green }\n";
const TEAM: &str = "apiVersion: v1\nkind: Namespace\nmetadata: { name: team }\n---\n";

/// A webhook, and what has to pass it.
fn gated(gate: &str) -> Platform {
    own(
        "  steps:\n    - { name: gate, objects: { cluster: CLUSTER, namespace: default, manifests: [gate.yaml] } }\n    \
         - { name: settings, after: [gate], objects: { cluster: CLUSTER, namespace: default, manifests: [config.yaml] } }\n",
        [("gate.yaml", gate), ("config.yaml", CONFIG)],
    )
}

/// An object that says of itself what is at a path.
fn telling(path: &str) -> Platform {
    let steps = "  steps:\n    - name: objects\n      objects:\n        cluster: CLUSTER\n        namespace: default\n        \
                 manifests: [objects.yaml]\n        outputs: { colour: { of: ConfigMap/settings, path: PATH } }\n";
    own(&steps.replace("PATH", path), [("objects.yaml", CONFIG)])
}

/// An ingress that is given a minute or more.
fn hurried(within: &str) -> Platform {
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web }\nspec: { ingressClassName: alb, defaultBackend: { service: { name: web, port: { number: 80 } } } }\n";
    let steps = "  steps:\n    - { name: objects, objects: { cluster: CLUSTER, namespace: default, manifests: [objects.yaml], within: WITHIN } }\n";
    own(&steps.replace("WITHIN", within), [("objects.yaml", ingress)])
}

/// A check of whose credentials these are.
fn identity(check: &str) -> Platform {
    parts(
        &format!(
            "  steps:\n    - {{ name: who, check: {{ identity: {{ {check} }}, within: 30s }} }}\n    \
             - {{ name: main, after: [who], stack: {{ template: main.cfn.yaml }} }}\n"
        ),
        [("main.cfn.yaml", &template(&[("Thing", "AWS::SQS::Queue", "")]))],
    )
}

/// A stack that takes what another gives, and takes only some values.
fn picky(allowed: &str) -> Platform {
    parts(
        "  steps:\n    - { name: main, stack: { template: main.cfn.yaml } }\n    \
         - { name: size, stack: { template: size.cfn.yaml, parameters: { Size: \"${steps.main.outputs.Size}\" } } }\n",
        [
            (
                "main.cfn.yaml",
                "Resources: { Thing: { Type: AWS::SQS::Queue } }\nOutputs: { Size: { Value: made-up } }\n",
            ),
            (
                "size.cfn.yaml",
                &format!(
                    "Parameters: {{ Size: {{ Type: String, AllowedValues: [{allowed}] }} }}\nResources: {{ Table: {{ Type: AWS::DynamoDB::Table }} }}\n"
                ),
            ),
        ],
    )
}

fn generated_secret() -> Platform {
    parts(
        "  steps:\n    - { name: who, check: { dns: { name: acme.example }, within: 30s } }\n    - { name: token, after: [who], secret: { recoveryDays: 0 } }\n",
        [],
    )
}

/// Each way a run can end badly.
pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(stacks());
    all.extend(in_the_demo());
    all.extend(objects());
    all.extend(leaving());
    all.extend(around());
    all
}

fn stacks() -> Vec<Case> {
    let refused = REFUSED.iter().map(|(name, kind)| {
        Case::new(name, one(kind), Fault::usual_reason(kind), "Thing").fault(limit(STACK, "Thing"))
    });
    let not_made = NOT_MADE.iter().map(|(name, kind, reason)| {
        Case::new(name, one(kind), *reason, "Thing").fault(fails(STACK, "Thing", reason))
    });
    let not_gone = NOT_GONE.iter().map(|(name, kind, reason)| {
        Case::new(name, one(kind), *reason, "Thing")
            .destroying()
            .every_time(&delete_fails(STACK, "Thing", reason))
    });
    let mut all: Vec<Case> = refused.chain(not_made).chain(not_gone).collect();
    let role =
        "The role defined for the function cannot be assumed by Lambda. (Service: Lambda, Status Code: 400)";
    let before = plain(&[("Thing", "AWS::DynamoDB::Table", "TableName: orders")]);
    let after = plain(&[(
        "Thing",
        "AWS::DynamoDB::Table",
        "TableName: orders, BillingMode: PROVISIONED",
    )]);
    let change = "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. (Service: DynamoDb, Status Code: 400)";
    let group = |name: &str| plain(&[("Thing", "AWS::Logs::LogGroup", &format!("LogGroupName: {name}"))]);
    all.extend([
        Case::new(
            "function_role_never_assumed",
            one("AWS::Lambda::Function"),
            role,
            "Thing",
        )
        .every_time(&fails(STACK, "Thing", role)),
        Case {
            log_groups: vec!["/acme/app"],
            ..Case::new("log_group_exists", group("/acme/app"), "already exists", "Thing")
                .then(Then::Writes(group("/acme/other")))
        },
        Case::new("update_refused", after.clone(), change, "Thing")
            .over(before.clone())
            .fault(fails(STACK, "Thing", change)),
        Case::new(
            "update_and_its_rollback_fail",
            after,
            "Table is in use by an import",
            "Thing",
        )
        .over(before)
        .fault(fails(STACK, "Thing", change))
        .fault(Fault::RollbackFails {
            stack: STACK.to_owned(),
            reason: "Table is in use by an import".to_owned(),
        }),
        Case::new(
            "creation_and_its_rollback_fail",
            one("AWS::RDS::DBInstance"),
            "DB Instance quota exceeded",
            "Thing",
        )
        .fault(limit(STACK, "Thing"))
        .fault(Fault::RollbackFails {
            stack: STACK.to_owned(),
            reason: "Instance is not in available state.".to_owned(),
        }),
        Case {
            command: Command::DestroyThenApply,
            ..Case::new(
                "apply_over_a_teardown_that_failed",
                one("AWS::S3::Bucket"),
                NOT_GONE[0].2,
                "Thing",
            )
            .destroying()
            .every_time(&delete_fails(STACK, "Thing", NOT_GONE[0].2))
            .then(Then::FinishesTheTeardown)
        },
        Case::new(
            "change_set_refused",
            picky("small, large"),
            "must be one of [small, large]",
            "Size",
        )
        .then(Then::Writes(picky("small, acme-parts-main-Size"))),
        Case::new(
            "stack_deleted_by_somebody_right_after",
            one("AWS::SQS::Queue"),
            "somebody else deleted it",
            STACK,
        )
        .fault(Fault::OutputsAppearLate {
            stack: STACK.to_owned(),
            millis: 5 * MINUTE,
        })
        .fault(Fault::HumanDeletes {
            target: Target::Stack {
                name: STACK.to_owned(),
            },
            millis: 2 * MINUTE,
        }),
    ]);
    all
}

/// The demo of `landfall up cluster`: everything, with one thing going wrong.
fn in_the_demo() -> Vec<Case> {
    let demo = Platform::demo;
    let usual = Fault::usual_reason;
    let subnet = "The CIDR '10.52.16.0/24' conflicts with another subnet (Service: Ec2, Status Code: 400)";
    let joined = "Resource handler returned message: \"[Issue(Code=NodeCreationFailure, Message=Instances failed to join the kubernetes cluster, ResourceIds=[i-01ffcdfb2f4d5670f])] (Service: null, Status Code: 0)\"";
    let (vpc, eks, nodes) = (
        "acme-dev-network-vpc",
        "acme-dev-cluster-eks",
        "acme-dev-nodes-group",
    );
    let mut all = vec![
        Case::new("vpc_quota", demo(), usual("AWS::EC2::VPC"), "Vpc").fault(limit(vpc, "Vpc")),
        Case::new("internet_gateway_quota", demo(), usual("AWS::EC2::InternetGateway"), "Gateway").fault(limit(vpc, "Gateway")),
        Case::new("subnet_range_taken", demo(), subnet, "SubnetA").fault(fails(vpc, "SubnetA", subnet)),
        Case::new("security_group_quota", demo(), usual("AWS::EC2::SecurityGroup"), "ControlPlaneGroup")
            .fault(limit(eks, "ControlPlaneGroup")),
        Case::new("cluster_zone_has_no_room", demo(), usual("AWS::EKS::Cluster"), "Cluster").fault(limit(eks, "Cluster")),
        Case::new("cluster_add_on_denied", demo(), usual("AWS::EKS::Addon"), "Volumes").fault(limit(eks, "Volumes")),
        Case::new("machines_quota", demo(), usual("AWS::EKS::Nodegroup"), "Group").fault(limit(nodes, "Group")),
        Case::new("machines_do_not_join", demo(), joined, "Group").fault(fails(nodes, "Group", joined)),
        Case::new("shop_image_cannot_be_pulled", demo(), "registry.example/shop:1", "shop/web")
            .fault(no_image("Deployment/web", "registry.example/shop:1")),
        Case::new("load_balancer_controller_does_not_start", demo(), "aws-load-balancer-controller:1", "aws-load-balancer-controller")
            .fault(no_image("Deployment/aws-load-balancer-controller", "registry.example/aws-load-balancer-controller:1")),
        Case::new("argo_does_not_start", demo(), "CrashLoopBackOff", "argocd-application-controller")
            .fault(never_ready("Deployment/argocd-application-controller", "CrashLoopBackOff: back-off 5m0s restarting failed container=controller")),
        Case::new("karpenter_does_not_start", demo(), "403", "karpenter").fault(never_ready(
            "Deployment/karpenter",
            "CrashLoopBackOff: the last words were: AccessDenied, not authorized to perform: ec2:DescribeInstanceTypes, status code: 403",
        )),
        Case::new("what_is_applied_is_deleted_by_somebody", demo(), "somebody deleted it since it was applied", "shop/web")
            .fault(no_image("Deployment/web", "registry.example/shop:1"))
            .fault(Fault::HumanDeletes {
                target: Target::Object {
                    cluster: "acme-dev".to_owned(),
                    kind: "Deployment".to_owned(),
                    namespace: "shop".to_owned(),
                    name: "web".to_owned(),
                },
                millis: 20 * MINUTE,
            }),
    ];
    all.extend(PODS.iter().map(|(name, reason)| {
        // The word in front of a reason is told apart from what it is about.
        let says = reason.split_once(": ").map_or(*reason, |(_, words)| words);
        Case::new(name, demo(), says, "shop/web").fault(never_ready("Deployment/web", reason))
    }));
    all
}

/// What clusters refuse or lack.
fn objects() -> Vec<Case> {
    let shop = uses("shop", "shop");
    let ingress = uses("ingress", "ingress-controller");
    let whole = cluster(&(ingress.clone() + &shop));
    let no_machines = {
        let mut platform =
            cluster(&(ingress.clone() + &shop).replace("components.nodes", "components.cluster"));
        let without = |line: &&str| !line.starts_with("    nodes: ");
        platform.text = platform
            .text
            .lines()
            .filter(without)
            .map(|line| format!("{line}\n"))
            .collect();
        platform
    };
    let typo = {
        let mut platform = whole.clone();
        let from = platform
            .text
            .rfind("\"${components.nodes.clusterName}\"")
            .expect("the shop names its cluster");
        platform.text.replace_range(from.., "acmee } }\n");
        platform
    };
    vec![
        Case::new(
            "no_load_balancer_controller",
            cluster(&shop),
            "there is no IngressClass `alb`",
            "shop/web",
        )
        .then(Then::Writes(whole.clone())),
        Case::new("no_machines", no_machines, "no nodes available", "").then(Then::Writes(whole.clone())),
        Case::new(
            "no_volume_driver",
            without_volumes(),
            "unbound immediate PersistentVolumeClaims",
            "shop/web",
        )
        .then(Then::Writes(whole.clone())),
        Case::new("cluster_name_mistyped", typo, "no cluster of this name", "acmee")
            .then(Then::Writes(whole.clone())),
        Case::new(
            "kind_not_defined",
            manifest(WIDGET),
            "no matches for kind",
            "default/first",
        )
        .then(Then::Writes(manifest(&format!("{WIDGETS}---\n{WIDGET}")))),
        Case::new(
            "definition_never_established",
            manifest(&format!("{WIDGETS}---\n{WIDGET}")),
            "its condition Established is not there yet",
            "widgets.factory.example.com",
        )
        .fault(Fault::CrdLate {
            kind: "Widget".to_owned(),
            millis: 15 * MINUTE,
        }),
        Case::new(
            "webhook_does_not_answer",
            gated(WEBHOOK),
            "failed calling webhook",
            "kube-system/landfall.acme.own.settings",
        )
        .then(Then::Writes(gated(&format!("{WEBHOOK}---\n{GATE}")))),
        Case::new(
            "namespace_missing",
            manifest(ELSEWHERE),
            "namespaces \"team\" not found",
            "team/settings",
        )
        .then(Then::Writes(manifest(&format!("{TEAM}{ELSEWHERE}")))),
        Case::new(
            "output_not_there",
            telling("data.size"),
            "`data.size` is not in it",
            "settings",
        )
        .then(Then::Writes(telling("data.colour"))),
        Case::new(
            "load_balancer_not_in_time",
            hurried("30s"),
            "there is no IngressClass `alb`",
            "default/web",
        )
        .then(Then::Writes(hurried("15m"))),
        Case::new(
            "what_is_not_wanted_any_more_hangs",
            manifest(CONFIG),
            "books.example.com/keep",
            "default/ledger",
        )
        .over(manifest(&format!("{CONFIG}---\n{HELD}")))
        .then(Then::Frees([
            "acme",
            "ConfigMap",
            "default",
            "ledger",
            "books.example.com/keep",
        ])),
        Case::new(
            "namespace_still_going",
            whole.clone(),
            "object is being deleted",
            "shop",
        )
        .over(whole)
        .fault(Fault::NamespaceStuck {
            namespace: "shop".to_owned(),
            finalizer: "example.com/hook".to_owned(),
        })
        .fault(Fault::HumanDeletes {
            target: Target::Object {
                cluster: "acme".to_owned(),
                kind: "Namespace".to_owned(),
                namespace: String::new(),
                name: "shop".to_owned(),
            },
            millis: 0,
        })
        .then(Then::Frees(["acme", "Namespace", "", "shop", "example.com/hook"])),
    ]
}

/// What does not go.
fn leaving() -> Vec<Case> {
    let demo = Platform::demo;
    let (vpc, eks, nodes) = (
        "acme-dev-network-vpc",
        "acme-dev-cluster-eks",
        "acme-dev-nodes-group",
    );
    let stays =
        "The vpc 'vpc-0f3a1c2b' has dependencies and cannot be deleted. (Service: Ec2, Status Code: 400)";
    let subnet = "The subnet 'subnet-0f3a1c2b' has dependencies and cannot be deleted. (Service: Ec2, Status Code: 400)";
    let public = "Network vpc-0f3a1c2b has some mapped public address(es). Please unmap those public address(es) before detaching the gateway. (Service: Ec2, Status Code: 400)";
    let attached = "Cluster has nodegroups attached (Service: Eks, Status Code: 409)";
    let denied = "User: arn:aws:sts::111122223333:assumed-role/deployer/you is not authorized to perform: eks:DeleteNodegroup because no identity-based policy allows the eks:DeleteNodegroup action";
    vec![
        Case::new("network_has_dependencies", demo(), stays, "Vpc")
            .destroying()
            .every_time(&delete_fails(vpc, "Vpc", stays)),
        Case::new("subnet_has_dependencies", demo(), subnet, "SubnetB")
            .destroying()
            .every_time(&delete_fails(vpc, "SubnetB", subnet)),
        Case::new("network_has_public_addresses", demo(), public, "Attachment")
            .destroying()
            .every_time(&delete_fails(vpc, "Attachment", public)),
        Case::new("cluster_has_other_node_groups", demo(), attached, "Cluster")
            .destroying()
            .every_time(&delete_fails(eks, "Cluster", attached)),
        Case::new("removing_machines_not_allowed", demo(), denied, "Group")
            .destroying()
            .every_time(&delete_fails(nodes, "Group", denied)),
        Case::new("namespace_has_a_finalizer", demo(), "example.com/hook", "shop")
            .destroying()
            .fault(Fault::NamespaceStuck {
                namespace: "shop".to_owned(),
                finalizer: "example.com/hook".to_owned(),
            })
            .then(Then::Frees([
                "acme-dev",
                "Namespace",
                "",
                "shop",
                "example.com/hook",
            ])),
        Case::new(
            "finalizer_of_nobody_known",
            manifest(HELD),
            "books.example.com/keep",
            "default/ledger",
        )
        .destroying()
        .then(Then::Frees([
            "acme",
            "ConfigMap",
            "default",
            "ledger",
            "books.example.com/keep",
        ])),
    ]
}

/// What goes wrong around a run: calls, credentials, checks, sweeps.
fn around() -> Vec<Case> {
    let burst = Fault::ThrottlingBurst {
        millis: 20_000,
        for_millis: 40 * MINUTE,
    };
    vec![
        Case::new(
            "throttled_for_too_long",
            one("AWS::RDS::DBInstance"),
            "Rate exceeded",
            STACK,
        )
        .fault(burst),
        Case::new(
            "throttled_for_too_long_while_destroying",
            one("AWS::RDS::DBInstance"),
            "Rate exceeded",
            "acme-parts-next",
        )
        .destroying()
        .fault(Fault::ThrottlingBurst {
            millis: 2_000,
            for_millis: 25 * MINUTE,
        }),
        Case::new(
            "secret_throttled_for_too_long",
            generated_secret(),
            "Rate exceeded",
            "acme-parts-token",
        )
        .fault(Fault::ThrottlingBurst {
            millis: 1_500,
            for_millis: 40 * MINUTE,
        }),
        Case::new(
            "credentials_of_another_account",
            identity("account: \"999900001111\""),
            "sts:GetCallerIdentity says account 111122223333",
            "arn:aws",
        )
        .then(Then::Writes(identity("account: \"111122223333\""))),
        Case::new(
            "credentials_too_short",
            identity("account: \"111122223333\", minimumLifetime: 1h"),
            "they expire in",
            "arn:aws",
        )
        .fault(Fault::CredentialsExpireAt { millis: 30 * MINUTE }),
        Case::new(
            "controller_does_not_get_there",
            Platform::demo(),
            "currently in use",
            "eni-",
        )
        .destroying()
        .fault(Fault::InterfacesLinger { millis: 90 * MINUTE })
        .then(Then::Waits(120)),
        Case::new(
            "interfaces_never_go",
            cluster(&(uses("ingress", "ingress-controller") + &uses("shop", "shop"))),
            "currently in use",
            "eni-",
        )
        .destroying()
        .fault(Fault::LoadBalancerLeftover)
        .fault(Fault::InterfacesLinger { millis: 90 * MINUTE })
        .then(Then::Waits(120)),
    ]
}

/// What must not end a run.
pub(super) fn passing() -> Vec<Passing> {
    let (eks, vpc) = ("acme-dev-cluster-eks", "acme-dev-network-vpc");
    let applying = |name, platform, fault| Passing {
        name,
        platform,
        destroying: false,
        faults: vec![fault],
    };
    let leaving = |name, fault| Passing {
        name,
        platform: Platform::demo(),
        destroying: true,
        faults: vec![fault],
    };
    let demo = Platform::demo;
    vec![
        applying(
            "some calls are throttled",
            demo(),
            Fault::Throttling { calls: 60 },
        ),
        applying(
            "all calls are throttled for five minutes",
            demo(),
            Fault::ThrottlingBurst {
                millis: 2 * MINUTE,
                for_millis: 5 * MINUTE,
            },
        ),
        applying(
            "the answer to a creation is lost",
            demo(),
            Fault::CreateTimesOutButSucceeds {
                stack: eks.to_owned(),
            },
        ),
        applying(
            "a role can be assumed late",
            demo(),
            Fault::IamVisibleLate { millis: 40_000 },
        ),
        applying(
            "outputs are shown late",
            demo(),
            Fault::OutputsAppearLate {
                stack: vpc.to_owned(),
                millis: 20_000,
            },
        ),
        applying(
            "a definition is established late",
            manifest(&format!("{WIDGETS}---\n{WIDGET}")),
            Fault::CrdLate {
                kind: "Widget".to_owned(),
                millis: MINUTE,
            },
        ),
        applying(
            "a webhook warms up",
            manifest(&format!(
                "{WIDGETS}---\n{GATE}---\n{}---\n{WIDGET}",
                WEBHOOK
                    .replace("apiGroups: [\"\"]", "apiGroups: [factory.example.com]")
                    .replace("[configmaps]", "[widgets]")
            )),
            Fault::OutputsAppearLate {
                stack: "acme-network-vpc".to_owned(),
                millis: 5_000,
            },
        ),
        applying(
            "the credentials expire and are renewed",
            demo(),
            Fault::CredentialsExpireAt { millis: 5 * MINUTE },
        ),
        applying(
            "guardduty makes an endpoint",
            demo(),
            Fault::GuardDutyEndpoint {
                network: vpc.to_owned(),
            },
        ),
        leaving(
            "interfaces linger",
            Fault::InterfacesLinger { millis: 8 * MINUTE },
        ),
        leaving("a volume is left over", Fault::VolumeLeftover),
        leaving("a load balancer is left over", Fault::LoadBalancerLeftover),
        leaving("a machine is left over", Fault::NodeLeftover),
        leaving(
            "the credentials expire while destroying",
            Fault::CredentialsExpireAt { millis: 3 * MINUTE },
        ),
        leaving(
            "a deletion fails once",
            delete_fails(
                vpc,
                "SubnetA",
                "The subnet 'subnet-0f3a1c2b' has dependencies and cannot be deleted.",
            ),
        ),
    ]
}
