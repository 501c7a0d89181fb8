//! What Landfall itself asks of an account, whatever the resources are. Each entry is a call somewhere in the
//! crate `aws`.

use landfall_cloudformation::resolve::partition;
use landfall_model::wanted::Facts;
use landfall_model::work::{Known, StackSetWork, StackWork, Step, TAG_PLATFORM, Targets, Work};

use crate::Wants;
use crate::facts::type_facts;
use crate::grant::{Condition, Grant};
use crate::names::{Made, Names};
use crate::read_only;

/// The role of stack sets that AWS's guide has everybody make (source: CloudFormation User Guide, "Grant
/// self-managed permissions").
const ADMINISTRATION_ROLE: &str = "AWSCloudFormationStackSetAdministrationRole";

const OBJECTS: &str = "arn:${Partition}:s3:::${}/";

/// Everything Landfall does itself.
pub(crate) fn grants(wants: &Wants<'_>, names: &Names<'_>) -> Vec<Grant> {
    let mut grants = vec![
        // Whose credentials these are. IAM lets everybody ask; service control policies may not.
        Grant::new("sts:GetCallerIdentity", "*").purpose("WhoAmI"),
        // Whatever the platform file says, what carries the platform's tags is looked for.
        Grant::new("cloudformation:DescribeStacks", "*").purpose("FindWhatStands"),
        Grant::new("secretsmanager:ListSecrets", "*").purpose("FindWhatStands"),
    ];
    // What is asked before the first change. What cannot be asked is said, and keeps nothing from being done.
    for action in [
        "iam:GetRole",
        "iam:SimulatePrincipalPolicy",
        "servicequotas:GetAWSDefaultServiceQuota",
        "servicequotas:GetServiceQuota",
    ] {
        grants.push(Grant::new(action, "*").purpose("AskBefore"));
    }
    for step in wants.steps {
        match &step.work {
            Work::Stack(work) => grants.extend(stack(step, work)),
            Work::StackSet(work) => grants.extend(stack_set(step, work, names)),
            Work::Secret(secret) => {
                let arn = arn(step, "secretsmanager", &format!("secret:{}-*", secret.name));
                for action in ["CreateSecret", "RestoreSecret", "TagResource"] {
                    let action = format!("secretsmanager:{action}");
                    grants.push(Grant::new(&action, &arn).purpose("KeepSecrets"));
                }
                if wants.destroy {
                    grants.push(Grant::new("secretsmanager:DeleteSecret", &arn).purpose("KeepSecrets"));
                }
                // A secret that is not there yet has no ARN: it is asked for by name, which no ARN fits.
                for action in ["DescribeSecret", "GetRandomPassword"] {
                    grants.push(Grant::new(&format!("secretsmanager:{action}"), "*").purpose("MakeSecrets"));
                }
            }
            Work::Check(Known::Value(check)) => {
                grants.extend(read_only::of_check(step, check));
                if let Some(connection) = &check.connection {
                    grants.extend(cluster(step, &Known::Value(connection.cluster.clone()), names));
                }
            }
            Work::Request(work) => grants.extend(read_only::of_request(step, work)),
            Work::Objects(work) => grants.extend(cluster(step, &work.cluster, names)),
            Work::Check(_) | Work::Files(_) | Work::Entity(_) => {}
        }
    }
    for (_, work, made) in stacks(wants, names) {
        grants.extend(templates(
            wants,
            work.artifact_bucket.as_ref(),
            work.template.len(),
            names,
        ));
        if wants.destroy {
            grants.extend(emptied(work, made, names));
        }
    }
    grants.extend(records(wants));
    if wants.destroy {
        grants.extend(teardown(wants, names));
    }
    grants
}

/// Where a cluster answers. What may be done inside is up to the cluster (access entries), not to IAM.
fn cluster(step: &Step, name: &Known<String>, names: &Names<'_>) -> Vec<Grant> {
    let arns = match name {
        Known::Value(name) => vec![arn(step, "eks", &format!("cluster/{name}"))],
        Known::After(_) => names.or_any("arn:${Partition}:eks:${Region}:${Account}:cluster/${}", step),
    };
    let mut grants = vec![Grant::new("eks:ListClusters", "*").purpose("ReachClusters")];
    grants.extend(
        arns.into_iter()
            .map(|arn| Grant::new("eks:DescribeCluster", arn).purpose("ReachClusters")),
    );
    grants
}

/// The platform's stacks, with their templates filled in.
pub(crate) fn stacks<'a>(
    wants: &'a Wants<'a>,
    names: &'a Names<'a>,
) -> impl Iterator<Item = (&'a Step, &'a StackWork, &'a Made<'a>)> {
    let works = wants.steps.iter().filter_map(|step| match &step.work {
        Work::Stack(work) => Some((step, &**work)),
        _ => None,
    });
    works
        .zip(&names.made)
        .map(|((step, work), made)| (step, work, made))
}

pub(crate) fn arn_in(step: &Step, region: &str, service: &str, rest: &str) -> String {
    let account = &step.facts.account;
    format!("arn:{}:{service}:{region}:{account}:{rest}", partition(region))
}

pub(crate) fn arn(step: &Step, service: &str, rest: &str) -> String {
    arn_in(step, &step.facts.region, service, rest)
}

fn stack(step: &Step, work: &StackWork) -> Vec<Grant> {
    let arn = arn_in(
        step,
        &work.region,
        "cloudformation",
        &format!("stack/{}/*", work.name),
    );
    let own = [
        "ContinueUpdateRollback",
        "CreateChangeSet",
        "DeleteChangeSet",
        "DeleteStack",
        "DescribeChangeSet",
        "DescribeStackEvents",
        "DescribeStackResource",
        "ExecuteChangeSet",
        "GetTemplate",
        "ListStackResources",
        "TagResource",
        "UntagResource",
        "UpdateTerminationProtection",
    ];
    let mut grants: Vec<Grant> = own
        .iter()
        .map(|action| Grant::new(&format!("cloudformation:{action}"), &arn).purpose("OwnStacks"))
        .collect();
    if let Some(existing) = &work.existing {
        let host = existing
            .oidc_provider
            .url
            .trim_start_matches("https://")
            .trim_end_matches('/');
        let arn = arn_in(step, "", "iam", &format!("oidc-provider/{host}"));
        grants.push(Grant::new("iam:GetOpenIDConnectProvider", arn).purpose("FindIdentityProviders"));
    }
    grants
}

fn stack_set(step: &Step, work: &StackSetWork, names: &Names<'_>) -> Vec<Grant> {
    let own = [
        "CreateStackInstances",
        "DeleteStackInstances",
        "DeleteStackSet",
        "DescribeStackSet",
        "DescribeStackSetOperation",
        "ListStackInstances",
        "ListStackSetOperationResults",
        "ListStackSetOperations",
        "TagResource",
        "UntagResource",
        "UpdateStackSet",
    ];
    let name = &work.name;
    let arns = [
        arn(step, "cloudformation", &format!("stackset/{name}:*")),
        // Where it goes is a resource of its own to IAM.
        arn(step, "cloudformation", &format!("stackset-target/{name}:*")),
        format!(
            "arn:{}:cloudformation:*::type/resource/*",
            partition(&work.region)
        ),
    ];
    let mut grants = Vec::new();
    for action in own {
        for arn in &arns {
            let instances = action.contains("StackInstances") || action == "UpdateStackSet";
            if instances || arn.contains(":stackset/") {
                grants.push(Grant::new(&format!("cloudformation:{action}"), arn).purpose("OwnStackSets"));
            }
        }
    }
    grants.push(Grant::new("cloudformation:ListStackSets", "*").purpose("FindWhatStands"));
    // It has no ARN before it is there.
    grants.push(Grant::new("cloudformation:CreateStackSet", "*").purpose("MakeStackSets"));
    if let Targets::Accounts {
        administration_role, ..
    } = &work.targets
    {
        let usual = || vec![arn_in(step, "", "iam", &format!("role/{ADMINISTRATION_ROLE}"))];
        let roles = match administration_role {
            None => usual(),
            Some(Known::Value(role)) => vec![role.clone()],
            Some(Known::After(_)) => names.or_any("arn:${Partition}:iam::${Account}:role/${}", step),
        };
        for role in roles {
            grants.push(
                Grant::new("iam:PassRole", role).when(Condition::passed_to("cloudformation.amazonaws.com")),
            );
        }
    }
    grants
}

/// Templates that do not fit into a request go through a bucket, and CloudFormation reads them from there.
fn templates(
    wants: &Wants<'_>,
    bucket: Option<&Known<String>>,
    length: usize,
    names: &Names<'_>,
) -> Vec<Grant> {
    let Some(bucket) = bucket.filter(|_| length > landfall_cloudformation::INLINE_LIMIT) else {
        return Vec::new();
    };
    let arns = bucket_arns(wants, bucket, OBJECTS, names);
    let pairs = arns.into_iter().flat_map(|arn| {
        ["s3:GetObject", "s3:PutObject"]
            .map(|action| Grant::new(action, format!("{arn}landfall/templates/*")).purpose("LargeTemplates"))
    });
    pairs.collect()
}

fn bucket_arns(wants: &Wants<'_>, bucket: &Known<String>, form: &str, names: &Names<'_>) -> Vec<String> {
    match bucket {
        Known::Value(name) => {
            let partition = partition(&wants.platform.region);
            vec![form.replace("${Partition}", partition).replace("${}", name)]
        }
        Known::After(_) => match wants.steps.first() {
            Some(step) => names.or_any(form, step),
            None => Vec::new(),
        },
    }
}

/// Buckets that are emptied before their stack goes.
fn emptied(work: &StackWork, made: &Made<'_>, names: &Names<'_>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for id in &work.empty {
        let Some(bucket) = made.resolved.resources.get(id) else {
            continue;
        };
        let forms = type_facts(&bucket.kind).map_or(&[] as &[String], |facts| &facts.arn);
        for arn in forms.iter().flat_map(|form| made.arns(form, id, bucket, names)) {
            grants.push(Grant::new("s3:ListBucketVersions", &arn));
            for action in ["s3:DeleteObject", "s3:DeleteObjectVersion"] {
                grants.push(Grant::new(action, format!("{arn}/*")).purpose("EmptyBuckets"));
            }
        }
    }
    grants
}

/// The records, below the place that `app` keeps them in.
fn records(wants: &Wants<'_>) -> Vec<Grant> {
    let Some(bucket) = wants.records else {
        return Vec::new();
    };
    let Facts {
        name,
        account,
        region,
        ..
    } = wants.platform;
    let arn = format!("arn:{}:s3:::{bucket}", partition(region));
    let mut grants = vec![Grant::new("s3:ListBucket", &arn).purpose("FindRecords")];
    for action in ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"] {
        let records = format!("{arn}/landfall/{name}.{account}.{region}/*");
        grants.push(Grant::new(action, records).purpose("KeepRecords"));
    }
    grants
}

/// Searching for what is left over, and sweeping it.
fn teardown(wants: &Wants<'_>, names: &Names<'_>) -> Vec<Grant> {
    let look = [
        "ec2:DescribeAddresses",
        "ec2:DescribeFlowLogs",
        "ec2:DescribeInstances",
        "ec2:DescribeInternetGateways",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNatGateways",
        "ec2:DescribeNetworkAcls",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeRouteTables",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSnapshots",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
        "ec2:DescribeVpcEndpoints",
        "ec2:DescribeVpcs",
        "eks:DescribeCluster",
        "eks:DescribeNodegroup",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetGroups",
        "kms:DescribeKey",
        "logs:DescribeLogGroups",
        "logs:ListTagsForResource",
        "secretsmanager:DescribeSecret",
        "tag:GetResources",
    ];
    let mut grants: Vec<Grant> = look
        .iter()
        .map(|action| Grant::new(action, "*").purpose("SearchLeftovers"))
        .collect();
    let Some(step) = wants.steps.first() else {
        return grants;
    };
    let sweep = [
        ("ec2:DeleteLaunchTemplate", "ec2", "launch-template/*"),
        ("ec2:DeleteNatGateway", "ec2", "natgateway/*"),
        ("ec2:DeleteNetworkInterface", "ec2", "network-interface/*"),
        ("ec2:DeleteSecurityGroup", "ec2", "security-group/*"),
        ("ec2:DeleteVolume", "ec2", "volume/*"),
        ("ec2:DeleteVpcEndpoints", "ec2", "vpc-endpoint/*"),
        ("ec2:RevokeSecurityGroupEgress", "ec2", "security-group/*"),
        ("ec2:RevokeSecurityGroupIngress", "ec2", "security-group/*"),
        ("ec2:TerminateInstances", "ec2", "instance/*"),
        (
            "elasticloadbalancing:DeleteLoadBalancer",
            "elasticloadbalancing",
            "loadbalancer/*",
        ),
        (
            "elasticloadbalancing:DeleteTargetGroup",
            "elasticloadbalancing",
            "targetgroup/*",
        ),
        ("logs:DeleteLogGroup", "logs", "log-group:*"),
    ];
    // Controllers of a cluster mark what they make with tags of their own, and what stands in a network need
    // not be marked at all. Without either, everything that is swept carries the platform's tag.
    let only_ours = !names.make("AWS::EKS::Cluster") && !names.make("AWS::EC2::VPC");
    for (action, service, rest) in sweep {
        let grant = Grant::new(action, arn(step, service, rest)).purpose("SweepLeftovers");
        grants.push(match only_ours {
            true => grant.when(Condition::tagged(TAG_PLATFORM, &wants.platform.name)),
            false => grant,
        });
    }
    grants
}
