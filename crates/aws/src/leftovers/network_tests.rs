use super::*;

fn of(kind: &str, page: &str) -> Vec<Thing> {
    let kind = TYPES.iter().find(|one| one.kind == kind).unwrap();
    things(kind, page, |id| format!("arn/{id}"))
}

fn interface_of(kind: &str, words: &str, managed: bool, status: &str, instance: &str) -> String {
    let holder = holder(&Attached {
        kind,
        description: words,
        requester_managed: managed,
        available: status == "available",
        instance,
    });
    let holder = holder.map_or("nobody".to_owned(), |holder| holder.words());
    format!("{kind} `{words}` {status}: {holder}")
}

#[test]
fn whoever_has_an_interface_is_told_by_it() {
    let told = [
        interface_of(
            "nat_gateway",
            "Interface for NAT Gateway nat-0a1b",
            true,
            "in-use",
            "",
        ),
        interface_of(
            "vpc_endpoint",
            "VPC Endpoint Interface vpce-0a1b",
            true,
            "in-use",
            "",
        ),
        interface_of(
            "interface",
            "ELB app/k8s-web/50dc6c495c0c9188",
            true,
            "in-use",
            "",
        ),
        interface_of(
            "network_load_balancer",
            "ELB net/k8s-web/50dc6c495c0c9188",
            true,
            "in-use",
            "",
        ),
        interface_of("interface", "ELB a1b2", true, "in-use", ""),
        interface_of("interface", "Amazon EKS acme-eks", false, "in-use", ""),
        interface_of("interface", "Amazon EKS acme-eks", false, "available", ""),
        interface_of("interface", "aws-K8S-i-0a1b", false, "in-use", "i-0a1b"),
        interface_of("interface", "aws-K8S-i-0a1b", false, "available", ""),
        interface_of("lambda", "AWS Lambda VPC ENI-acme-1", true, "in-use", ""),
        interface_of("interface", "RDSNetworkInterface", true, "in-use", ""),
        interface_of("interface", "", true, "available", ""),
        interface_of("interface", "", false, "available", ""),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

// As the API reference of each action has it, shortened to what is read.
const VOLUMES: &str = r#"<DescribeVolumesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><volumeSet>
  <item><volumeId>vol-1</volumeId><size>20</size><status>in-use</status><attachmentSet><item><volumeId>vol-1</volumeId>
    <instanceId>i-1</instanceId><status>attached</status></item></attachmentSet>
    <tagSet><item><key>kubernetes.io/cluster/acme</key><value>owned</value></item></tagSet></item>
  <item><volumeId>vol-2</volumeId><size>8</size><status>available</status><attachmentSet/></item>
  <item><volumeId>vol-3</volumeId><size>8</size><status>deleting</status></item></volumeSet></DescribeVolumesResponse>"#;
const INSTANCES: &str = r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet>
  <item><groupSet/><instancesSet><item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name></instanceState>
    <vpcId>vpc-1</vpcId><tagSet><item><key>aws:autoscaling:groupName</key><value>eks-workers</value></item></tagSet></item></instancesSet></item>
  <item><instancesSet><item><instanceId>i-2</instanceId><instanceState><code>48</code><name>terminated</name></instanceState></item>
    <item><instanceId>i-3</instanceId><instanceState><name>stopped</name></instanceState><vpcId>vpc-1</vpcId></item></instancesSet></item>
  </reservationSet></DescribeInstancesResponse>"#;
const GATEWAYS: &str = r#"<R><natGatewaySet><item><natGatewayId>nat-1</natGatewayId><state>available</state><vpcId>vpc-1</vpcId>
  <natGatewayAddressSet><item><networkInterfaceId>eni-1</networkInterfaceId></item></natGatewayAddressSet></item>
  <item><natGatewayId>nat-2</natGatewayId><state>deleted</state></item></natGatewaySet></R>"#;
const ENDPOINTS: &str = r#"<R><vpcEndpointSet><item><vpcEndpointId>vpce-1</vpcEndpointId><state>available</state><vpcId>vpc-1</vpcId>
  <networkInterfaceIdSet><item>eni-2</item></networkInterfaceIdSet></item><item><vpcEndpointId>vpce-2</vpcEndpointId>
  <state>Deleting</state></item></vpcEndpointSet></R>"#;
const GROUPS: &str = r#"<R><securityGroupInfo><item><groupId>sg-1</groupId><groupName>default</groupName><vpcId>vpc-1</vpcId></item>
  <item><groupId>sg-2</groupId><groupName>k8s-traffic</groupName><vpcId>vpc-1</vpcId></item></securityGroupInfo></R>"#;

#[test]
fn what_is_as_good_as_gone_is_not_found() {
    let told: Vec<String> = [
        ("AWS::EC2::Volume", VOLUMES),
        ("AWS::EC2::Instance", INSTANCES),
        ("AWS::EC2::NatGateway", GATEWAYS),
        ("AWS::EC2::VPCEndpoint", ENDPOINTS),
        (GROUP, GROUPS),
    ]
    .iter()
    .flat_map(|(kind, page)| of(kind, page))
    .map(|thing| {
        let holder = thing.holder.as_ref().map(Holder::words);
        format!(
            "{} {:?} {:?} {:?} {:?}",
            thing.id, thing.network, thing.data, holder, thing.interfaces
        )
    })
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    vol-1 None Some("20 GiB") Some("instance i-1") []
    vol-2 None Some("8 GiB") None []
    i-1 Some("vpc-1") None Some("auto scaling group eks-workers") []
    i-3 Some("vpc-1") None None []
    nat-1 Some("vpc-1") None None ["eni-1"]
    vpce-1 Some("vpc-1") None None ["eni-2"]
    sg-2 Some("vpc-1") None None []
    "#);
}

#[test]
fn one_question_holds_every_key() {
    let volume = TYPES.iter().find(|kind| kind.kind == "AWS::EC2::Volume").unwrap();
    let group = TYPES.iter().find(|kind| kind.kind == GROUP).unwrap();
    let marks = [
        Mark::Platform("acme".into()),
        Mark::Cluster("acme-eks".into()),
        Mark::Network("vpc-1".into()),
    ];
    assert_eq!(filters(volume, &marks).len(), 1);
    assert_eq!(filters(group, &marks).len(), 2);
    let keys = &filters(volume, &marks)[0];
    assert!(
        keys.iter()
            .any(|(_, value)| value == "kubernetes.io/cluster/acme-eks")
    );
    // A platform without clusters does not ask for every cluster's things in the account.
    assert_eq!(filters(volume, &marks[..1])[0].len(), 3);
}
