//! What people get wrong, and what they are told: each case is a small folder, the command run in it,
//! and the whole answer as a snapshot. Nothing here reaches an account: reading comes first.

use std::path::Path;
use std::process::Command;

/// A definition that is right; cases spoil it or misuse it.
const BUCKET: &str = r#"apiVersion: landfall.dev/v1
kind: Component
metadata: { name: bucket, title: Bucket }
spec:
  inputs:
    name: { type: string, pattern: "^[a-z0-9-]{3,40}$", description: What the bucket is called }
    days: { type: integer, minimum: 1, maximum: 365, default: 30 }
    readers: { type: array, items: { type: string }, default: [] }
    class: { type: string, enum: [standard, archive], default: standard }
    locked: { type: boolean, default: false }
  steps:
    - name: bucket
      stack:
        template: bucket.cfn.yaml
        parameters: { Name: "${inputs.name}", Days: "${inputs.days}", Readers: "${inputs.readers.join(',')}" }
    - name: ready
      check: { http: { url: "https://${steps.bucket.outputs.Domain}/" }, within: 2m }
  outputs:
    arn: { type: string, value: "${steps.bucket.outputs.Arn}" }
    readers: { type: array, value: "${inputs.readers}" }
"#;

const TEMPLATE: &str = r#"Parameters:
  Name: { Type: String }
  Days: { Type: Number }
  Readers: { Type: CommaDelimitedList, Default: "" }
  Class: { Type: String, Default: standard, AllowedValues: [standard, archive] }
  Token: { Type: String, Default: "", NoEcho: true }
Resources:
  Bucket: { Type: AWS::S3::Bucket, Properties: { BucketName: !Ref Name } }
  Topic: { Type: AWS::SNS::Topic }
Outputs:
  Arn: { Value: !GetAtt Bucket.Arn }
  Domain: { Value: !GetAtt Bucket.DomainName }
"#;

fn platform(components: &str) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata:\n  name: acme\nspec:\n  region: us-east-1\n  account: \"111122223333\"\n  components:\n{components}"
    )
}

struct Case {
    name: &'static str,
    files: Vec<(String, String)>,
    arguments: Vec<&'static str>,
}

/// A platform file that is wrong.
fn file(name: &'static str, text: impl Into<String>) -> Case {
    Case {
        name,
        files: vec![
            ("platform.yaml".to_owned(), text.into()),
            ("components/bucket/component.yaml".to_owned(), BUCKET.to_owned()),
            (
                "components/bucket/bucket.cfn.yaml".to_owned(),
                TEMPLATE.to_owned(),
            ),
        ],
        arguments: vec!["graph", "--format", "dot"],
    }
}

/// A platform file whose components are wrong.
fn components(name: &'static str, components: &str) -> Case {
    file(name, platform(components))
}

/// A definition that is wrong: `BUCKET` with one text put for another.
fn definition(name: &'static str, from: &str, to: &str) -> Case {
    assert!(BUCKET.contains(from), "{name}: the text to spoil is there");
    let mut case = components(name, "    logs: { uses: bucket, with: { name: acme-logs } }\n");
    case.files[1].1 = BUCKET.replacen(from, to, 1);
    case
}

/// A definition with this rule, used with this name.
fn rules(name: &'static str, rule: &str, given: &str) -> Case {
    let mut case = components(
        name,
        &format!("    logs: {{ uses: bucket, with: {{ name: {given} }} }}\n"),
    );
    case.files[1].1 = BUCKET.replace(", pattern: \"^[a-z0-9-]{3,40}$\"", "").replacen(
        "  steps:\n",
        &format!("  rules:\n    - {rule}\n  steps:\n"),
        1,
    );
    case
}

/// A template that is wrong.
fn template(name: &'static str, text: &str) -> Case {
    let mut case = components(name, "    logs: { uses: bucket, with: { name: acme-logs } }\n");
    text.clone_into(&mut case.files[2].1);
    case
}

/// A definition with other steps than `BUCKET`'s.
fn steps(name: &'static str, steps: &str) -> Case {
    let mut case = components(name, "    logs: { uses: bucket }\n");
    case.files[1].1 = format!(
        "apiVersion: landfall.dev/v1\nkind: Component\nmetadata: {{ name: bucket }}\nspec:\n  inputs:\n    \
         on: {{ type: boolean, default: true }}\n  steps:\n{steps}"
    );
    case
}

/// A definition with an `objects` step whose manifest is wrong.
fn objects(name: &'static str, manifest: &str) -> Case {
    let mut case = steps(
        name,
        "    - name: objects\n      objects: { cluster: acme, manifests: [objects.yaml] }\n",
    );
    case.files
        .push(("components/bucket/objects.yaml".to_owned(), manifest.to_owned()));
    case
}

fn cases() -> Vec<Case> {
    let good = platform("    logs: { uses: bucket, with: { name: acme-logs } }\n");
    vec![
        // What must hold between inputs.
        rules(
            "rule_refuses",
            "{ that: \"${!cidrOverlaps(inputs.name, '10.0.0.0/8')}\", otherwise: \"${inputs.name} is taken\", wayOut: \"take another\" }",
            "10.1.0.0/16",
        ),
        rules(
            "rule_over_a_network_that_is_none",
            "{ that: \"${cidrPrefix(inputs.name) <= 24}\", otherwise: \"too small\" }",
            "10.1.0.0",
        ),
        rules(
            "rule_over_a_network_with_bits_behind_its_prefix",
            "{ that: \"${cidrContains('10.0.0.0/8', inputs.name)}\", otherwise: \"elsewhere\" }",
            "10.1.2.3/16",
        ),
        rules(
            "rule_asks_for_a_network_that_does_not_fit",
            "{ that: \"${cidrSubnet(inputs.name, 4, 16) != ''}\", otherwise: \"no room\" }",
            "10.1.0.0/16",
        ),
        rules(
            "rule_that_is_no_condition",
            "{ that: \"${inputs.name}\", otherwise: \"no\" }",
            "10.1.0.0/16",
        ),
        rules(
            "rule_over_a_step",
            "{ that: \"${steps.bucket.outputs.Arn != ''}\", otherwise: \"no\" }",
            "10.1.0.0/16",
        ),
        // Not even YAML, or not ours.
        file("empty_file", ""),
        file(
            "not_yaml",
            "apiVersion: landfall.dev/v1\nkind: [Platform\nmetadata:\n  name: acme\n",
        ),
        file(
            "tab_indentation",
            "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata:\n\tname: acme\n",
        ),
        file(
            "duplicate_key",
            good.replace(
                "  region: us-east-1\n",
                "  region: us-east-1\n  region: eu-west-1\n",
            ),
        ),
        file("two_documents", format!("{good}---\n{good}")),
        file(
            "alias",
            good.replace("  account:", "  tags: &t { a: b }\n  account:")
                .replace("{ name: acme-logs }", "*t"),
        ),
        file("another_kind", good.replace("kind: Platform", "kind: Plattform")),
        file(
            "another_version",
            good.replace("landfall.dev/v1", "landfall.dev/v2"),
        ),
        // The platform's own fields.
        file("unknown_key", good.replace("  region:", "  regoin:")),
        file(
            "account_without_quotes",
            good.replace("\"111122223333\"", "111122223333"),
        ),
        file("short_account", good.replace("\"111122223333\"", "\"1111\"")),
        file("region_is_a_zone", good.replace("us-east-1", "us-east-1a")),
        file(
            "bad_platform_name",
            good.replace("name: acme\n", "name: Acme_Dev\n"),
        ),
        file(
            "reserved_tag",
            good.replace(
                "  components:",
                "  tags: { \"landfall:platform\": x, \"aws:owner\": y }\n  components:",
            ),
        ),
        file(
            "everything_at_once",
            good.replace("us-east-1", "nowhere")
                .replace("\"111122223333\"", "\"12\"")
                .replace("uses: bucket", "uses: bukket")
                .replace("kind: Platform", "knid: Platform"),
        ),
        // Components.
        components("no_components", "    {}\n"),
        components(
            "unknown_definition",
            "    logs: { uses: bukcet, with: { name: acme-logs } }\n",
        ),
        components(
            "bad_component_name",
            "    my_logs: { uses: bucket, with: { name: acme-logs } }\n",
        ),
        components("missing_input", "    logs: { uses: bucket }\n"),
        components(
            "unknown_input",
            "    logs: { uses: bucket, with: { nmae: acme-logs } }\n",
        ),
        components(
            "wrong_types",
            "    logs: { uses: bucket, with: { name: 7, days: \"30\", readers: one, locked: \"yes\" } }\n",
        ),
        components(
            "values_out_of_range",
            "    logs: { uses: bucket, with: { name: A!, days: 0, class: standrad } }\n",
        ),
        components(
            "wait_for_nobody",
            "    logs: { uses: bucket, with: { name: acme-logs }, after: [netwrok] }\n    network: { uses: bucket, with: { name: net } }\n",
        ),
        components(
            "same_stack_name",
            "    a-bucket: { uses: bucket, with: { name: one } }\n    a: { uses: other }\n",
        ),
        // Expressions.
        components(
            "unclosed_expression",
            "    logs: { uses: bucket, with: { name: \"${platform.name\" } }\n",
        ),
        components(
            "empty_expression",
            "    logs: { uses: bucket, with: { name: \"x-${ }\" } }\n",
        ),
        components(
            "not_cel",
            "    logs: { uses: bucket, with: { name: \"${platform.name +}\" } }\n",
        ),
        components(
            "not_cel_after_umlauts",
            "    logs: { uses: bucket, with: { name: \"${'ééééé' é}\" } }\n",
        ),
        components(
            "version_without_quotes",
            "    logs: { uses: bucket, with: { name: 1.30 } }\n",
        ),
        components(
            "whole_components_in_a_circle",
            "    one: { uses: bucket, with: { name: one, readers: \"${components.two.readers}\" } }\n    two: { uses: bucket, with: { name: two, readers: \"${has(components.one.readers) ? [] : []}\" } }\n",
        ),
        components(
            "unknown_root",
            "    logs: { uses: bucket, with: { name: \"${component.audit.arn}\" } }\n",
        ),
        components(
            "unknown_component",
            "    logs: { uses: bucket, with: { name: \"${components.adit.arn}\" } }\n    audit: { uses: bucket, with: { name: audit } }\n",
        ),
        components(
            "unknown_output",
            "    logs: { uses: bucket, with: { name: \"${components.audit.anr}\" } }\n    audit: { uses: bucket, with: { name: audit } }\n",
        ),
        components(
            "list_for_text",
            "    logs: { uses: bucket, with: { name: \"${components.audit.readers}\" } }\n    audit: { uses: bucket, with: { name: audit } }\n",
        ),
        components(
            "list_in_text",
            "    logs: { uses: bucket, with: { name: \"x-${components.audit.readers}\" } }\n    audit: { uses: bucket, with: { name: audit } }\n",
        ),
        components(
            "text_for_list",
            "    logs: { uses: bucket, with: { name: logs, readers: \"${components.audit.arn}\" } }\n    audit: { uses: bucket, with: { name: audit } }\n",
        ),
        components(
            "unknown_function",
            "    logs: { uses: bucket, with: { name: \"${platform.name.lowerAsci()}\" } }\n",
        ),
        components(
            "wrong_arguments",
            "    logs: { uses: bucket, with: { name: \"${platform.name.split(1).join(',')}\" } }\n",
        ),
        components(
            "adding_number_to_text",
            "    logs: { uses: bucket, with: { name: \"${platform.name + 1}\" } }\n",
        ),
        components(
            "computed_value_out_of_range",
            "    logs: { uses: bucket, with: { name: \"${platform.name.upperAscii()}\" } }\n",
        ),
        components(
            "components_in_a_circle",
            "    a: { uses: bucket, with: { name: one, readers: [\"${components.b.arn}\"] } }\n    b: { uses: bucket, with: { name: two, readers: [\"${components.a.arn}\"] } }\n",
        ),
        components(
            "after_in_a_circle",
            "    a: { uses: bucket, with: { name: one }, after: [b] }\n    b: { uses: bucket, with: { name: two }, after: [a] }\n",
        ),
        // Definitions.
        definition(
            "definition_called_otherwise",
            "name: bucket, title",
            "name: basket, title",
        ),
        definition("unknown_step_key", "      check:", "      chekc:"),
        definition(
            "step_does_two_things",
            "      check:",
            "      secret: { length: 20 }\n      check:",
        ),
        definition("two_steps_of_one_name", "- name: ready", "- name: bucket"),
        definition(
            "missing_template",
            "template: bucket.cfn.yaml",
            "template: bukcet.cfn.yaml",
        ),
        definition("unknown_parameter", "Days:", "Dasy:"),
        definition(
            "list_for_a_parameter",
            "${inputs.readers.join(',')}",
            "${inputs.readers}",
        ),
        definition(
            "value_not_allowed",
            "Days: \"${inputs.days}\"",
            "Days: 3, Class: archvie",
        ),
        definition(
            "secret_in_a_parameter",
            "Days: \"${inputs.days}\"",
            "Days: 3, Token: hunter2",
        ),
        definition("unknown_step_output", "outputs.Domain", "outputs.Domian"),
        definition(
            "unknown_step",
            "steps.bucket.outputs.Arn",
            "steps.bukcet.outputs.Arn",
        ),
        definition(
            "output_of_another_type",
            "arn: { type: string",
            "arn: { type: array",
        ),
        definition("input_is_no_schema", "type: boolean", "type: bool"),
        definition("default_of_another_type", "default: 30", "default: thirty"),
        definition(
            "no_such_bucket_to_empty",
            "        parameters:",
            "        empty: [Topic]\n        parameters:",
        ),
        template("template_is_no_template", "Description: nothing here\n"),
        template(
            "resource_without_type",
            "Resources:\n  Bucket: { Properties: {} }\n",
        ),
        steps(
            "steps_in_a_circle",
            "    - name: one\n      after: [two]\n      check: { http: { url: \"https://a.example\" } }\n    - name: two\n      after: [one]\n      check: { http: { url: \"https://b.example\" } }\n",
        ),
        steps(
            "check_asserts_two_things",
            "    - name: one\n      check: { http: { url: \"https://a.example\" }, dns: { name: a.example } }\n",
        ),
        steps(
            "bad_duration",
            "    - name: one\n      check: { http: { url: \"https://a.example\" }, within: 2 minutes }\n",
        ),
        steps(
            "hyphen_read_as_minus",
            "    - name: the-first\n      check: { identity: { account: \"111122223333\" } }\n    - name: next\n      check: { dns: { name: \"${steps.the-first.outputs.account}\" } }\n",
        ),
        steps(
            "when_is_no_boolean",
            "    - name: one\n      when: \"${platform.name}\"\n      check: { dns: { name: a.example } }\n",
        ),
        steps(
            "when_waits_for_a_step",
            "    - name: one\n      check: { dns: { name: a.example } }\n    - name: two\n      when: \"${size(steps.one.outputs.answers) > 0}\"\n      check: { dns: { name: b.example } }\n",
        ),
        steps(
            "path_leaves_the_folder",
            "    - name: one\n      entity: { file: ../../etc/catalog-info.yaml, entities: [{ apiVersion: backstage.io/v1alpha1, kind: System, metadata: { name: a } }] }\n",
        ),
        steps(
            "bad_entity",
            "    - name: one\n      entity: { file: c.yaml, entities: [{ kind: System, metadata: { name: \"a b\" } }] }\n",
        ),
        steps(
            "missing_skeleton",
            "    - name: one\n      files: { from: skeletn, to: out }\n",
        ),
        // Objects: what their kinds do not allow.
        objects(
            "object_field_misspelt",
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: { name: shop, namespace: argocd }\nspec:\n  project: default\n  \
             destination: { server: https://kubernetes.default.svc, namespace: shop }\n  source:\n    repoURL: https://charts.example.com\n    \
             chart: shop\n    targetRevison: 1.2.3\n  syncPolicy: { automated: { prune: \"yes\", selfHeal: true } }\n",
        ),
        objects(
            "node_pool_with_a_wrong_value",
            "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: { name: Spot }\nspec:\n  limits: { cpu: a lot }\n  disruption: { consolidationPolicy: \
             whenEmpty, consolidateAfter: 30s }\n  template:\n    spec:\n      nodeClassRef: { group: karpenter.k8s.aws, kind: EC2NodeClass }\n      \
             requirements:\n        - { key: karpenter.sh/capacity-type, operator: In }\n",
        ),
        objects(
            "deployment_that_does_not_select_its_pods",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web, namespace: shop }\nspec:\n  replicas: \"2\"\n  selector: { matchLabels: { app: web \
             } }\n  template:\n    metadata: { labels: { app: wep } }\n    spec:\n      containers:\n        - name: web\n          image: \
             \"${inputs.name}:1\"\n          volumeMounts: [{ name: data, mountPath: /data }]\n          env: [{ name: A, value: 1 }, { name: A, value: b }]\n",
        ),
        objects(
            "object_of_an_old_version",
            "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: { name: web, namespace: shop }\n---\napiVersion: apps/v1\nkind: \
             Deploymnt\nmetadata: { name: web, namespace: shop }\n",
        ),
        // Stack sets: where they go.
        steps(
            "stack_set_goes_nowhere",
            "    - name: everywhere\n      stackSet: { template: bucket.cfn.yaml, parameters: { Name: acme, Days: 3 } }\n",
        ),
        steps(
            "stack_set_of_no_account",
            "    - name: everywhere\n      stackSet: { template: bucket.cfn.yaml, parameters: { Name: acme, Days: 3 }, accounts: [\"1234\"] }\n",
        ),
        steps(
            "stack_set_of_a_computed_account",
            "    - name: everywhere\n      stackSet: { template: bucket.cfn.yaml, parameters: { Name: acme, Days: 3 }, accounts: \"${['1' + '2']}\" }\n",
        ),
        steps(
            "stack_set_both_ways",
            "    - name: everywhere\n      stackSet:\n        template: bucket.cfn.yaml\n        parameters: { Name: acme, Days: 3 }\n        \
             accounts: [\"222233334444\"]\n        organizationalUnits: [ou-ab12-cdef3456]\n",
        ),
        steps(
            "stack_set_accounts_not_known_yet",
            "    - name: first\n      stack: { template: bucket.cfn.yaml, parameters: { Name: acme, Days: 3 } }\n    - name: everywhere\n      \
             stackSet: { template: bucket.cfn.yaml, parameters: { Name: acme, Days: 3 }, accounts: \"${steps.first.outputs.Arn.split(',')}\" }\n",
        ),
    ]
}

/// Definitions whose `request` step is wrong.
fn requests() -> Vec<Case> {
    let request = |name, rest: &str| {
        steps(
            name,
            &format!("    - name: realm\n      request:\n        url: https://id.acme.example\n{rest}"),
        )
    };
    vec![
        request(
            "request_each_without_a_name_of_its_own",
            "        resources:\n          - { name: role, each: [a, b], path: \"/roles/${each}\", keep: true }\n",
        ),
        request(
            "request_each_is_no_list",
            "        resources:\n          - { name: \"role-${each}\", each: \"${inputs.on}\", path: /roles, keep: true }\n",
        ),
        request(
            "request_each_outside_of_its_thing",
            "        resources:\n          - { name: role, path: \"/roles/${each}\", keep: true }\n",
        ),
        request(
            "request_two_of_one_name",
            "        resources:\n          - { name: \"role-${each.of}\", each: [{ of: a }, { of: a }], path: /roles, keep: true }\n",
        ),
        request(
            "request_nobody_could_tell_whose",
            "        resources:\n          - { name: realm, path: /realms/a, mark: attributes.mine }\n          - { name: other, path: /realms/b }\n",
        ),
        request(
            "request_list_without_match",
            "        resources:\n          - { name: realm, path: \"/realms/{id}\", list: /realms, keep: true }\n",
        ),
        request(
            "request_secret_in_plain_text",
            "        auth: { username: admin, password: hunter2 }\n        resources:\n          - { name: realm, path: /a, keep: true }\n",
        ),
        request(
            "request_sign_in_two_ways",
            "        auth: { tokenUrl: /token, bearer: \"{{resolve:secretsmanager:a}}\" }\n        resources:\n          - { name: realm, path: /a, keep: true }\n",
        ),
    ]
}

fn answer(case: &Case) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in &case.files {
        write(folder.path(), path, text);
    }
    // A second definition whose step makes the same name as another component's.
    let other = BUCKET
        .replace("name: bucket, title", "name: other, title")
        .replace("- name: bucket", "- name: bucket-bucket");
    let other = other
        .replace("steps.bucket.", "steps['bucket-bucket'].")
        .replace("description: What the bucket is called", "default: abc");
    write(folder.path(), "components/other/component.yaml", &other);
    write(folder.path(), "components/other/bucket.cfn.yaml", TEMPLATE);
    let output = Command::new(env!("CARGO_BIN_EXE_landfall"))
        .args(&case.arguments)
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stdout.is_empty(),
        "{}: nothing but the error is printed, got:\n{stdout}",
        case.name
    );
    assert_eq!(
        output.status.code(),
        Some(2),
        "{}: invalid input exits with 2\n{stderr}",
        case.name
    );
    stderr
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn every_mistake_is_told_with_its_place_and_the_way_out() {
    let cases: Vec<Case> = cases().into_iter().chain(requests()).collect();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in &cases {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "mistakes" }, {
            insta::assert_snapshot!(case.name, answer(case));
        });
    }
}
