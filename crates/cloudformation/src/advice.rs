//! The next thing to do, from the type of a resource and what AWS said when it failed. Decides by words, as a
//! person does who has seen the message before; says nothing where it would have to guess.
//!
//! Codes of quotas are those of Service Quotas (source: `aws service-quotas list-aws-default-service-quotas`,
//! as kept in tedilabs/terraform-aws-account, modules/service-quota-requests/locals.tf, and in the AWS docs
//! of each service). A quota without a code here is named in words.

/// One thing AWS says, and what to do about it.
struct Advice {
    /// What the type of the resource begins with; empty for any.
    kind: &'static str,
    /// What the message contains, all of it, in small letters.
    says: &'static [&'static str],
    /// What to do.
    then: Then,
}

/// What to do about it.
enum Then {
    /// What is said here.
    Do(&'static str),
    /// This quota is reached: its name, service and code.
    Raise(&'static str, &'static str, &'static str),
    /// What follows from the message.
    Tell(fn(&str) -> String),
}

/// The first that fits counts: the special before the general.
const ADVICE: &[Advice] = &[
    // Quotas. Source: EC2 API Reference, "Error codes" (VpcLimitExceeded, AddressLimitExceeded,
    // InternetGatewayLimitExceeded, SecurityGroupLimitExceeded, NatGatewayLimitExceeded, VcpuLimitExceeded).
    Advice {
        kind: "",
        says: &["maximum number of vpcs"],
        then: Then::Raise("VPCs per Region", "vpc", "L-F678F1CE"),
    },
    Advice {
        kind: "",
        says: &["maximum number of addresses"],
        then: Then::Raise("EC2-VPC Elastic IPs", "ec2", "L-0263D0A3"),
    },
    // Source: Amazon VPC User Guide, "Amazon VPC quotas": it follows the quota of VPCs.
    Advice {
        kind: "",
        says: &["maximum number of internet gateways"],
        then: Then::Raise(
            "VPCs per Region (internet gateways follow it)",
            "vpc",
            "L-F678F1CE",
        ),
    },
    Advice {
        kind: "",
        says: &["maximum number of security groups"],
        then: Then::Raise("VPC security groups per Region", "vpc", "L-E79EC296"),
    },
    Advice {
        kind: "AWS::EC2::NatGateway",
        says: &["exceed the limit"],
        then: Then::Raise("NAT gateways per Availability Zone", "vpc", "L-FE5A380F"),
    },
    Advice {
        kind: "",
        says: &["more vcpu capacity than your current vcpu limit"],
        then: Then::Raise(
            "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
            "ec2",
            "L-1216C47A",
        ),
    },
    // Source: EC2 Auto Scaling, activity messages of new accounts; github.com/aws/karpenter-provider-aws issues.
    Advice {
        kind: "",
        says: &["quota for maximum fleet requests"],
        then: Then::Do(
            "AWS limits how many instances this account may launch, as it does with new accounts: open a case with AWS Support \
             (`aws support create-case`, or the Support Center: service limit increase, EC2 Fleet)",
        ),
    },
    // Source: ELB API Reference, TooManyLoadBalancers.
    Advice {
        kind: "AWS::ElasticLoadBalancingV2::",
        says: &["maximum number of load balancers"],
        then: Then::Raise(
            "Application Load Balancers per Region (of network load balancers: L-69A177A2)",
            "elasticloadbalancing",
            "L-53DA6B97",
        ),
    },
    // Source: RDS API Reference, CreateDBInstance, InstanceQuotaExceeded.
    Advice {
        kind: "AWS::RDS::",
        says: &["instancequotaexceeded"],
        then: Then::Raise("DB instances", "rds", "L-7B6409FD"),
    },
    // Source: EKS API Reference, CreateCluster, ResourceLimitExceededException.
    Advice {
        kind: "AWS::EKS::Cluster",
        says: &["limit exceeded"],
        then: Then::Raise("Clusters", "eks", "L-1194D53C"),
    },
    // Source: S3 API Reference, "Error responses", TooManyBuckets.
    Advice {
        kind: "AWS::S3::Bucket",
        says: &["more buckets than allowed"],
        then: Then::Raise("General purpose buckets", "s3", "L-DC2B2D3D"),
    },
    // Source: DynamoDB Developer Guide, "Quotas", throughput decreases.
    Advice {
        kind: "AWS::DynamoDB::Table",
        says: &["provisioned throughput decreases are limited"],
        then: Then::Do(
            "a table's throughput may be lowered only a few times a day: wait until the next day begins in UTC, or leave the \
             throughput as it is",
        ),
    },
    // Source: CloudWatch Logs API Reference, CreateLogGroup, LimitExceededException.
    Advice {
        kind: "AWS::Logs::LogGroup",
        says: &["limit exceeded"],
        then: Then::Do(
            "the quota \"Log groups\" of CloudWatch Logs is reached: delete log groups nobody reads \
             (`aws logs describe-log-groups`), or raise it in Service Quotas",
        ),
    },
    // Names that are taken. Source: S3 API Reference, "Error responses", BucketAlreadyExists.
    Advice {
        kind: "AWS::S3::Bucket",
        says: &["bucket name is not available"],
        then: Then::Do(BUCKET_TAKEN),
    },
    Advice {
        kind: "AWS::S3::Bucket",
        says: &["already exists"],
        then: Then::Do(BUCKET_TAKEN),
    },
    // Source: CloudFormation events of types with handlers (AlreadyExists), as seen in aws/aws-cdk issues.
    Advice {
        kind: "AWS::Logs::LogGroup",
        says: &["already exists"],
        then: Then::Tell(log_group_exists),
    },
    Advice {
        kind: "AWS::IAM::",
        says: &["already exists"],
        then: Then::Tell(role_exists),
    },
    // Source: EKS API Reference, CreateCluster, ResourceInUseException.
    Advice {
        kind: "AWS::EKS::Cluster",
        says: &["already exists"],
        then: Then::Do(
            "a cluster of this name stands in this account and region, made by hand or by another platform: \
             choose another name, or remove that cluster if it is a remainder (`aws eks list-clusters`)",
        ),
    },
    // Source: Cognito API Reference, CreateUserPoolDomain, InvalidParameterException.
    Advice {
        kind: "AWS::Cognito::UserPoolDomain",
        says: &["already associated with another user pool"],
        then: Then::Do(
            "domain prefixes of Cognito are shared by everybody in a region and this one is taken: choose another prefix in \
             the inputs, or remove the domain from the user pool that has it, if that is yours",
        ),
    },
    // Source: CloudFront Developer Guide, CNAMEAlreadyExists.
    Advice {
        kind: "AWS::CloudFront::",
        says: &["cnames you provided are already associated"],
        then: Then::Do(
            "another distribution, perhaps of another account, has this alternate domain name: take it off there, or find it \
             with `aws cloudfront list-conflicting-aliases` and move it with `aws cloudfront associate-alias`",
        ),
    },
    // Source: Secrets Manager API Reference, CreateSecret, InvalidRequestException.
    Advice {
        kind: "",
        says: &["secret with this name is already scheduled for deletion"],
        then: Then::Do(
            "a deleted secret keeps its name until its recovery window ends: restore it (`aws secretsmanager restore-secret`) \
             or end the window (`aws secretsmanager delete-secret --force-delete-without-recovery`)",
        ),
    },
    Advice {
        kind: "",
        says: &["already exists"],
        then: Then::Do(
            "something of this name exists outside the stack, made by hand or by another platform: remove it, or choose \
             another name in the inputs",
        ),
    },
    // Accounts and permissions. Source: CloudFront, new accounts (github.com/aws/aws-cdk issues).
    Advice {
        kind: "AWS::CloudFront::",
        says: &["account must be verified"],
        then: Then::Do(
            "AWS has to verify this account before CloudFront can be used in it: open a case with AWS Support (account and \
             billing) that asks for it; it usually takes a day",
        ),
    },
    // Source: IAM User Guide, "Troubleshoot access denied error messages".
    Advice {
        kind: "",
        says: &["is not authorized to perform"],
        then: Then::Tell(denied),
    },
    // Source: CloudFormation events of types with handlers, HandlerErrorCode AccessDenied.
    Advice {
        kind: "",
        says: &["access denied for operation"],
        then: Then::Do(
            "the role that applies may not do this, and CloudFormation does not say which call: find it among the denied ones in \
             CloudTrail's event history (`aws cloudtrail lookup-events`) and allow it",
        ),
    },
    Advice {
        kind: "",
        says: &["accessdenied"],
        then: Then::Do("give the role that applies the permission that the reason names"),
    },
    // Source: Lambda API Reference, CreateFunction, InvalidParameterValueException; EKS says the same of its roles.
    Advice {
        kind: "",
        says: &["cannot be assumed"],
        then: Then::Do(
            "IAM had not spread the new role yet, or its trust policy does not name the service: if it fails again, look at the \
             `AssumeRolePolicyDocument` of the role in the template",
        ),
    },
    // Capacity. Source: EKS User Guide, "Troubleshooting", Insufficient capacity; EKS API, UnsupportedAvailabilityZoneException.
    Advice {
        kind: "AWS::EKS::",
        says: &["the targeted availability zone"],
        then: Then::Tell(zone),
    },
    // Source: EC2 User Guide, "Troubleshoot instance launch issues", InsufficientInstanceCapacity.
    Advice {
        kind: "",
        says: &["do not have sufficient", "capacity"],
        then: Then::Do(
            "this zone has no room for this type of instance now: choose another type, or several, or zones that have it \
             (`aws ec2 describe-instance-type-offerings --location-type availability-zone`), or wait some minutes",
        ),
    },
    // Source: EKS User Guide, "Managed node group error codes" (NodeCreationFailure); aws/aws-cdk#8520.
    Advice {
        kind: "AWS::EKS::Nodegroup",
        says: &["failed to join the kubernetes cluster"],
        then: Then::Do(
            "the machines run and cannot reach the cluster: their subnets need a route to a NAT gateway (or public addresses, or \
             endpoints for EKS, ECR and S3), their role the policies AmazonEKSWorkerNodePolicy, AmazonEKS_CNI_Policy and \
             AmazonEC2ContainerRegistryReadOnly; `aws ec2 get-console-output` of a machine shows how far it came",
        ),
    },
    // Certificates. Source: ACM User Guide, "Troubleshoot DNS validation problems".
    Advice {
        kind: "AWS::CertificateManager::Certificate",
        says: &["timed out"],
        then: Then::Do(CERTIFICATE),
    },
    // What is in use. Source: CloudFormation User Guide, "Get exported outputs"; text as in aws/aws-cdk issues.
    Advice {
        kind: "",
        says: &["export ", "in use by"],
        then: Then::Tell(export),
    },
    // Source: EC2 API Reference, "Error codes", DependencyViolation.
    Advice {
        kind: "",
        says: &["vpc '", "has dependencies"],
        then: Then::Tell(|reason| stands_in(reason, "vpc-id")),
    },
    Advice {
        kind: "",
        says: &["subnet '", "has dependencies"],
        then: Then::Tell(|reason| stands_in(reason, "subnet-id")),
    },
    Advice {
        kind: "",
        says: &["has a dependent object"],
        then: Then::Tell(dependent),
    },
    Advice {
        kind: "",
        says: &["has some mapped public address"],
        then: Then::Do(
            "something in the network still has a public address (a load balancer, a NAT gateway, an instance): \
             `aws ec2 describe-addresses` and `aws elbv2 describe-load-balancers` show which; `landfall destroy` sweeps those of \
             the platform",
        ),
    },
    // Source: EKS API Reference, DeleteCluster, ResourceInUseException.
    Advice {
        kind: "AWS::EKS::Cluster",
        says: &["nodegroups attached"],
        then: Then::Do(
            "a node group that this platform does not know is in the cluster: remove it first (`aws eks list-nodegroups`, \
             `aws eks delete-nodegroup`)",
        ),
    },
    // Source: IAM API Reference, DeleteRole, DeleteConflict.
    Advice {
        kind: "AWS::IAM::",
        says: &["must detach all policies first"],
        then: Then::Do(
            "somebody attached a policy to the role by hand: find it with `aws iam list-attached-role-policies` and take it off with \
             `aws iam detach-role-policy`",
        ),
    },
    // Source: S3 API Reference, "Error responses", BucketNotEmpty.
    Advice {
        kind: "AWS::S3::Bucket",
        says: &["not empty"],
        then: Then::Do(
            "objects, or old versions of them, are in the bucket: save what is needed, empty it (`aws s3 rm --recursive`, and the \
             versions too, or \"Empty\" in the console), or name it in the step's `empty` so that Landfall does",
        ),
    },
    // Source: ECR API Reference, DeleteRepository, RepositoryNotEmptyException.
    Advice {
        kind: "AWS::ECR::Repository",
        says: &["still contains images"],
        then: Then::Do(
            "images are in the repository: remove them (`aws ecr batch-delete-image`), or set `EmptyOnDelete: true` in the template",
        ),
    },
    // Source: Route 53 API Reference, DeleteHostedZone, HostedZoneNotEmpty.
    Advice {
        kind: "AWS::Route53::HostedZone",
        says: &["non-required resource record sets"],
        then: Then::Do(
            "records that are not the stack's are in the zone, often made by external-dns or for a certificate: list them with \
             `aws route53 list-resource-record-sets` and delete all but NS and SOA",
        ),
    },
    // Source: CloudFront Developer Guide, "Delete Lambda@Edge functions and replicas".
    Advice {
        kind: "AWS::Lambda::",
        says: &["replicated function"],
        then: Then::Do(
            "CloudFront removes the function's replicas some hours after its distribution is gone, and nothing makes it faster: \
             wait that long",
        ),
    },
    // Source: RDS API Reference, DeleteDBInstance, InvalidParameterCombination.
    Advice {
        kind: "AWS::RDS::",
        says: &["cannot delete protected"],
        then: Then::Do(
            "the database is protected from deletion: if it may go, take a snapshot and run \
             `aws rds modify-db-instance --no-deletion-protection --apply-immediately --db-instance-identifier NAME`",
        ),
    },
    // Source: KMS Developer Guide, "Key states of AWS KMS keys", KMSInvalidStateException.
    Advice {
        kind: "",
        says: &["pending deletion"],
        then: Then::Tell(key_pending),
    },
    // Waiting. Source: S3 API Reference, OperationAborted.
    Advice {
        kind: "",
        says: &["conflicting conditional operation"],
        then: Then::Do(
            "S3 still works on a bucket of this name, often one that was deleted a moment ago: wait some minutes (up to an hour)",
        ),
    },
    // Source: CloudFormation User Guide, "Troubleshooting", WaitCondition.
    Advice {
        kind: "",
        says: &["waitcondition timed out"],
        then: Then::Do(
            "what should have signalled never did: read /var/log/cloud-init-output.log and /var/log/cfn-init.log of the instance, \
             and look whether it reaches the CloudFormation endpoint",
        ),
    },
    // Source: CloudFormation CLI User Guide, handler error codes, NotStabilized.
    Advice {
        kind: "",
        says: &["exceeded attempts to wait"],
        then: Then::Do(
            "it was made and never became well in the time CloudFormation allows: look at it in its own service (events, health \
             checks, logs) while it is tried again",
        ),
    },
    // Source: each service's API Reference, "Common Errors", Throttling.
    Advice {
        kind: "",
        says: &["rate exceeded"],
        then: Then::Do(
            "too many calls were made in this account at once, by whomever: wait some minutes, and look in CloudTrail who \
             calls so often if it stays",
        ),
    },
    // Templates and inputs. Source: CloudFormation events, schema validation, as in aws/aws-cdk issues.
    Advice {
        kind: "",
        says: &["properties validation failed"],
        then: Then::Do(
            "the template, or an input it takes, has a value that this type does not allow: mend what follows `#/`, which is the \
             path of the property",
        ),
    },
    // Source: EC2 API Reference, "Error codes", InvalidSubnet.Conflict.
    Advice {
        kind: "AWS::EC2::Subnet",
        says: &["conflicts with another subnet"],
        then: Then::Do(
            "the subnet's range overlaps one that stands in the network: `aws ec2 describe-subnets` lists the ranges; choose a free \
             one in the inputs",
        ),
    },
    // Source: IAM and AWS STS quotas; EC2 and DynamoDB API References: codes and words for any other limit.
    Advice {
        kind: "",
        says: &["limitexceeded"],
        then: Then::Do(LIMIT),
    },
    Advice {
        kind: "",
        says: &["quota"],
        then: Then::Do(LIMIT),
    },
    Advice {
        kind: "",
        says: &["limit exceeded"],
        then: Then::Do(LIMIT),
    },
];

const BUCKET_TAKEN: &str = "names of buckets are shared by everybody and somebody has this one: choose another name in the inputs; \
     if it is yours (`aws s3api head-bucket --bucket NAME` succeeds), it is a remainder: empty and remove it";

const CERTIFICATE: &str = "the CNAME that proves the domain is yours was not found in public DNS: while a certificate waits, \
     `aws acm describe-certificate --certificate-arn ARN --query Certificate.DomainValidationOptions` shows its name and value. It must be in the public \
     hosted zone, and the name servers at the registrar must be those of that zone (`dig NS DOMAIN`)";

const LIMIT: &str = "a quota of the account is reached: raise the one that the reason names in Service Quotas, or remove what \
     is no longer needed";

/// What follows every advice: nothing has to be cleared away by hand.
const AGAIN: &str = "then run the command again: it goes on from here";

/// The next thing to do when a resource of type `kind` failed for `reason`; none when nothing better can be said
/// than to mend what the reason names.
pub fn way_out(kind: &str, reason: &str) -> Option<String> {
    let advice = &ADVICE[fitting(kind, reason)?];
    let todo = match &advice.then {
        Then::Do(text) => (*text).to_owned(),
        Then::Raise(name, service, code) => format!(
            "the quota \"{name}\" is reached: remove what is no longer needed, or raise it with `aws service-quotas \
             request-service-quota-increase --service-code {service} --quota-code {code} --desired-value NUMBER`"
        ),
        Then::Tell(tell) => tell(reason),
    };
    Some(format!("{todo}; {AGAIN}"))
}

/// Which advice fits.
fn fitting(kind: &str, reason: &str) -> Option<usize> {
    let said = reason.to_lowercase();
    ADVICE.iter().position(|advice| {
        kind.starts_with(advice.kind) && advice.says.iter().all(|words| said.contains(words))
    })
}

/// What is between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (inside, _) = rest.split_once(after)?;
    (!inside.is_empty()).then_some(inside)
}

fn word_after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let word = rest.split_whitespace().next()?;
    Some(word.trim_end_matches(['.', ',', ':']))
}

/// Who is denied what, by which kind of policy, and who can change that.
fn denied(reason: &str) -> String {
    let who = word_after(reason, "User: ").unwrap_or("the role that applies");
    let what = word_after(reason, "is not authorized to perform: ").unwrap_or("this");
    let on = match word_after(reason, "on resource: ") {
        Some(resource) => format!(" on {resource}"),
        None => String::new(),
    };
    let said = reason.to_lowercase();
    let explicit = said.contains("explicit deny");
    if said.contains("service control policy") {
        return format!(
            "a service control policy of the organization denies {what}{on} to {who}: no policy in this account changes that. Ask \
             the administrators of the organization to allow {what} in this account, or apply with a role they exempt"
        );
    }
    if said.contains("permissions boundary") {
        return format!(
            "the permissions boundary of {who} leaves out {what}{on}: ask who set the boundary to add it"
        );
    }
    if explicit {
        return format!(
            "a policy denies {what}{on} to {who} explicitly, and an allow elsewhere does not help: take the deny away, or \
             apply with another role"
        );
    }
    format!("allow {what}{on} to {who} in an IAM policy")
}

fn named(reason: &str) -> &str {
    between(reason, "identifier '", "'")
        .or_else(|| word_after(reason, "with name "))
        .unwrap_or("NAME")
}

fn log_group_exists(reason: &str) -> String {
    let name = named(reason);
    format!(
        "the log group exists outside the stack, made by hand, by another platform, or by a function that wrote after an earlier \
         teardown: if its logs are not needed, `aws logs delete-log-group --log-group-name {name}`; or choose another name"
    )
}

fn role_exists(reason: &str) -> String {
    let name = named(reason);
    format!(
        "`{name}` exists in this account, made by hand or by another platform, and names in IAM hold for all regions: remove it if \
         it is a remainder (`aws iam get-role --role-name {name}` shows its tags and when it was last used), or rename this platform \
         or the component"
    )
}

fn zone(reason: &str) -> String {
    let zone = reason
        .split_once(", the targeted availability zone")
        .and_then(|(before, _)| before.rsplit(' ').next())
        .unwrap_or("the zone that is named");
    format!(
        "{zone} takes no more control planes: leave its subnets out of the cluster's, and give it subnets in at least two other zones"
    )
}

fn export(reason: &str) -> String {
    let by = word_after(reason, "in use by ").unwrap_or("the stack that is named");
    let export = between(reason, "xport ", " ").unwrap_or("NAME");
    format!(
        "the stack {by} imports this export: remove that stack first, or make it stop importing \
         (`aws cloudformation list-imports --export-name {export}` lists all that do)"
    )
}

fn stands_in(reason: &str, filter: &str) -> String {
    let id = between(reason, "'", "'").unwrap_or("ID");
    format!(
        "something stands in it that no stack of this platform made: `landfall destroy` searches the network and sweeps what \
         controllers left. What it does not find is somebody else's: `aws ec2 describe-network-interfaces --filters \
         Name={filter},Values={id}` shows whose"
    )
}

fn dependent(reason: &str) -> String {
    let id = word_after(reason, "resource ").unwrap_or("ID");
    format!(
        "an interface or a rule of another security group still uses {id}: `landfall destroy` sweeps what controllers left; \
         otherwise `aws ec2 describe-network-interfaces --filters Name=group-id,Values={id}` and `aws ec2 \
         describe-security-groups --filters Name=ip-permission.group-id,Values={id}` show what"
    )
}

fn key_pending(reason: &str) -> String {
    let mut words = reason.split_whitespace();
    let key = words
        .find(|word| word.starts_with("arn:aws:kms:"))
        .unwrap_or("KEY");
    format!(
        "the key was deleted and waits for its end: `aws kms cancel-key-deletion --key-id {key}`, then `aws kms enable-key --key-id {key}`; or \
         give another key in the inputs"
    )
}

#[cfg(test)]
mod tests;
