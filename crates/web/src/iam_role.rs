//! Exactly one IAM role has a name of some form.

use landfall_model::definition::IamRoleCheck;
use landfall_model::provider::{Failure, Outputs};
use landfall_runner::{ApplyError, Role, Roles};
use regex::Regex;

use crate::{Held, Miss, Seen};

/// Asks once.
pub(crate) async fn look(check: &IamRoleCheck, roles: Option<&dyn Roles>) -> Result<Held, Miss> {
    let IamRoleCheck { path_prefix, name } = check;
    let form = Regex::new(name).map_err(|error| {
        Failure::new(format!("`name` of the check is no regular expression: {error}"))
            .way_out("write it as `^AWSReservedSSO_Administrator_`")
    })?;
    let Some(roles) = roles else {
        return Err(Failure::new("there is nobody here to ask for roles").into());
    };
    let all = match roles.roles(path_prefix).await {
        Ok(all) => all,
        Err(ApplyError::Failed(failure)) => return Err(Miss::from(*failure)),
        Err(other) => return Err(Miss::Never(other)),
    };
    let fitting: Vec<&Role> = all.iter().filter(|role| form.is_match(&role.name)).collect();
    match fitting.as_slice() {
        [only] => Ok(Held {
            outputs: Outputs::from_iter([
                ("arn".to_owned(), only.arn.as_str().into()),
                ("name".to_owned(), only.name.as_str().into()),
            ]),
            notes: vec![format!("the role is {}", only.arn)],
        }),
        [] => Err(Seen {
            what: format!("none of the {} roles below {path_prefix} has a name like `{name}`", all.len()),
            resource: name.clone(),
            kind: "AWS::IAM::Role".to_owned(),
            state: "missing".to_owned(),
            way_out: format!(
                "assign the permission set to this account in IAM Identity Center, or mend the name; what there is: aws iam list-roles \
                 --path-prefix {path_prefix} --query 'Roles[].RoleName'"
            ),
        }
        .into()),
        several => Err(Failure::new(format!(
            "{} roles below {path_prefix} have a name like `{name}`: {}",
            several.len(),
            several.iter().map(|role| role.name.as_str()).collect::<Vec<_>>().join(", ")
        ))
        .way_out("make the expression fit one of them only, for example with `^` and `_` around the permission set's name")
        .into()),
    }
}
