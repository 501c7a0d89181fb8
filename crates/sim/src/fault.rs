//! What can be made to go wrong.

/// Something that goes wrong in the world, once.
///
/// A fault waits until it applies, happens, and is used up, as a mishap would be; to have it twice, add
/// it twice. [`World::faults`](crate::World::faults) tells which have not happened yet. What comes at a
/// moment of its own comes then, whether or not it finds anything to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next time `resource` is made or changed in `stack`, that fails and the stack rolls back, to
    /// `ROLLBACK_COMPLETE` or `UPDATE_ROLLBACK_COMPLETE`.
    StackFails {
        /// The stack's name.
        stack: String,
        /// The resource's logical id.
        resource: String,
        /// What CloudFormation says.
        reason: String,
    },
    /// When `stack` rolls back the next time, that fails too: it ends as `ROLLBACK_FAILED` or
    /// `UPDATE_ROLLBACK_FAILED`. Does nothing without a [`Fault::StackFails`].
    RollbackFails {
        /// The stack's name.
        stack: String,
        /// What CloudFormation says.
        reason: String,
    },
    /// The next time `resource` is to be removed with `stack`, that fails, and the stack ends as
    /// `DELETE_FAILED`. Deleting it again succeeds.
    DeleteFails {
        /// The stack's name.
        stack: String,
        /// The resource's logical id.
        resource: String,
        /// What CloudFormation says.
        reason: String,
    },
    /// The call that starts making `stack`, or the next operation on the stack set of that name, is never
    /// answered, although it is begun.
    CreateTimesOutButSucceeds {
        /// The stack's name.
        stack: String,
    },
    /// The next time a stack set makes, changes or deletes its stack in `account`, that is refused there.
    AccountRefuses {
        /// The account's id.
        account: String,
        /// What CloudFormation says.
        reason: String,
    },
    /// The next time something is begun on a stack set, somebody else's operation is in progress.
    StackSetBusy {
        /// The stack set's name.
        set: String,
        /// For how many milliseconds.
        millis: u64,
    },
    /// The next calls are refused because there were too many.
    Throttling {
        /// How many are refused.
        calls: u32,
    },
    /// From this moment on calls are refused, until
    /// [`World::renew_credentials`](crate::World::renew_credentials).
    CredentialsExpireAt {
        /// When, in milliseconds of the world's clock.
        millis: u64,
    },
    /// From a moment on, for a while, all calls are refused because there are too many.
    ThrottlingBurst {
        /// When it begins, in milliseconds of the world's clock.
        millis: u64,
        /// For how many milliseconds.
        for_millis: u64,
    },
    /// The next role that is made cannot be assumed at first: what is made next in its own stack or another
    /// one, and runs as a role (a cluster, machines, a function), fails unless it is begun later than this.
    IamVisibleLate {
        /// For how many milliseconds after the role is complete.
        millis: u64,
    },
    /// The outputs of `stack` are missing from its description for a while after it is complete.
    OutputsAppearLate {
        /// The stack's name.
        stack: String,
        /// For how many milliseconds.
        millis: u64,
    },
    /// The next time `resource` is made in `stack`, a limit or a rule of the account refuses it. As
    /// [`Fault::StackFails`], with AWS's own words for this type of resource.
    LimitExceeded {
        /// The stack's name.
        stack: String,
        /// The resource's logical id.
        resource: String,
    },
    /// The next definition of `kind` that is applied takes this long until it is established: until then
    /// there are no matches for the kind.
    CrdLate {
        /// The kind that is defined.
        kind: String,
        /// For how many milliseconds.
        millis: u64,
    },
    /// The interfaces of the next load balancer that goes outlive it by this long.
    InterfacesLinger {
        /// For how many milliseconds.
        millis: u64,
    },
    /// The next volume whose claim goes is never deleted: the driver died before it did.
    VolumeLeftover,
    /// The next load balancer whose object goes stays, with its target group and security groups.
    LoadBalancerLeftover,
    /// The next machine that Karpenter should end goes on running.
    NodeLeftover,
    /// The next time `namespace` is deleted, it does not go until somebody removes this finalizer from it
    /// ([`World::remove_finalizer`](crate::World::remove_finalizer)).
    NamespaceStuck {
        /// Its name.
        namespace: String,
        /// What holds it.
        finalizer: String,
    },
    /// A log group comes back a minute after its deletion, because something still writes.
    LogGroupRecreated {
        /// Its name.
        name: String,
        /// How many times.
        times: u32,
    },
    /// GuardDuty makes an endpoint, a security group and interfaces in the network of a stack, once that is
    /// complete: nobody asked for them, and nobody takes them away.
    GuardDutyEndpoint {
        /// The stack's name.
        network: String,
    },
    /// Somebody deletes something by hand.
    HumanDeletes {
        /// What.
        target: Target,
        /// When, in milliseconds of the world's clock.
        millis: u64,
    },
    /// Somebody changes something by hand.
    HumanChanges {
        /// What.
        target: Target,
        /// Where in an object, such as `spec.replicas`; the key of a tag of anything else.
        path: String,
        /// The new value, as JSON; none takes it away.
        value: Option<String>,
        /// When, in milliseconds of the world's clock.
        millis: u64,
    },
    /// A controller that somebody runs takes a field of an object over.
    FieldConflict {
        /// The object.
        target: Target,
        /// The name under which the controller writes.
        manager: String,
        /// Where in the object, such as `spec.replicas`.
        path: String,
        /// The new value, as JSON.
        value: String,
        /// When, in milliseconds of the world's clock.
        millis: u64,
    },
    /// Webhooks say no for a while, although they run.
    WebhookRefuses {
        /// What the webhooks' names begin with; all of them when it is empty.
        webhook: String,
        /// What they say.
        reason: String,
        /// From when on, in milliseconds of the world's clock.
        millis: u64,
        /// For how many milliseconds.
        for_millis: u64,
    },
    /// The next time an object is deleted, it does not go until somebody removes this finalizer from it
    /// ([`World::remove_finalizer`](crate::World::remove_finalizer)).
    FinalizerStuck {
        /// The object.
        target: Target,
        /// What holds it.
        finalizer: String,
    },
    /// The API servers of all clusters are not there for a while: some connections are refused, others answered
    /// with 503.
    ApiServerUnavailable {
        /// From when on, in milliseconds of the world's clock.
        millis: u64,
        /// For how many milliseconds.
        for_millis: u64,
    },
    /// The next requests that change something in a cluster are carried out, and never answered.
    AnswersLost {
        /// How many.
        calls: u32,
    },
    /// The pods of a workload never become ready, until it is applied again.
    PodsNeverReady {
        /// The workload, as `Kind/name`.
        object: String,
        /// Why.
        reason: String,
    },
    /// The image of a workload cannot be pulled, until it is applied again.
    ImagePullFails {
        /// The workload, as `Kind/name`.
        object: String,
        /// The image.
        image: String,
    },
}

/// Something a person can lay hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A stack of the account's first region.
    Stack {
        /// Its name.
        name: String,
    },
    /// An object in a cluster.
    Object {
        /// The cluster's name.
        cluster: String,
        /// The object's kind.
        kind: String,
        /// Its namespace; empty for none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The load balancer that was made for an object.
    LoadBalancer {
        /// What it was made for, as `Ingress shop/web`.
        of: String,
    },
}

impl Target {
    /// Whether an object of a cluster is meant.
    pub(crate) fn is_object(&self, in_cluster: &str, key: &landfall_apiserver::Key) -> bool {
        matches!(self, Target::Object { cluster, kind, namespace, name }
            if cluster == in_cluster && *kind == key.kind && *namespace == key.namespace && *name == key.name)
    }
}

impl Fault {
    /// When it comes by itself, if it does.
    pub(crate) fn comes_at(&self) -> Option<u64> {
        match self {
            Fault::HumanDeletes { millis, .. }
            | Fault::HumanChanges { millis, .. }
            | Fault::FieldConflict { millis, .. } => Some(*millis),
            _ => None,
        }
    }

    /// What AWS says when it refuses to make a resource of this type because of a limit or a rule of the
    /// account: the words of real refusals.
    pub fn usual_reason(kind: &str) -> String {
        let text = match kind {
            "AWS::EC2::VPC" => {
                "The maximum number of VPCs has been reached. (Service: Ec2, Status Code: 400, Request ID: 7d1f6f4e-3f0c-4a0b-8f5e-0a9a4f1f2b3c)"
            }
            "AWS::EC2::EIP" | "AWS::EC2::NatGateway" => {
                "The maximum number of addresses has been reached. (Service: Ec2, Status Code: 400, Request ID: 0d4b4e7c-62ce-4c43-9fd5-7c5d1b8f6f11)"
            }
            "AWS::EC2::InternetGateway" => {
                "The maximum number of internet gateways has been reached. (Service: Ec2, Status Code: 400, Request ID: 5a1d2a83-3b1c-4f9c-b0a8-5c1d3e1c9d20)"
            }
            "AWS::EC2::SecurityGroup" => {
                "The maximum number of security groups for VPC has been reached. (Service: Ec2, Status Code: 400, Request ID: c0f3a6a5-2d51-4c52-9c57-8f0b7c0b1e5a)"
            }
            "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
                "The maximum number of load balancers has been reached (Service: ElasticLoadBalancingV2, Status Code: 400)"
            }
            "AWS::S3::Bucket" => {
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again. (Service: Amazon S3; Status Code: 409; Error Code: BucketAlreadyExists)"
            }
            "AWS::IAM::Role" => {
                "User: arn:aws:sts::111122223333:assumed-role/deployer/you is not authorized to perform: iam:CreateRole with an explicit deny in a service control policy (Service: Iam, Status Code: 403)"
            }
            "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy" => {
                "User: arn:aws:sts::111122223333:assumed-role/deployer/you is not authorized to perform: iam:CreatePolicy because no identity-based policy allows the iam:CreatePolicy action (Service: Iam, Status Code: 403)"
            }
            "AWS::CertificateManager::Certificate" => {
                "Certificate validation timed out: the DNS record that proves the ownership of the domain was never found"
            }
            "AWS::EKS::Cluster" => {
                "Cannot create cluster because us-east-1e, the targeted availability zone, does not currently have sufficient capacity to support the cluster. (Service: Eks, Status Code: 400)"
            }
            "AWS::EKS::Nodegroup" => {
                "Resource handler returned message: \"[Issue(Code=AsgInstanceLaunchFailures, Message=You've reached your quota for maximum Fleet Requests for this account. Launching EC2 instance failed., ResourceIds=[eks-nodes])] (Service: null, Status Code: 0)\""
            }
            "AWS::Lambda::Function" => {
                "The role defined for the function cannot be assumed by Lambda. (Service: Lambda, Status Code: 400)"
            }
            "AWS::Cognito::UserPoolDomain" => {
                "Domain already associated with another user pool. (Service: CognitoIdentityProvider, Status Code: 400)"
            }
            "AWS::RDS::DBInstance" => {
                "DB Instance quota exceeded (Service: Rds, Status Code: 400, Error Code: InstanceQuotaExceeded)"
            }
            "AWS::Logs::LogGroup" => {
                "Resource limit exceeded. (Service: CloudWatchLogs, Status Code: 400, Error Code: LimitExceededException)"
            }
            "AWS::CloudFront::Distribution" => {
                "Access denied for operation 'AWS::CloudFront::Distribution: Your account must be verified before you can add new CloudFront resources.'"
            }
            other => {
                return format!(
                    "Access denied for operation '{other}'. (Service: AccessDenied; Status Code: 403; Error Code: AccessDeniedException)"
                );
            }
        };
        text.to_owned()
    }
}
