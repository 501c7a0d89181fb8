//! The roles of an account (source: AWS IAM API reference, `ListRoles`).

use async_trait::async_trait;
use landfall_runner::{ApplyError, Role, Roles};

use crate::account::Account;
use crate::ask::{Query, Region, parameter};
use crate::preflight::xml::{all, text};

#[async_trait]
impl Roles for Account {
    async fn roles(&self, path_prefix: &str) -> Result<Vec<Role>, ApplyError> {
        let region = Region {
            account: self,
            name: self.region(),
            patient: true,
        };
        let parameters = vec![
            parameter("MaxItems", "1000"),
            parameter("PathPrefix", path_prefix),
        ];
        let pages = region
            .of_the_account()
            .pages(Query::Iam, "ListRoles", parameters)
            .await
            .map_err(|refused| {
                refused
                    .trouble
                    .failing(&format!("listing the roles below {path_prefix}"))
            })?;
        Ok(pages.iter().flat_map(|page| read(page)).collect())
    }
}

/// The roles of one page.
fn read(page: &str) -> Vec<Role> {
    all(page, "Roles", |role| {
        Some(Role {
            name: text(role, "RoleName")?,
            arn: text(role, "Arn")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_with_name_and_arn() {
        let page = "<ListRolesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListRolesResult>\
             <IsTruncated>true</IsTruncated><Marker>next</Marker><Roles><member>\
             <RoleName>AWSReservedSSO_Administrator_0a</RoleName>\
             <Arn>arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Administrator_0a</Arn>\
             </member></Roles></ListRolesResult></ListRolesResponse>";
        let roles = read(page);
        assert_eq!(roles.len(), 1);
        assert_eq!(roles[0].name, "AWSReservedSSO_Administrator_0a");
        assert_eq!(
            roles[0].arn,
            "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Administrator_0a"
        );
        // The marker of the next page is read for every list alike.
        assert_eq!(crate::signed::element(page, "Marker").as_deref(), Some("next"));
    }
}
