//! Objects that a cluster would refuse, now that their values are known. What their manifests alone show was said when
//! they were read.

use landfall_model::finding::{Finding, Weight};
use landfall_model::question::Upcoming;
use landfall_model::work::{Known, ObjectWork, Work};

pub(crate) fn judge(upcoming: &[Upcoming], found: &mut Vec<Finding>) {
    for one in upcoming {
        let Work::Objects(work) = &one.step.work else {
            continue;
        };
        for object in &work.objects {
            let Known::Value(body) = &object.body else {
                continue;
            };
            for problem in landfall_kinds::check(body) {
                let weight = if problem.is_sure {
                    Weight::Refuses
                } else {
                    Weight::Warns
                };
                let place = match problem.path.as_slice() {
                    [] => String::new(),
                    path => format!(" at `{}`", path.join(".")),
                };
                let what = format!("the {}{place}: {}", said(object), problem.message);
                let way_out = problem
                    .help
                    .unwrap_or_else(|| "correct the manifest, or the input its value comes from".to_owned());
                found.push(Finding::new(weight, what, way_out).of_step(&one.step.id));
            }
        }
    }
}

/// `Ingress shop/web`.
fn said(object: &ObjectWork) -> String {
    let ObjectWork {
        kind,
        namespace,
        name,
        ..
    } = object;
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
