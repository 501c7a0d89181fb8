//! Whose credentials are in use, and how long they last.

use std::time::Duration;

use landfall_model::definition::IdentityCheck;
use landfall_model::provider::{Failure, Outputs};
use landfall_runner::{ApplyError, Identity, WhoAmI};

use crate::{Held, Miss, Seen, not_a_time};

/// Asks once. Credentials that do not fit will not by waiting; only asking may fail for a while.
pub(crate) async fn look(check: &IdentityCheck, who: &dyn WhoAmI) -> Result<Held, Miss> {
    let identity = match who.who_am_i().await {
        Ok(identity) => identity,
        Err(ApplyError::Failed(failure)) => return Err(unanswered(*failure).into()),
        Err(expired @ (ApplyError::CredentialsExpired(_) | ApplyError::Stopped)) => {
            return Err(Miss::Never(expired));
        }
    };
    judge(check, &identity)
}

fn unanswered(failure: Failure) -> Seen {
    let Failure {
        summary,
        cause,
        way_out,
    } = failure;
    let what = match cause {
        Some(cause) => format!("{summary}: {}", cause.reason),
        None => summary,
    };
    Seen {
        what,
        resource: "credentials".to_owned(),
        kind: String::new(),
        state: "unknown".to_owned(),
        way_out: way_out.unwrap_or_else(|| {
            "check that AWS can be reached and that there are credentials: aws sts get-caller-identity"
                .to_owned()
        }),
    }
}

fn judge(check: &IdentityCheck, identity: &Identity) -> Result<Held, Miss> {
    let IdentityCheck {
        account,
        minimum_lifetime,
        temporary,
    } = check;
    if identity.account != *account {
        return Err(Failure::new(format!(
            "the credentials belong to account {}, not to {account}: they are {}",
            identity.account, identity.arn
        ))
        .way_out(format!(
            "choose a profile of account {account} (export AWS_PROFILE=...), or sign in to it with \
             `aws sso login`"
        ))
        .into());
    }
    if *temporary && !identity.temporary {
        return Err(Failure::new(format!(
            "the credentials of {} are long-lived access keys, which never expire; only temporary \
             ones are accepted",
            identity.arn
        ))
        .way_out(
            "use a profile that signs in (export AWS_PROFILE=..., then `aws sso login`), or assume a role; \
             then delete the access keys",
        )
        .into());
    }
    let least = match minimum_lifetime {
        Some(text) => {
            landfall_model::definition::duration(text).ok_or_else(|| not_a_time("minimumLifetime", text))?
        }
        None => Duration::ZERO,
    };
    if let Some(lasts) = identity.lasts
        && lasts < least
    {
        return Err(Failure::new(format!(
            "the credentials of {} last {}, but at least {} is needed",
            identity.arn,
            minutes(lasts),
            minutes(least),
        ))
        .way_out("sign in again (`aws sso login`), or assume the role for longer")
        .into());
    }
    Ok(held(identity))
}

fn held(identity: &Identity) -> Held {
    let Identity {
        account,
        arn,
        temporary,
        lasts,
    } = identity;
    let who = format!("{arn} in account {account}");
    let notes = match lasts {
        Some(lasts) => vec![format!("{who}, credentials last {}", minutes(*lasts))],
        None if *temporary => vec![who, "how long the credentials last is not known".to_owned()],
        None => vec![who, "the credentials are long-lived access keys".to_owned()],
    };
    let mut outputs = Outputs::new();
    outputs.insert("account".to_owned(), account.as_str().into());
    outputs.insert("arn".to_owned(), arn.as_str().into());
    Held { outputs, notes }
}

/// Whole minutes, which is as much as anyone wants to know, and seconds below one.
fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 60 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
