use insta::assert_snapshot;

use super::*;

const HERE: Place<'static> = Place {
    partition: "aws",
    region: "eu-central-1",
    account: "111122223333",
    stack: "demo-net",
};

/// Fills a template in and shows its resources; parameters are `Name=value`, or `Name` for one that waits.
fn resolved(parameters: &[&str], template: &str) -> Resolved {
    let parameters = parameters
        .iter()
        .map(|given| match given.split_once('=') {
            Some((name, value)) => (name.to_owned(), Known::Value(value.to_owned())),
            None => ((*given).to_owned(), Known::After(BTreeSet::new())),
        })
        .collect();
    resolve(template, &parameters, &HERE)
}

fn shown(resolved: &Resolved) -> String {
    let exists = |exists: Option<bool>| match exists {
        Some(true) => "exists",
        Some(false) => "does not exist",
        None => "may exist",
    };
    let resource = |(id, resource): (&String, &Resource)| {
        let mut lines = format!("{id} {} {}", resource.kind, exists(resource.exists));
        let properties = resource.properties.as_object();
        for (name, value) in properties.into_iter().flatten() {
            lines.push_str(&format!("\n  {name}: {value}"));
        }
        lines
    };
    let resources: Vec<String> = resolved.resources.iter().map(resource).collect();
    resources.join("\n")
}

/// The value that one expression comes to.
fn value(parameters: &[&str], expression: &str) -> String {
    let template = format!(
        "Parameters:\n  Name: {{Type: String, Default: blue}}\n  Count: {{Type: Number, Default: 3}}\n  \
         Zones: {{Type: CommaDelimitedList, Default: 'a, b'}}\n  Image: {{Type: 'AWS::SSM::Parameter::Value<String>', Default: /x}}\n\
         Mappings:\n  Sizes: {{eu-central-1: {{small: 1, large: [4, 5]}}}}\n\
         Conditions:\n  Is: !Equals [!Ref Name, blue]\n  Isnt: !Not [Condition: Is]\n\
         Resources:\n  It: {{Type: 'AWS::S3::Bucket', Properties: {{Value: {expression}, Other: there}}}}\n"
    );
    let resolved = resolved(parameters, &template);
    resolved.resources["It"]
        .properties
        .get("Value")
        .map_or_else(|| "left out".to_owned(), Value::to_string)
}

#[test]
fn a_template_is_filled_in_as_far_as_its_parameters_are_known() {
    let template = "\
Parameters:
  Name: {Type: String}
  Logs: {Type: String, Default: 'false'}
  Vpc: {Type: String}
Conditions:
  WithLogs: !Equals [!Ref Logs, 'true']
  InVpc: !Not [!Equals [!Ref Vpc, '']]
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    Properties:
      BucketName: !Sub '${Name}-${AWS::AccountId}'
      Logging: !If [WithLogs, {To: here}, !Ref AWS::NoValue]
  Policy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      Resource: !Sub '${Bucket.Arn}/*'
  Group: {Type: AWS::Logs::LogGroup, Condition: WithLogs}
  Rules: {Type: AWS::EC2::SecurityGroup, Condition: InVpc, Properties: {VpcId: !Ref Vpc}}
Outputs:
  Logs: {Condition: WithLogs, Value: !Ref Group}
  Name: {Value: !Sub 'the ${Name}'}
";
    let seen = resolved(&["Name=demo", "Vpc"], template);
    assert_snapshot!(shown(&seen), @r#"
    Bucket AWS::S3::Bucket exists
      BucketName: "demo-111122223333"
    Policy AWS::S3::BucketPolicy exists
      Bucket: {"Landfall::Unknown":{"Ref":"Bucket"}}
      Resource: {"Landfall::Unknown":{"like":"*/*"}}
    Group AWS::Logs::LogGroup does not exist
    Rules AWS::EC2::SecurityGroup may exist
      VpcId: {"Landfall::Unknown":{}}
    "#);
    assert_eq!(
        seen.conditions,
        BTreeMap::from([("WithLogs".to_owned(), Some(false)), ("InVpc".to_owned(), None)])
    );
    assert_eq!(
        seen.resources["Bucket"].deletion_policy.as_deref(),
        Some("Retain")
    );
    let output = |exists, value: Value| Output { exists, value };
    assert_eq!(
        seen.outputs,
        IndexMap::from([
            (
                "Logs".to_owned(),
                output(Some(false), json!({ UNKNOWN: { "Ref": "Group" } }))
            ),
            ("Name".to_owned(), output(Some(true), "the demo".into())),
        ])
    );
    assert_eq!(
        refers_to(&seen.resources["Policy"].properties["Bucket"]),
        Some(("Bucket", None))
    );
}

#[test]
fn functions_give_what_cloudformation_would() {
    for (expression, expected) in [
        ("!Ref Name", r#""blue""#),
        ("!Ref Count", r#""3""#),
        ("!Ref Zones", r#"["a","b"]"#),
        ("!Ref AWS::Region", r#""eu-central-1""#),
        ("!Ref AWS::URLSuffix", r#""amazonaws.com""#),
        ("!Ref AWS::NoValue", "left out"),
        ("[1, !Ref AWS::NoValue, 2]", "[1,2]"),
        (
            "!Sub '${Name}-${!Literal}-${AWS::Partition}'",
            r#""blue-${Literal}-aws""#,
        ),
        ("!Sub ['${a}/${Name}', {a: !Ref Count}]", r#""3/blue""#),
        ("!Join ['-', [x, !Ref Name, 1]]", r#""x-blue-1""#),
        ("!Join [',', !Ref Zones]", r#""a,b""#),
        ("!Select [1, !Ref Zones]", r#""b""#),
        ("!Select ['0', !Split ['.', a.b]]", r#""a""#),
        ("!Split ['.', a.b]", r#"["a","b"]"#),
        ("!If [Is, yes, no]", r#""yes""#),
        ("!If [Isnt, yes, !Ref AWS::NoValue]", "left out"),
        ("!FindInMap [Sizes, !Ref AWS::Region, small]", "1"),
        ("!Select [1, !FindInMap [Sizes, eu-central-1, large]]", "5"),
        ("!FindInMap [Sizes, us-east-1, small, {DefaultValue: 7}]", "7"),
        ("!Base64 any carnal pleas", r#""YW55IGNhcm5hbCBwbGVhcw==""#),
        ("!Base64 'sure.'", r#""c3VyZS4=""#),
        (
            "!Cidr [10.0.0.0/16, 3, 8]",
            r#"["10.0.0.0/24","10.0.1.0/24","10.0.2.0/24"]"#,
        ),
        (
            "!Select [2, !Cidr ['2001:db8::/56', 3, 64]]",
            r#""2001:db8:0:2::/64""#,
        ),
    ] {
        assert_eq!(value(&[], expression), expected, "{expression}");
    }
}

#[test]
fn what_only_cloudformation_knows_is_marked() {
    for expression in [
        "!GetAZs ''",
        "!ImportValue x",
        "!Ref Image",
        "!Select [9, !Ref Zones]",
        "!Cidr [10.0.0.0/24, 3, 8]",
        "!Transform {Name: x}",
        "!FindInMap [Sizes, us-east-1, small]",
        "!Select [0, !GetAZs '']",
    ] {
        assert_eq!(
            value(&[], expression),
            r#"{"Landfall::Unknown":{}}"#,
            "{expression}"
        );
    }
    assert_eq!(
        value(&[], "!GetAtt It.Arn"),
        r#"{"Landfall::Unknown":{"Fn::GetAtt":["It","Arn"]}}"#
    );
    // A text that is partly known tells what it will look like.
    assert_eq!(
        value(&["Name"], "!Sub 'x-${Name}-${It.Arn}${It}/y'"),
        r#"{"Landfall::Unknown":{"like":"x-*-*/y"}}"#
    );
    assert_eq!(pattern(&json!({ UNKNOWN: { "like": "x-*" } })), Some("x-*"));
}

#[test]
fn one_known_part_of_a_condition_can_decide() {
    let judged = |condition: &str| {
        let template = format!(
            "Parameters:\n  A: {{Type: String}}\n  B: {{Type: String}}\nConditions:\n  Yes: !Equals [!Ref A, a]\n  \
             Open: !Equals [!Ref B, b]\n  Circle: !Not [Condition: Circle]\n  It: {condition}\n"
        );
        resolved(&["A=a", "B"], &template).conditions["It"]
    };
    for (condition, expected) in [
        ("!And [Condition: Yes, Condition: Open]", None),
        ("!And [!Not [Condition: Yes], Condition: Open]", Some(false)),
        ("!Or [Condition: Yes, Condition: Open]", Some(true)),
        ("!Or [Condition: Open, !Not [Condition: Yes]]", None),
        ("!Not [Condition: Open]", None),
        ("!Equals [!Ref A, !Ref B]", None),
        ("!Equals [!If [Open, x, x], x]", Some(true)),
        ("!Equals ['3', 3]", Some(true)),
        ("{Condition: Circle}", None),
    ] {
        assert_eq!(judged(condition), expected, "{condition}");
    }
}

#[test]
fn a_template_that_cannot_be_read_has_no_resources() {
    assert_eq!(resolve("a: [", &BTreeMap::new(), &HERE), Resolved::default());
}
