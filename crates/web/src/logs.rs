//! A text arrives in CloudWatch Logs.

use landfall_model::definition::{LogsCheck, duration};
use landfall_model::provider::{Failure, Outputs};
use landfall_runner::{LogReader, Logged};

use crate::{Held, Miss, Seen, not_a_time};

/// Asks once.
pub(crate) async fn look(check: &LogsCheck, reader: Option<&dyn LogReader>) -> Result<Held, Miss> {
    let LogsCheck {
        log_group,
        pattern,
        region,
        since,
    } = check;
    let Some(reader) = reader else {
        return Err(Failure::new("nobody was given to ask about logs")
            .way_out("run the command with credentials of the platform's account")
            .into());
    };
    let back = duration(since).ok_or_else(|| not_a_time("since", since))?;
    let found = reader
        .find(region.as_deref(), log_group, pattern, back)
        .await
        .map_err(Miss::Never)?;
    let seen = |what: String, state: &str, way_out: String| Seen {
        what,
        resource: log_group.clone(),
        kind: "log group".to_owned(),
        state: state.to_owned(),
        way_out,
    };
    match found {
        Logged::NoGroup => Err(seen(
            format!("there is no log group {log_group} yet"),
            "missing",
            "check that what writes the log runs, and may create log groups (logs:CreateLogGroup)".to_owned(),
        )
        .into()),
        Logged::Nothing => {
            let what = if pattern.is_empty() {
                format!("nothing arrived in {log_group} within {since}")
            } else {
                format!("nothing like `{pattern}` arrived in {log_group} within {since}")
            };
            Err(seen(
                what,
                "empty",
                format!("look at what does arrive: aws logs tail {log_group} --since {since}"),
            )
            .into())
        }
        Logged::Event(event) => Ok(Held {
            outputs: Outputs::from_iter([("stream".to_owned(), event.stream.as_str().into())]),
            notes: vec![format!("{log_group} has it, in {}", event.stream)],
        }),
    }
}
