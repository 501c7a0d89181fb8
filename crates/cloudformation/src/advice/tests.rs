use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{ADVICE, fitting, way_out};

/// What AWS says, as it was seen: the type, the words, and where they were seen.
const SEEN: &[(&str, &str, &str)] = &[
    (
        "AWS::EC2::VPC",
        "The maximum number of VPCs has been reached. (Service: Ec2, Status Code: 400)",
        "EC2 API, VpcLimitExceeded",
    ),
    (
        "AWS::EC2::EIP",
        "The maximum number of addresses has been reached. (Service: Ec2, Status Code: 400)",
        "EC2 API, AddressLimitExceeded",
    ),
    (
        "AWS::EC2::InternetGateway",
        "The maximum number of internet gateways has been reached. (Service: Ec2, Status Code: 400)",
        "EC2 API, InternetGatewayLimitExceeded",
    ),
    (
        "AWS::EC2::SecurityGroup",
        "The maximum number of security groups for VPC has been reached. (Service: Ec2, Status Code: 400)",
        "EC2 API, SecurityGroupLimitExceeded",
    ),
    (
        "AWS::EC2::NatGateway",
        "Performing this operation would exceed the limit of 5 NAT gateways (Service: Ec2, Status Code: 400)",
        "EC2 API, NatGatewayLimitExceeded",
    ),
    (
        "AWS::EC2::Instance",
        "You have requested more vCPU capacity than your current vCPU limit of 5 allows for the instance bucket that the specified instance type belongs to.",
        "EC2 API, VcpuLimitExceeded",
    ),
    (
        "AWS::EKS::Nodegroup",
        "[Issue(Code=AsgInstanceLaunchFailures, Message=You've reached your quota for maximum Fleet Requests for this account. Launching EC2 instance failed., ResourceIds=[eks-nodes])]",
        "EC2 Auto Scaling activities",
    ),
    (
        "AWS::EKS::Nodegroup",
        "[Issue(Code=NodeCreationFailure, Message=Instances failed to join the kubernetes cluster, ResourceIds=[i-01ffcdfb2f4d5670f])] (Service: null, Status Code: 0)",
        "aws-samples/amazon-eks-ami-rhel#11",
    ),
    (
        "AWS::AutoScaling::AutoScalingGroup",
        "We currently do not have sufficient m5.2xlarge capacity in the Availability Zone you requested (us-east-1a). Our system will be working on provisioning additional capacity.",
        "EC2 API, InsufficientInstanceCapacity",
    ),
    (
        "AWS::EKS::Cluster",
        "Cannot create cluster because us-east-1e, the targeted availability zone, does not currently have sufficient capacity to support the cluster. (Service: Eks, Status Code: 400)",
        "EKS API, UnsupportedAvailabilityZoneException",
    ),
    (
        "AWS::EKS::Cluster",
        "Cluster already exists with name: acme (Service: Eks, Status Code: 409)",
        "EKS API, ResourceInUseException",
    ),
    (
        "AWS::EKS::Cluster",
        "Cluster limit exceeded for account (Service: Eks, Status Code: 400)",
        "EKS API, ResourceLimitExceededException",
    ),
    (
        "AWS::EKS::Cluster",
        "Cluster has nodegroups attached (Service: Eks, Status Code: 409)",
        "EKS API, ResourceInUseException",
    ),
    (
        "AWS::EKS::Cluster",
        "The role with name eks-role cannot be assumed. (Service: Eks, Status Code: 400)",
        "EKS API, InvalidParameterException",
    ),
    (
        "AWS::Lambda::Function",
        "The role defined for the function cannot be assumed by Lambda. (Service: Lambda, Status Code: 400)",
        "Lambda API, InvalidParameterValueException",
    ),
    (
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "The maximum number of load balancers has been reached (Service: ElasticLoadBalancingV2, Status Code: 400)",
        "ELB API, TooManyLoadBalancers",
    ),
    (
        "AWS::RDS::DBInstance",
        "DB Instance quota exceeded (Service: Rds, Status Code: 400, Error Code: InstanceQuotaExceeded)",
        "RDS API, InstanceQuotaExceeded",
    ),
    (
        "AWS::RDS::DBInstance",
        "Cannot delete protected DB Instance, please disable deletion protection and try again.",
        "RDS API, InvalidParameterCombination",
    ),
    (
        "AWS::S3::Bucket",
        "You have attempted to create more buckets than allowed (Service: S3, Status Code: 400)",
        "S3 API, TooManyBuckets",
    ),
    (
        "AWS::S3::Bucket",
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
        "S3 API, BucketAlreadyExists",
    ),
    (
        "AWS::S3::Bucket",
        "acme-data already exists (Service: S3, Status Code: 0)",
        "CloudFormation event, AlreadyExists",
    ),
    (
        "AWS::S3::Bucket",
        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
        "S3 API, OperationAborted",
    ),
    (
        "AWS::S3::Bucket",
        "The bucket you tried to delete is not empty. You must delete all versions in the bucket. (Service: S3, Status Code: 409)",
        "S3 API, BucketNotEmpty",
    ),
    (
        "AWS::ECR::Repository",
        "The repository with name 'shop' in registry with id '111122223333' cannot be deleted because it still contains images",
        "ECR API, RepositoryNotEmptyException",
    ),
    (
        "AWS::Route53::HostedZone",
        "The specified hosted zone contains non-required resource record sets and so cannot be deleted.",
        "Route 53 API, HostedZoneNotEmpty",
    ),
    (
        "AWS::Logs::LogGroup",
        "Resource of type 'AWS::Logs::LogGroup' with identifier '/aws/lambda/shop' already exists.",
        "CloudFormation event, AlreadyExists",
    ),
    (
        "AWS::Logs::LogGroup",
        "Resource limit exceeded. (Service: CloudWatchLogs, Status Code: 400, Error Code: LimitExceededException)",
        "CloudWatch Logs API, LimitExceededException",
    ),
    (
        "AWS::IAM::Role",
        "Resource of type 'AWS::IAM::Role' with identifier 'acme-deployer' already exists.",
        "CloudFormation event, AlreadyExists",
    ),
    (
        "AWS::IAM::Role",
        "Cannot delete entity, must detach all policies first. (Service: Iam, Status Code: 409)",
        "IAM API, DeleteConflict",
    ),
    (
        "AWS::IAM::Role",
        "User: arn:aws:sts::111122223333:assumed-role/deployer/you is not authorized to perform: iam:CreateRole with an explicit deny in a service control policy (Service: Iam, Status Code: 403)",
        "IAM User Guide, access denied messages",
    ),
    (
        "AWS::IAM::ManagedPolicy",
        "User: arn:aws:sts::111122223333:assumed-role/deployer/you is not authorized to perform: iam:CreatePolicy because no identity-based policy allows the iam:CreatePolicy action",
        "IAM User Guide, access denied messages",
    ),
    (
        "AWS::SQS::Queue",
        "User: arn:aws:iam::111122223333:user/you is not authorized to perform: sqs:createqueue on resource: arn:aws:sqs:us-east-1:111122223333:jobs with an explicit deny in an identity-based policy",
        "IAM User Guide, access denied messages",
    ),
    (
        "AWS::SQS::Queue",
        "User: arn:aws:iam::111122223333:user/you is not authorized to perform: sqs:createqueue because no permissions boundary allows the sqs:createqueue action",
        "IAM User Guide, access denied messages",
    ),
    (
        "AWS::EKS::Addon",
        "Access denied for operation 'AWS::EKS::Addon'. (Service: AccessDenied; Status Code: 403; Error Code: AccessDeniedException)",
        "CloudFormation event, AccessDenied",
    ),
    (
        "AWS::CertificateManager::Certificate",
        "Certificate validation timed out: the DNS record that proves the ownership of the domain was never found",
        "ACM User Guide, DNS validation problems",
    ),
    (
        "AWS::Cognito::UserPoolDomain",
        "Domain already associated with another user pool. (Service: CognitoIdentityProvider, Status Code: 400)",
        "Cognito API, InvalidParameterException",
    ),
    (
        "AWS::CloudFront::Distribution",
        "Access denied for operation 'AWS::CloudFront::Distribution: Your account must be verified before you can add new CloudFront resources.'",
        "CloudFront, new accounts",
    ),
    (
        "AWS::CloudFront::Distribution",
        "Invalid request provided: One or more of the CNAMEs you provided are already associated with a different resource. (Service: CloudFront, Status Code: 409)",
        "CloudFront API, CNAMEAlreadyExists",
    ),
    (
        "AWS::Lambda::Function",
        "Lambda was unable to delete arn:aws:lambda:us-east-1:111122223333:function:edge:1 because it is a replicated function. Please see our documentation for Deleting Lambda@Edge Functions and Replicas.",
        "Lambda API, InvalidParameterValueException",
    ),
    (
        "AWS::CloudFormation::Stack",
        "Export acme-VpcId cannot be deleted as it is in use by acme-shop",
        "CloudFormation, exports",
    ),
    (
        "AWS::EC2::VPC",
        "The vpc 'vpc-0f3' has dependencies and cannot be deleted. (Service: Ec2, Status Code: 400)",
        "EC2 API, DependencyViolation",
    ),
    (
        "AWS::EC2::Subnet",
        "The subnet 'subnet-0f3' has dependencies and cannot be deleted. (Service: Ec2, Status Code: 400)",
        "EC2 API, DependencyViolation",
    ),
    (
        "AWS::EC2::SecurityGroup",
        "resource sg-0f3 has a dependent object (Service: Ec2, Status Code: 400)",
        "EC2 API, DependencyViolation",
    ),
    (
        "AWS::EC2::VPCGatewayAttachment",
        "Network vpc-0f3 has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.",
        "EC2 API, DependencyViolation",
    ),
    (
        "AWS::EC2::Subnet",
        "The CIDR '10.0.1.0/24' conflicts with another subnet (Service: Ec2, Status Code: 400)",
        "EC2 API, InvalidSubnet.Conflict",
    ),
    (
        "AWS::SecretsManager::Secret",
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
        "Secrets Manager API, InvalidRequestException",
    ),
    (
        "AWS::Logs::LogGroup",
        "arn:aws:kms:us-east-1:111122223333:key/1b2c is pending deletion. (Service: Kms, Status Code: 400, Error Code: KMSInvalidStateException)",
        "KMS API, KMSInvalidStateException",
    ),
    (
        "AWS::CloudFormation::WaitCondition",
        "WaitCondition timed out. Received 0 conditions when expecting 1",
        "nicolaka/ddc-aws#42",
    ),
    (
        "AWS::ECS::Service",
        "Resource handler returned message: \"Exceeded attempts to wait\" (HandlerErrorCode: NotStabilized)",
        "CloudFormation CLI, NotStabilized",
    ),
    (
        "AWS::DynamoDB::Table",
        "Rate exceeded (Service: DynamoDb, Status Code: 400, Error Code: ThrottlingException)",
        "Common errors, Throttling",
    ),
    (
        "AWS::Lambda::Function",
        "Properties validation failed for resource Edge with message: #/Role: failed validation constraint for keyword [pattern]",
        "CloudFormation event, schema validation",
    ),
    (
        "AWS::DynamoDB::Table",
        "Subscriber limit exceeded: There is a limit of 256 tables per subscriber",
        "DynamoDB API, LimitExceededException",
    ),
    (
        "AWS::IAM::Role",
        "Cannot exceed quota for RolesPerAccount: 1000 (Service: Iam, Status Code: 409)",
        "IAM API, LimitExceeded",
    ),
    (
        "AWS::EC2::VPCEndpoint",
        "Resource handler returned message: (Service: Ec2, Status Code: 400, Error Code: VpcEndpointLimitExceeded)",
        "EC2 API, VpcEndpointLimitExceeded",
    ),
    (
        "AWS::DynamoDB::Table",
        "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. (Service: DynamoDb, Status Code: 400)",
        "DynamoDB API, LimitExceededException",
    ),
    (
        "AWS::SNS::Topic",
        "shop-orders already exists in stack arn:aws:cloudformation:us-east-1:111122223333:stack/shop/1",
        "CloudFormation event, AlreadyExists",
    ),
    (
        "AWS::S3::BucketPolicy",
        "API: s3:PutBucketPolicy Access Denied (Error Code: AccessDenied)",
        "S3 API, AccessDenied",
    ),
    (
        "AWS::DynamoDB::Table",
        "no room",
        "made up: nothing better can be said",
    ),
];

#[test]
fn every_reason_has_its_own_advice() {
    let mut table = String::new();
    for (kind, reason, source) in SEEN {
        let advice = way_out(kind, reason);
        let _ = writeln!(
            table,
            "{kind}: {reason}\n  [{source}]\n  → {}\n",
            advice.as_deref().unwrap_or("(none)")
        );
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_advice_is_given_for_something_that_was_seen() {
    let given: BTreeSet<usize> = SEEN
        .iter()
        .filter_map(|(kind, reason, _)| fitting(kind, reason))
        .collect();
    let unused: Vec<&[&str]> = (0..ADVICE.len())
        .filter(|at| !given.contains(at))
        .map(|at| ADVICE[at].says)
        .collect();
    assert!(unused.is_empty(), "advice nobody needs: {unused:?}");
}
