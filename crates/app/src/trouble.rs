//! Errors at the front door: the whole chain once, a hint when we know the way out, an exit code.

use std::process::ExitCode;

use landfall_aws::ConnectError;
use landfall_model::Diagnostics;
use landfall_runner::ObserveError;

/// What the user asked for makes no sense as it stands; nothing was done.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Usage {
    pub(crate) fn error(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Usage {
            message: message.into(),
            hint: Some(hint.into()),
        })
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Usage {}

/// Prints an error and picks the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let paint = crate::show::Paint::for_stderr();
    if let Some(found) = error.downcast_ref::<Diagnostics>() {
        eprintln!(
            "{}\n\n{}",
            landfall_engine::render::diagnostics(found, paint.on()),
            paint.red(&found.to_string())
        );
        return ExitCode::from(2);
    }
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("{} {text}", paint.red("error:"));
    if let Some(hint) = hint(error) {
        eprintln!("{} {hint}", paint.bold("hint:"));
    }
    ExitCode::from(if is_usage(error) { 2 } else { 1 })
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Usage>().is_some()
        || matches!(
            error.downcast_ref::<ConnectError>(),
            Some(ConnectError::OtherAccount { .. })
        )
        || matches!(
            error.downcast_ref::<landfall_store::Error>(),
            Some(landfall_store::Error::Format { .. } | landfall_store::Error::Content { .. })
        )
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(usage) = error.downcast_ref::<Usage>() {
        return usage.hint.clone();
    }
    match error.downcast_ref::<ConnectError>() {
        Some(ConnectError::OtherAccount { declared, .. }) => {
            return Some(format!(
                "set AWS_PROFILE to a profile of account {declared}, or mend `spec.account`"
            ));
        }
        Some(ConnectError::Credentials { .. }) => {
            return Some(
                "sign in (for example `aws sso login`), set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and its companions"
                    .to_owned(),
            );
        }
        None => {}
    }
    if let Some(landfall_store::Error::Locked { .. }) = error.downcast_ref() {
        return Some("wait until it is done; a process that died holds nothing".to_owned());
    }
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ObserveError>()?.way_out.clone())
}
