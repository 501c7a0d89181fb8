//! The roles of an account (source: AWS IAM API reference, `ListRoles`).

use async_trait::async_trait;
use landfall_runner::{ApplyError, Role, Roles};

use crate::account::Account;
use crate::signed::{Call, encoded};
use crate::trouble::{Trouble, patiently};

#[async_trait]
impl Roles for Account {
    async fn roles(&self, path_prefix: &str) -> Result<Vec<Role>, ApplyError> {
        let doing = format!("listing the roles below {path_prefix}");
        self.list(path_prefix)
            .await
            .map_err(|trouble| trouble.failing(&doing))
    }
}

impl Account {
    async fn list(&self, path_prefix: &str) -> Result<Vec<Role>, Trouble> {
        let mut roles = Vec::new();
        let mut marker = None;
        loop {
            let from = marker
                .map(|marker: String| format!("&Marker={}", encoded(&marker)))
                .unwrap_or_default();
            let body = format!(
                "Action=ListRoles&MaxItems=1000&PathPrefix={}{from}&Version=2010-05-08",
                encoded(path_prefix)
            );
            let page = patiently(None, || async {
                self.send(&Call {
                    service: "iam",
                    region: "us-east-1",
                    method: "POST",
                    url: format!("{}/", self.address("iam.amazonaws.com")),
                    headers: vec![(
                        "content-type",
                        "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
                    )],
                    body: body.clone().into_bytes(),
                })
                .await
            })
            .await?;
            marker = read(&page.text(), &mut roles)?;
            if marker.is_none() {
                return Ok(roles);
            }
        }
    }
}

/// Reads one page; returns where the next begins.
fn read(page: &str, roles: &mut Vec<Role>) -> Result<Option<String>, Trouble> {
    let document = roxmltree::Document::parse(page).map_err(|error| Trouble::Other {
        code: "InvalidAnswer".to_owned(),
        message: error.to_string(),
    })?;
    let text = |node: roxmltree::Node<'_, '_>, name: &str| {
        node.children()
            .find(|child| child.tag_name().name() == name)
            .and_then(|child| child.text())
            .map(str::to_owned)
    };
    let found = document.descendants().filter_map(|node| {
        Some(Role {
            name: text(node, "RoleName")?,
            arn: text(node, "Arn")?,
        })
    });
    roles.extend(found);
    let result = document
        .descendants()
        .find(|node| node.tag_name().name() == "ListRolesResult");
    Ok(result
        .filter(|result| text(*result, "IsTruncated").as_deref() == Some("true"))
        .and_then(|result| text(result, "Marker")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_roles_are_read_until_the_last() {
        let page = |more: bool| {
            format!(
                "<ListRolesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListRolesResult>\
                 <IsTruncated>{more}</IsTruncated><Marker>next</Marker><Roles><member>\
                 <RoleName>AWSReservedSSO_Administrator_0a</RoleName>\
                 <Arn>arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Administrator_0a</Arn>\
                 </member></Roles></ListRolesResult></ListRolesResponse>"
            )
        };
        let mut roles = Vec::new();
        assert_eq!(read(&page(true), &mut roles).unwrap().as_deref(), Some("next"));
        assert_eq!(read(&page(false), &mut roles).unwrap(), None);
        assert_eq!(roles.len(), 2);
        assert_eq!(
            roles[0].arn,
            "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Administrator_0a"
        );
    }
}
