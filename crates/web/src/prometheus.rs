//! A query of Prometheus gives a number that is large enough (source: Prometheus, "HTTP API", instant queries).

use std::time::Duration;

use landfall_model::definition::PrometheusCheck;
use landfall_model::provider::Outputs;
use serde_json::Value;

use crate::http::{beginning, parse, show, unanswered};
use crate::reach::Reach;
use crate::{Held, Miss, Seen};

const ONE_TRY: Duration = Duration::from_secs(10);
const AT_LEAST: Duration = Duration::from_secs(1);

/// Asks once.
pub(crate) async fn look(check: &PrometheusCheck, reach: &Reach, left: Duration) -> Result<Held, Miss> {
    let PrometheusCheck { url, query, at_least } = check;
    let time = left.clamp(AT_LEAST, ONE_TRY);
    let mut address = parse(&format!("{}/api/v1/query", url.trim_end_matches('/')))?;
    address.query_pairs_mut().append_pair("query", query);
    let response = reach
        .get(&address, time)?
        .send()
        .await
        .map_err(|error| unanswered(&address, time, error))?;
    let status = response.status().as_u16();
    let body = beginning(response)
        .await
        .map_err(|error| unanswered(&address, time, error))?;
    let shown = show(&address);
    // As it may be shown: an address may hold a user and a password.
    let base = shown.trim_end_matches("/api/v1/query");
    let seen = |what: String, state: &str, way_out: String| Seen {
        what,
        resource: shown.clone(),
        kind: "PromQL".to_owned(),
        state: state.to_owned(),
        way_out,
    };
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status != 200 || answer["status"] != "success" {
        let why = answer["error"].as_str().unwrap_or("no explanation");
        return Err(seen(
            format!("{shown} answers {status} to `{query}` ({why})"),
            &status.to_string(),
            format!("try the query on {base}/graph"),
        )
        .into());
    }
    let Some(value) = largest(&answer["data"]) else {
        return Err(seen(
            format!("`{query}` has no values yet"),
            "empty",
            format!(
                "check on {base}/targets that what should be measured is among the targets, and that the names in the \
                 query are right"
            ),
        )
        .into());
    };
    if value < *at_least {
        return Err(seen(
            format!("`{query}` gives {value}, less than {at_least}"),
            &value.to_string(),
            format!("look at the query on {base}/graph"),
        )
        .into());
    }
    Ok(Held {
        outputs: Outputs::from_iter([("value".to_owned(), value.into())]),
        notes: vec![format!("`{query}` gives {value}")],
    })
}

/// The largest value of an answer, whether it is one number or many series. `NaN` is no value.
fn largest(data: &Value) -> Option<f64> {
    let number = |pair: &Value| -> Option<f64> {
        let value: f64 = pair.get(1)?.as_str()?.parse().ok()?;
        (!value.is_nan()).then_some(value)
    };
    match data["resultType"].as_str()? {
        "scalar" => number(&data["result"]),
        _ => data["result"]
            .as_array()?
            .iter()
            .filter_map(|series| number(&series["value"]))
            .reduce(f64::max),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_largest_of_all_series_counts() {
        let vector = |values: &[&str]| {
            let result: Vec<Value> = values
                .iter()
                .map(|value| json!({ "metric": {}, "value": [1_790_000_000.1, value] }))
                .collect();
            json!({ "resultType": "vector", "result": result })
        };
        assert_eq!(largest(&vector(&["1", "7", "NaN"])), Some(7.0));
        assert_eq!(largest(&vector(&["NaN"])), None);
        assert_eq!(largest(&vector(&[])), None);
        let scalar = json!({ "resultType": "scalar", "result": [1_790_000_000.1, "2.5"] });
        assert_eq!(largest(&scalar), Some(2.5));
    }
}
