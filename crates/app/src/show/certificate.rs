//! The certificate of a teardown as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use landfall_model::certificate::Certificate;
use landfall_model::leftover::{Found, LandmarkKind};

use super::{Paint, count};

/// What was removed, what was kept on purpose, and what a fresh search found.
pub(crate) fn certificate(certificate: &Certificate, paint: Paint) -> String {
    let mut text = format!(
        "{}  {}  account {}  {}  {}\n\n",
        paint.bold("Certificate of destruction"),
        certificate.platform,
        certificate.account,
        certificate.region,
        certificate.at
    );
    let _ = writeln!(text, "  Removed: {}", count(certificate.removed.len(), "step"));
    for thing in &certificate.removed {
        let _ = writeln!(text, "    {}  {}  {}", thing.step, thing.kind.word(), thing.name);
    }
    if !certificate.swept.is_empty() {
        let _ = writeln!(
            text,
            "  Swept: {} that controllers left",
            count(certificate.swept.len(), "thing")
        );
        for (kind, ids) in by_kind(&certificate.swept) {
            let _ = writeln!(text, "    {kind}: {}", ids.join(", "));
        }
    }
    if !certificate.retained.is_empty() {
        text.push_str(
            "  Kept on purpose (`landfall destroy --include-retained` removes what is retained):\n",
        );
        for thing in &certificate.retained {
            let _ = writeln!(text, "    {}  {}", thing.what, paint.dim(&thing.why));
        }
    }
    for remark in &certificate.remarks {
        let _ = writeln!(text, "  Note: {remark}");
    }
    text.push_str(&searched(certificate));
    for step in &certificate.standing {
        let _ = writeln!(text, "    {step}  {}", paint.red("STILL THERE"));
    }
    for one in &certificate.found {
        let why = one
            .used_by
            .as_ref()
            .map(|by| format!("used by {by}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "    {}  {}  {}  {why}",
            one.kind,
            one.id,
            paint.red("STILL THERE")
        );
    }
    let verdict = if certificate.clean {
        paint.green("Nothing of the platform is left.")
    } else {
        paint.red("Not everything is gone.")
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}

fn searched(certificate: &Certificate) -> String {
    let Some(marks) = &certificate.searched else {
        return "  A fresh look, by what steps had brought about:\n".to_owned();
    };
    let of = |kind| {
        let ids: Vec<&str> = marks
            .landmarks
            .iter()
            .filter(|landmark| landmark.kind == kind)
            .map(|landmark| landmark.id.as_str())
            .collect();
        ids.join(", ")
    };
    let mut looked_for = vec![format!("the tag landfall:platform={}", marks.platform)];
    for (kind, what) in [
        (LandmarkKind::Cluster, "the tags of cluster"),
        (LandmarkKind::Network, "what is in"),
    ] {
        let ids = of(kind);
        if !ids.is_empty() {
            looked_for.push(format!("{what} {ids}"));
        }
    }
    format!(
        "  A fresh search in {} for {} found {}\n",
        marks.regions.join(", "),
        looked_for.join(", "),
        if certificate.clean {
            "nothing that should not be there."
        } else {
            "this:"
        }
    )
}

fn by_kind(found: &[Found]) -> BTreeMap<&str, Vec<&str>> {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in found {
        kinds.entry(&one.kind).or_default().push(&one.id);
    }
    kinds
}
