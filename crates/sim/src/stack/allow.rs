//! What operations on stacks need to be allowed, judged for what they are about.

use landfall_cloudformation::resolve::{partition, pattern, refers_to};
use landfall_model::work::{Known, StackWork};
use landfall_policy::Verb;
use serde_json::{Map, Value};

use super::StackRecord;
use super::spec::Spec;
use crate::authorization::{Context, Target};
use crate::trouble::Trouble;
use crate::world::State;

/// Types whose `Ref` gives an ARN (source: CloudFormation, template reference, return values).
const REF_IS_ARN: [&str; 9] = [
    "AWS::CertificateManager::Certificate",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::OIDCProvider",
    "AWS::SNS::Topic",
    "AWS::SecretsManager::Secret",
    "AWS::APS::Workspace",
];

impl State {
    /// Refuses a call about a stack that the policies in use do not allow.
    pub(super) fn allow_stack(&self, action: &str, region: &str, name: &str) -> Result<(), Trouble> {
        let stands = self
            .stacks
            .iter()
            .rev()
            .find(|stack| stack.name == name && stack.region == region && !stack.is_gone());
        let arn = stands.map_or_else(
            || {
                format!(
                    "arn:{}:cloudformation:{region}:{}:stack/{name}/0a1b2c3d",
                    partition(region),
                    self.account
                )
            },
            |stack| stack.id.clone(),
        );
        self.allow(&format!("cloudformation:{action}"), &arn, &Context::default())
    }

    /// The same for asking what would change.
    pub(super) fn allow_preview(&self, region: &str, name: &str) -> Result<(), Trouble> {
        let asking = [
            "GetTemplate",
            "CreateChangeSet",
            "DescribeChangeSet",
            "DeleteChangeSet",
        ];
        asking
            .iter()
            .try_for_each(|action| self.allow_stack(action, region, name))
    }

    /// The same for making a change set and carrying it out, and for what CloudFormation fetches for it.
    pub(super) fn allow_change_set(&self, work: &StackWork) -> Result<(), Trouble> {
        let StackWork { name, region, .. } = work;
        for action in [
            "CreateChangeSet",
            "DescribeChangeSet",
            "ExecuteChangeSet",
            "TagResource",
        ] {
            self.allow_stack(action, region, name)?;
        }
        let (partition, account) = (partition(region), &self.account);
        let fetched = work.interface.parameters.iter().filter(|(_, one)| one.fetched);
        for (parameter, declared) in fetched {
            let given = work.parameters.get(parameter).and_then(Known::value);
            let path = given
                .or(declared.default.as_ref())
                .map_or("", |path| path.as_str());
            let account = if path.starts_with("/aws/") { "" } else { account };
            let path = path.trim_start_matches('/');
            let arn = format!("arn:{partition}:ssm:{region}:{account}:parameter/{path}");
            self.allow("ssm:GetParameters", &arn, &through())?;
        }
        let large = work.template.len() > landfall_cloudformation::INLINE_LIMIT;
        if let Some(bucket) = work.artifact_bucket.as_ref().and_then(Known::value)
            && large
        {
            let arn = format!("arn:{partition}:s3:::{bucket}/landfall/templates/0a1b2c3d.yaml");
            self.allow("s3:PutObject", &arn, &Context::default())?;
            self.allow("s3:GetObject", &arn, &through())?;
        }
        Ok(())
    }

    /// The same for emptying a bucket of a stack.
    pub(super) fn allow_emptying(&self, stack_id: &str, bucket: &str) -> Result<(), Trouble> {
        let plain = Context::default();
        self.allow("cloudformation:DescribeStackResource", stack_id, &plain)?;
        let stack = self.stacks.iter().find(|stack| stack.id == stack_id);
        let Some(name) = stack.and_then(|stack| stack.resources.get(bucket)) else {
            return Ok(());
        };
        let arn = format!("arn:aws:s3:::{}", name.physical);
        self.allow("s3:ListBucketVersions", &arn, &plain)?;
        for action in ["s3:DeleteObject", "s3:DeleteObjectVersion"] {
            self.allow(action, &format!("{arn}/some/object"), &plain)?;
        }
        Ok(())
    }

    /// Why CloudFormation must not do something to a resource of a stack.
    pub(super) fn forbidden(&self, at: usize, id: &str, verbs: &[Verb]) -> Option<String> {
        self.allowed.as_ref()?;
        let stack = &self.stacks[at];
        let spec = stack.spec_with(id)?;
        let (physical, _) = spec.physical(&stack.name, &stack.id, id);
        let properties = spec.actual(stack, &self.account, id);
        let target = Target {
            kind: spec.kind(id),
            physical: &physical,
            properties: &properties,
            partition: partition(&stack.region),
            region: &stack.region,
            account: &self.account,
        };
        self.handler_denial(&target, verbs, &spec.tags)
    }
}

fn through() -> Context {
    Context::through_cloudformation()
}

impl Spec {
    /// The properties of a resource with the names and ids of what they refer to.
    fn actual(&self, stack: &StackRecord, account: &str, id: &str) -> Value {
        let resource = self.resolved.resources.get(id);
        resource.map_or(Value::Null, |resource| {
            self.filled(stack, account, &resource.properties)
        })
    }

    fn filled(&self, stack: &StackRecord, account: &str, value: &Value) -> Value {
        if let Some((id, attribute)) = refers_to(value) {
            return self
                .reference(&stack.name, &stack.id, &stack.region, account, id, attribute)
                .into();
        }
        match (value, pattern(value)) {
            (Value::Object(_), Some(known)) => known.replace('*', "0a1b2c3d").into(),
            (Value::Object(map), None) => map
                .iter()
                .map(|(key, value)| (key.clone(), self.filled(stack, account, value)))
                .collect::<Map<_, _>>()
                .into(),
            (Value::Array(items), _) => items
                .iter()
                .map(|item| self.filled(stack, account, item))
                .collect(),
            (plain, _) => plain.clone(),
        }
    }

    /// What a reference to a resource gives: its ARN, or its name or id.
    pub(super) fn reference(
        &self,
        stack: &str,
        stack_id: &str,
        region: &str,
        account: &str,
        id: &str,
        attribute: Option<&str>,
    ) -> String {
        let (physical, _) = self.physical(stack, stack_id, id);
        let kind = self.kind(id);
        let wants_arn = match attribute {
            Some(attribute) => attribute.ends_with("Arn"),
            None => REF_IS_ARN.contains(&kind),
        };
        let Some(resource) = self.resolved.resources.get(id).filter(|_| wants_arn) else {
            return physical;
        };
        let named = match self.issuer.as_ref().filter(|_| kind == "AWS::IAM::OIDCProvider") {
            Some(issuer) => issuer,
            None => &physical,
        };
        let target = Target {
            kind,
            physical: named,
            properties: &resource.properties,
            partition: partition(region),
            region,
            account,
        };
        target.own_arn().unwrap_or(physical)
    }
}
