//! What was found before the first change, as text.

use std::fmt::Write as _;

use landfall_model::finding::{Finding, Weight};

use super::{Paint, count};

/// Everything that was found, refusals first; empty when nothing was.
pub(crate) fn findings(findings: &[Finding], paint: Paint) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let number = |weight: Weight| findings.iter().filter(|one| one.weight == weight).count();
    let parts: Vec<String> = [
        (Weight::Refuses, "refusal"),
        (Weight::Warns, "warning"),
        (Weight::Unchecked, "unanswered question"),
    ]
    .into_iter()
    .filter(|(weight, _)| number(*weight) > 0)
    .map(|(weight, noun)| count(number(weight), noun))
    .collect();
    let mut text = format!(
        "\n{} {}.\n",
        paint.bold("Before the first change:"),
        parts.join(", ")
    );
    for finding in findings {
        let Finding {
            weight,
            step,
            resource,
            what,
            way_out,
        } = finding;
        let sign = match weight {
            Weight::Refuses => paint.red("✗"),
            Weight::Warns => paint.yellow("!"),
            Weight::Unchecked => paint.magenta("?"),
        };
        let place = match (step, resource) {
            (Some(step), Some(resource)) => format!("{step} {resource}: "),
            (Some(step), None) => format!("{step}: "),
            (None, _) => String::new(),
        };
        let _ = writeln!(text, "  {sign} {}{what}", paint.bold(&place));
        let _ = writeln!(text, "      {}", paint.dim(way_out));
    }
    text
}
