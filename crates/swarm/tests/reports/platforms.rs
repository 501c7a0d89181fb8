//! The platforms the cases are about.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use landfall_swarm::Platform;

const HEAD: &str = "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: { name: acme }\nspec:\n  region: us-east-1\n  account: \"111122223333\"\n  components:\n";

fn component(name: &str, spec: &str) -> String {
    format!("apiVersion: landfall.dev/v1\nkind: Component\nmetadata: {{ name: {name} }}\nspec:\n{spec}")
}

fn files<const N: usize>(files: [(&str, String); N]) -> BTreeMap<String, String> {
    files
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text))
        .collect()
}

/// Resources of a template, each with its properties.
pub(crate) fn template(resources: &[(&str, &str, &str)]) -> String {
    let mut text = "Resources:\n".to_owned();
    for (id, kind, properties) in resources {
        let _ = writeln!(text, "  {id}: {{ Type: {kind}, Properties: {{ {properties} }} }}");
    }
    text.push_str("Outputs: { FirstArn: { Value: made-up } }\n");
    text
}

/// A stack `acme-parts-main`, and one that waits for it.
pub(crate) fn plain(resources: &[(&str, &str, &str)]) -> Platform {
    let steps = "  steps:\n    - { name: main, stack: { template: main.cfn.yaml } }\n    \
                 - { name: next, stack: { template: next.cfn.yaml, parameters: { From: \"${steps.main.outputs.FirstArn}\" } } }\n";
    let next =
        "Parameters: { From: { Type: String } }\nResources: { Table: { Type: AWS::DynamoDB::Table } }\n";
    Platform {
        text: format!("{HEAD}    parts: {{ uses: parts }}\n"),
        definitions: [(
            "parts".to_owned(),
            files([
                ("component.yaml", component("parts", steps)),
                ("main.cfn.yaml", template(resources)),
                ("next.cfn.yaml", next.to_owned()),
            ]),
        )]
        .into(),
    }
}

/// One resource `Thing` of a type.
pub(crate) fn one(kind: &str) -> Platform {
    plain(&[("Thing", kind, "")])
}

/// A component `parts` with these steps and files.
pub(crate) fn parts<const N: usize>(steps: &str, more: [(&str, &str); N]) -> Platform {
    let mut all = files(more.map(|(name, text)| (name, text.to_owned())));
    all.insert("component.yaml".to_owned(), component("parts", steps));
    Platform {
        text: format!("{HEAD}    parts: {{ uses: parts }}\n"),
        definitions: [("parts".to_owned(), all)].into(),
    }
}

/// A cluster `acme` with machines, and more components.
pub(crate) fn cluster(more: &str) -> Platform {
    let text = format!(
        "{HEAD}    network: {{ uses: demo-network }}\n    \
         cluster: {{ uses: demo-cluster, with: {{ vpcId: \"${{components.network.vpcId}}\" }} }}\n    \
         nodes: {{ uses: demo-nodes, with: {{ clusterName: \"${{components.cluster.clusterName}}\" }} }}\n{more}"
    );
    Platform {
        text,
        definitions: BTreeMap::new(),
    }
}

/// A component of the demo that waits until there are machines.
pub(crate) fn uses(name: &str, demo: &str) -> String {
    format!(
        "    {name}: {{ uses: demo-{demo}, with: {{ clusterName: \"${{components.nodes.clusterName}}\" }} }}\n"
    )
}

/// A cluster with machines and load balancers, and a component `own` with these steps, whose `CLUSTER` is the
/// cluster's name, and files.
pub(crate) fn own<const N: usize>(steps: &str, more: [(&str, &str); N]) -> Platform {
    let text = format!(
        "{}{}",
        uses("ingress", "ingress-controller"),
        uses("own", "X").replace("demo-X", "own")
    );
    let mut platform = cluster(&text);
    let spec = format!(
        "  inputs: {{ clusterName: {{ type: string }} }}\n{}",
        steps.replace("CLUSTER", "\"${inputs.clusterName}\"")
    );
    let mut all = files(more.map(|(name, text)| (name, text.to_owned())));
    all.insert("component.yaml".to_owned(), component("own", &spec));
    platform.definitions.insert("own".to_owned(), all);
    platform
}

/// The same, with one step `objects` and one manifest.
pub(crate) fn manifest(text: &str) -> Platform {
    own(
        "  steps:\n    - { name: objects, objects: { cluster: CLUSTER, namespace: default, manifests: [objects.yaml] } }\n",
        [("objects.yaml", text)],
    )
}

/// The shop of the demo, on a cluster without the EBS CSI driver.
pub(crate) fn without_volumes() -> Platform {
    let mut platform = cluster(&(uses("ingress", "ingress-controller") + &uses("shop", "shop")));
    platform.text = platform.text.replace("uses: demo-cluster", "uses: bare-cluster");
    let mut bare = landfall_sim::demo::definition("demo-cluster");
    let text = bare
        .get_mut("eks.cfn.yaml")
        .expect("the demo's cluster has a template");
    let addon = text.find("  Volumes:").expect("the template has the add-on");
    let outputs = text.find("Outputs:").expect("the template has outputs");
    text.replace_range(addon..outputs, "");
    let text = bare
        .get_mut("component.yaml")
        .expect("the demo's cluster is a component");
    *text = text.replace("name: demo-cluster", "name: bare-cluster");
    platform.definitions.insert("bare-cluster".to_owned(), bare);
    platform
}
