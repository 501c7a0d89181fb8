//! Asks the world what is asked before the first change: everything at once, nothing for ever.

use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use landfall_model::question::{Answer, Question};

use crate::ports::{Clock, ObserveError, Preflight};

/// How many questions are asked at once.
const AT_ONCE: usize = 16;

/// How long one answer is waited for. A plan without it is worth more than no plan.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What happened, in one sentence.
    pub why: String,
    /// The way out, when there is one to name.
    pub way_out: Option<String>,
}

/// Asks every question, and gives the answers in the order of the questions. What cannot be asked is no
/// error: nobody knows, and that is said.
pub async fn ask(
    preflight: &dyn Preflight,
    clock: &dyn Clock,
    questions: &[Question],
) -> Vec<Result<Answer, Unanswered>> {
    stream::iter(questions)
        .map(|question| async move {
            match select(preflight.ask(question), clock.sleep(DEADLINE)).await {
                Either::Left((answer, _)) => answer.map_err(unanswered),
                Either::Right(_) => Err(Unanswered {
                    why: format!("no answer within {} s", DEADLINE.as_secs()),
                    way_out: None,
                }),
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

fn unanswered(error: ObserveError) -> Unanswered {
    let ObserveError {
        doing,
        source,
        way_out,
        expired: _,
    } = error;
    let cause = source.to_string();
    Unanswered {
        why: if cause.is_empty() || doing.contains(&cause) {
            doing
        } else {
            format!("{doing}: {cause}")
        },
        way_out,
    }
}
