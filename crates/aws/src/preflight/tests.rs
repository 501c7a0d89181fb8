//! Recorded answers, as the API reference of each action has them, shortened to what is read.

use super::*;

const NETWORKS: &str = r#"<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><vpcSet>
  <item><vpcId>vpc-1</vpcId><cidrBlock>10.0.0.0/16</cidrBlock><cidrBlockAssociationSet>
    <item><cidrBlock>10.0.0.0/16</cidrBlock><cidrBlockState><state>associated</state></cidrBlockState></item>
    <item><cidrBlock>100.64.0.0/16</cidrBlock><cidrBlockState><state>associated</state></cidrBlockState></item>
    <item><cidrBlock>100.65.0.0/16</cidrBlock><cidrBlockState><state>disassociated</state></cidrBlockState></item>
    </cidrBlockAssociationSet>
    <tagSet><item><key>Name</key><value>legacy</value></item></tagSet></item>
  <item><vpcId>vpc-2</vpcId><cidrBlock>172.31.0.0/16</cidrBlock>
    <tagSet><item><key>landfall:platform</key><value>acme</value></item></tagSet></item></vpcSet></DescribeVpcsResponse>"#;

#[test]
fn networks_are_told_with_all_their_ranges() {
    let networks = networks_of(NETWORKS);
    let told: Vec<String> = networks
        .iter()
        .map(|network| {
            let Network {
                id,
                name,
                cidrs,
                platform,
            } = network;
            format!("{id} {name:?} {cidrs:?} {platform:?}")
        })
        .collect();
    assert_eq!(
        told,
        [
            r#"vpc-1 Some("legacy") ["10.0.0.0/16", "100.64.0.0/16"] None"#,
            r#"vpc-2 None ["172.31.0.0/16"] Some("acme")"#
        ]
    );
}

#[test]
fn a_zone_tells_its_servers() {
    let answer = r#"<GetHostedZoneResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HostedZone><Id>/hostedzone/Z1</Id>
      <Name>Acme.example.</Name><Config><PrivateZone>false</PrivateZone></Config></HostedZone>
      <DelegationSet><NameServers><NameServer>ns-1.awsdns-01.org</NameServer><NameServer>ns-2.awsdns-02.com</NameServer></NameServers></DelegationSet>
      </GetHostedZoneResponse>"#;
    let zone = zone_of(answer).unwrap();
    assert_eq!((zone.name.as_str(), zone.private), ("acme.example", false));
    assert_eq!(zone.servers, ["ns-1.awsdns-01.org", "ns-2.awsdns-02.com"]);
    let private = answer.replace("<PrivateZone>false", "<PrivateZone>true");
    assert!(zone_of(&private).unwrap().private);
}

#[test]
fn a_certificate_tells_its_names_and_status() {
    let answer = json!({ "Status": "PENDING_VALIDATION", "DomainName": "acme.example",
        "SubjectAlternativeNames": ["acme.example", "*.acme.example"] });
    assert_eq!(
        certificate_of(&answer),
        Some(Certificate {
            status: "PENDING_VALIDATION".to_owned(),
            names: vec!["acme.example".to_owned(), "*.acme.example".to_owned()],
        })
    );
    assert_eq!(certificate_of(&Value::Null), None);
}
