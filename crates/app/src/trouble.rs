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

/// Somebody was asked, and said no. Nothing was done.
#[derive(Debug)]
pub(crate) struct Declined;

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing was done")
    }
}

impl std::error::Error for Declined {}

/// Prints an error and picks the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<Declined>().is_some() {
        println!("Nothing was done.");
        return ExitCode::from(1);
    }
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

/// An error of this type, as it is or as why a session could not go on.
fn found<T: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    let inner: &(dyn std::error::Error + 'static) = match error.downcast_ref::<landfall_session::Error>()? {
        landfall_session::Error::Look(error) => error,
        landfall_session::Error::Search(error) => error,
        landfall_session::Error::Plan(error) => error,
        landfall_session::Error::Store(error) => error,
        landfall_session::Error::Stop(error) => error,
        landfall_session::Error::OutOfOrder { .. } => return None,
    };
    inner.downcast_ref::<T>()
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Usage>().is_some()
        || matches!(
            error.downcast_ref::<ConnectError>(),
            Some(ConnectError::OtherAccount { .. })
        )
        || matches!(
            found::<landfall_store::Error>(error),
            Some(
                landfall_store::Error::Format { .. }
                    | landfall_store::Error::Content { .. }
                    | landfall_store::Error::Missing { .. }
                    | landfall_store::Error::HalfCopied { .. }
                    | landfall_store::Error::Moved { .. }
                    | landfall_store::Error::WentOn { .. }
            )
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
    if let Some(error) = found::<landfall_store::Error>(error) {
        return error.way_out().map(str::to_owned);
    }
    let fenced = |error: &landfall_session::Error| {
        matches!(
            error,
            landfall_session::Error::Stop(landfall_runner::Stop::Journal(
                landfall_runner::JournalError::Fenced { .. }
            ))
        )
    };
    if error.downcast_ref().is_some_and(fenced) {
        return Some(
            "nothing more was done here; `landfall status` shows what the other one does".to_owned(),
        );
    }
    let observing = found::<ObserveError>(error).and_then(|error| error.way_out.clone());
    observing.or_else(|| {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<ObserveError>()?.way_out.clone())
    })
}
