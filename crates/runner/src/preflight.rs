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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SystemClock;
    use async_trait::async_trait;
    use landfall_model::question::Name;

    struct World;

    #[async_trait]
    impl Preflight for World {
        async fn ask(&self, question: &Question) -> Result<Answer, ObserveError> {
            match question {
                Question::Zone { .. } => std::future::pending().await,
                Question::Certificate { .. } => Err(ObserveError {
                    way_out: Some("allow it".to_owned()),
                    ..ObserveError::new("it could not be described", "access denied")
                }),
                _ => Ok(Answer::Name(Name::Free)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_refusals_hold_nobody_up() {
        let mut questions = vec![
            Question::Zone { id: "Z1".to_owned() },
            Question::Networks {
                region: "eu-west-1".to_owned(),
            },
            Question::Certificate {
                arn: "arn".to_owned(),
            },
        ];
        questions.extend((0..40).map(|zone| Question::Zone {
            id: format!("Z{zone}"),
        }));
        let began = tokio::time::Instant::now();
        let answers = ask(&World, &SystemClock, &questions).await;
        assert_eq!(answers.len(), questions.len());
        let why = |at: usize| answers[at].as_ref().map_err(|unanswered| unanswered.why.as_str());
        assert_eq!(why(0), Err("no answer within 20 s"));
        assert_eq!(why(1), Ok(&Answer::Name(Name::Free)));
        assert_eq!(why(2), Err("it could not be described: access denied"));
        assert!(began.elapsed() <= DEADLINE * 3, "{:?}", began.elapsed());
    }
}
