//! Reads CloudFormation templates as far as Landfall needs to know them. Judging them is `cfn-lint`'s
//! business; this finds parameters, resources and outputs.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_model::template::{TemplateInterface, TemplateParameter, TemplateResource};
use landfall_model::yaml::{self, Kind, Node};
use landfall_model::{Diagnostic, Diagnostics, SourceFile};

/// The largest template that can be handed over inline, in bytes (source: AWS CloudFormation quotas).
pub const INLINE_LIMIT: usize = 51_200;

/// The largest template that CloudFormation takes from a bucket, in bytes (source: the same).
const BUCKET_LIMIT: usize = 1_048_576;

/// Reads what a template promises.
///
/// # Errors
/// It is not YAML, or not a template.
pub fn read_template(file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
    let root = yaml::parse(file)?;
    let mut found = Diagnostics::default();
    if file.text.len() > BUCKET_LIMIT {
        found.push(
            Diagnostic::error(
                format!(
                    "the template has {} bytes; CloudFormation takes at most {BUCKET_LIMIT}",
                    file.text.len()
                ),
                root.span.clone(),
                "too large",
            )
            .help("split it into several stacks"),
        );
    }
    let section = |name: &str| root.get(name).map(Node::entries).unwrap_or_default();
    if section("Resources").is_empty() {
        found.push(
            Diagnostic::error(
                "this is not a CloudFormation template",
                root.span.clone(),
                "it has no `Resources`",
            )
            .help("a template has at least one resource under `Resources`"),
        );
    }
    let ids: BTreeSet<&str> = section("Resources")
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    let mut interface = TemplateInterface {
        description: root
            .get("Description")
            .and_then(Node::text)
            .unwrap_or_default()
            .trim()
            .to_owned(),
        outputs: section("Outputs").iter().map(|entry| entry.key.clone()).collect(),
        has_transform: root.get("Transform").is_some() || file.text.contains("Fn::Transform"),
        ..TemplateInterface::default()
    };
    for entry in section("Parameters") {
        interface
            .parameters
            .insert(entry.key.clone(), parameter(&entry.node));
    }
    for entry in section("Resources") {
        let Some(kind) = entry.node.get("Type").and_then(Node::text) else {
            found.push(Diagnostic::error(
                format!("the resource `{}` has no `Type`", entry.key),
                entry.key_span.clone(),
                "`Type` is missing here",
            ));
            continue;
        };
        let mut after = BTreeSet::new();
        references(&entry.node, &ids, &mut after);
        after.remove(entry.key.as_str());
        let kept = entry.node.get("DeletionPolicy").and_then(Node::text);
        let resource = TemplateResource {
            kind: kind.to_owned(),
            condition: entry
                .node
                .get("Condition")
                .and_then(Node::text)
                .map(str::to_owned),
            after: after.into_iter().map(str::to_owned).collect(),
            kept: matches!(kept, Some("Retain" | "RetainExceptOnCreate" | "Snapshot")),
            snapshot: kept == Some("Snapshot"),
        };
        interface.resources.insert(entry.key.clone(), resource);
    }
    found.or_ok(interface)
}

fn parameter(node: &Node) -> TemplateParameter {
    let text = |node: &Node| match node.value() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let default = node.get("Default").map(text);
    TemplateParameter {
        has_default: default.is_some(),
        default,
        fetched: node
            .get("Type")
            .and_then(Node::text)
            .is_some_and(|kind| kind.starts_with("AWS::SSM::Parameter::Value<")),
        no_echo: node.get("NoEcho").is_some_and(|flag| text(flag) == "true"),
        allowed: node
            .get("AllowedValues")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(text)
            .collect(),
    }
}

/// Logical ids that a resource refers to: `Ref`, `GetAtt`, `Sub` and `DependsOn`.
fn references<'a>(node: &Node, ids: &BTreeSet<&'a str>, found: &mut BTreeSet<&'a str>) {
    let mut note = |text: &str| {
        let name = text.split('.').next().unwrap_or_default();
        if let Some(id) = ids.get(name) {
            found.insert(id);
        }
    };
    match &node.kind {
        Kind::Map(entries) => {
            for entry in entries {
                match entry.key.as_str() {
                    "Ref" | "DependsOn" => {
                        entry.node.text().into_iter().for_each(&mut note);
                        entry
                            .node
                            .items()
                            .iter()
                            .filter_map(Node::text)
                            .for_each(&mut note);
                    }
                    "Fn::GetAtt" => {
                        entry.node.text().into_iter().for_each(&mut note);
                        entry
                            .node
                            .items()
                            .first()
                            .and_then(Node::text)
                            .into_iter()
                            .for_each(&mut note);
                    }
                    "Fn::Sub" => {
                        let text = entry
                            .node
                            .text()
                            .or_else(|| entry.node.items().first().and_then(Node::text));
                        for part in text.unwrap_or_default().split("${").skip(1) {
                            note(part.split('}').next().unwrap_or_default());
                        }
                    }
                    _ => {}
                }
            }
            entries
                .iter()
                .for_each(|entry| references(&entry.node, ids, found));
        }
        Kind::List(items) => items.iter().for_each(|item| references(item, ids, found)),
        Kind::Scalar(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_tells_its_parameters_resources_and_outputs() {
        let file = SourceFile::new(
            "t.cfn.yaml",
            "Description: A test.\n\
             Parameters:\n  Name: {Type: String}\n  Size: {Type: Number, Default: 3, AllowedValues: [3, 5]}\n  Secret: {Type: String, NoEcho: true}\n\
             Resources:\n\
             \x20 Bucket: {Type: AWS::S3::Bucket, DeletionPolicy: Retain}\n\
             \x20 Policy: {Type: AWS::S3::BucketPolicy, Properties: {Bucket: !Ref Bucket, Doc: !Sub 'arn:${Role.Arn}'}}\n\
             \x20 Role: {Type: AWS::IAM::Role, Condition: Wanted, DependsOn: [Bucket]}\n\
             Outputs:\n  Arn: {Value: !GetAtt Role.Arn}\n",
        );
        let interface = read_template(&file).unwrap();
        assert_eq!(
            serde_json::to_value(&interface).unwrap(),
            serde_json::json!({
                "description": "A test.",
                "parameters": {
                    "Name": {"hasDefault": false, "noEcho": false},
                    "Size": {"hasDefault": true, "default": "3", "noEcho": false, "allowed": ["3", "5"]},
                    "Secret": {"hasDefault": false, "noEcho": true},
                },
                "resources": {
                    "Bucket": {"type": "AWS::S3::Bucket", "kept": true},
                    "Policy": {"type": "AWS::S3::BucketPolicy", "after": ["Bucket", "Role"], "kept": false},
                    "Role": {"type": "AWS::IAM::Role", "condition": "Wanted", "after": ["Bucket"], "kept": false},
                },
                "outputs": ["Arn"],
            })
        );
    }
}
