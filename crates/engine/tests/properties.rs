//! Properties of the graph, the wiring, the planner and the state machine, over random platforms.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use landfall_engine::{DefinitionFolder, Library, Run, Seen, SeenStep};
use landfall_model::id::PlanId;
use landfall_model::journal::Entry;
use landfall_model::plan::{Action, Plan};
use landfall_model::provider::{Failure, Observed, Outcome, Outputs, Standing};
use landfall_model::template::{TemplateInterface, TemplateParameter};
use landfall_model::wanted::Wanted;
use landfall_model::{Diagnostics, SourceFile, StepId};
use proptest::prelude::*;

/// One definition with two steps; its output comes from the second, its input goes to the first.
struct TwoSteps;

const DEFINITION: &str = r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: two }
spec:
  inputs:
    from: { type: array, items: { type: string }, default: [] }
  steps:
    - name: second
      stack: { template: t.cfn.yaml, parameters: { Value: "${steps.first.outputs.Id}" } }
    - name: first
      stack: { template: t.cfn.yaml, parameters: { Value: "${inputs.from.join('+')}" } }
  outputs:
    id: { type: string, value: "${steps.second.outputs.Id}" }
"#;

impl Library for TwoSteps {
    fn find(&self, name: &str) -> Result<Option<DefinitionFolder>, String> {
        let files = [("component.yaml", DEFINITION), ("t.cfn.yaml", "-")];
        let files = BTreeMap::from(files.map(|(path, text)| (path.to_owned(), text.to_owned())));
        Ok((name == "two").then(|| DefinitionFolder {
            origin: "components/two".to_owned(),
            files,
        }))
    }

    fn names(&self) -> Vec<String> {
        vec!["two".to_owned()]
    }

    fn read_template(&self, _file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
        Ok(TemplateInterface {
            parameters: [("Value".to_owned(), TemplateParameter::default())]
                .into_iter()
                .collect(),
            outputs: vec!["Id".to_owned()],
            ..TemplateInterface::default()
        })
    }

    fn is_large(&self, _template: &str) -> bool {
        false
    }
}

/// Components in any order in the file; each may take values of those with a smaller rank.
#[derive(Clone, Debug)]
struct World {
    order: Vec<usize>,
    edges: Vec<(usize, usize)>,
}

fn worlds() -> impl Strategy<Value = World> {
    (2_usize..9).prop_flat_map(|size| {
        let order = Just((0..size).collect::<Vec<_>>()).prop_shuffle();
        let edges = proptest::collection::vec((0..size, 0..size), 0..(size * 2));
        (order, edges).prop_map(|(order, edges)| World {
            order,
            edges: edges.into_iter().filter(|(from, to)| from < to).collect(),
        })
    })
}

impl World {
    fn text(&self) -> String {
        let mut text = "apiVersion: landfall.dev/v1\nkind: Platform\nmetadata: { name: p }\nspec:\n  region: us-east-1\n  \
                        account: \"111122223333\"\n  components:\n"
            .to_owned();
        for component in &self.order {
            let from: Vec<String> = self
                .edges
                .iter()
                .filter(|(_, to)| to == component)
                .map(|(from, _)| format!("\"${{components.c{from}.id}}\""))
                .collect();
            let _ = writeln!(
                text,
                "    c{component}: {{ uses: two, with: {{ from: [{}] }} }}",
                from.join(", ")
            );
        }
        text
    }

    fn read(&self) -> Wanted {
        let file = SourceFile::new("platform.yaml", self.text());
        landfall_engine::read(&file, &TwoSteps)
            .unwrap_or_else(|found| panic!("{}", landfall_engine::render::diagnostics(&found, false)))
    }
}

fn plan(wanted: &Wanted, seen: &Seen) -> Plan {
    landfall_engine::plan_apply(wanted.clone(), seen, PlanId("p".to_owned()), "t".to_owned()).unwrap()
}

fn standing(id: &StepId) -> SeenStep {
    let observed = Observed {
        standing: Standing::Present {
            state: "CREATE_COMPLETE".to_owned(),
        },
        outputs: Outputs::from_iter([("Id".to_owned(), id.as_str().into())]),
        fingerprint: format!("CREATE_COMPLETE@t@{id}"),
        owned: None,
    };
    SeenStep {
        observed,
        changes: Some(Vec::new()),
    }
}

fn started(step: &StepId) -> Entry {
    Entry::StepStarted {
        step: step.clone(),
        token: format!("token-{step}"),
    }
}

fn done(step: &StepId) -> Entry {
    Entry::StepDone {
        step: step.clone(),
        outcome: Outcome::Created,
        outputs: Outputs::from_iter([("Id".to_owned(), step.as_str().into())]),
        owned: None,
        notes: Vec::new(),
        landmarks: Vec::new(),
        took_ms: 1,
    }
}

fn failed(step: &StepId) -> Entry {
    Entry::StepFailed {
        step: step.clone(),
        failure: Failure::new("no"),
        took_ms: 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_step_stands_after_all_it_waits_for(world in worlds()) {
        let wanted = world.read();
        let plan = plan(&wanted, &Seen::default());
        let mut before: HashSet<&StepId> = HashSet::new();
        for step in &plan.steps {
            for id in &step.after {
                prop_assert!(before.contains(id), "{} comes before {id}", step.id);
            }
            before.insert(&step.id);
        }
        prop_assert_eq!(plan.steps.len(), world.order.len() * 2);
    }

    #[test]
    fn a_value_makes_just_the_edges_it_travels_along(world in worlds()) {
        let wanted = world.read();
        for component in &world.order {
            let first = wanted.step(&StepId::new(&format!("c{component}"), "first")).unwrap();
            let expected: HashSet<StepId> = world
                .edges
                .iter()
                .filter(|(_, to)| to == component)
                .map(|(from, _)| StepId::new(&format!("c{from}"), "second"))
                .collect();
            prop_assert_eq!(first.after.iter().cloned().collect::<HashSet<_>>(), expected);
        }
    }

    #[test]
    fn planning_twice_gives_the_same_and_a_standing_world_has_no_changes(world in worlds()) {
        let wanted = world.read();
        prop_assert_eq!(plan(&wanted, &Seen::default()), plan(&wanted, &Seen::default()));
        let seen = Seen {
            steps: wanted.steps.iter().map(|step| (step.id.clone(), standing(&step.id))).collect(),
            ..Seen::default()
        };
        let again = plan(&wanted, &seen);
        prop_assert!(!again.has_changes());
        prop_assert!(again.steps.iter().all(|step| step.unknown_until.is_empty()));
    }

    #[test]
    fn what_waits_for_a_missing_step_is_unknown_and_nothing_else_is(world in worlds(), missing in 0_usize..9) {
        let wanted = world.read();
        let missing = StepId::new(&format!("c{}", missing % world.order.len()), "first");
        let seen = Seen {
            steps: wanted
                .steps
                .iter()
                .filter(|step| step.id != missing)
                .map(|step| (step.id.clone(), standing(&step.id)))
                .collect(),
            ..Seen::default()
        };
        let plan = plan(&wanted, &seen);
        let mut touched: HashSet<StepId> = HashSet::from([missing.clone()]);
        for step in &plan.steps {
            let waits = step.after.iter().any(|id| touched.contains(id));
            prop_assert_eq!(step.action != Action::None, waits || step.id == missing, "{}", step.id);
            if waits {
                touched.insert(step.id.clone());
            }
        }
    }

    #[test]
    fn a_run_ends_whatever_fails_and_a_crash_changes_nothing(
        world in worlds(),
        picks in proptest::collection::vec((0_usize..32, proptest::bool::weighted(0.15), proptest::bool::weighted(0.2)), 64),
    ) {
        let plan = plan(&world.read(), &Seen::default());
        let mut run = Run::new(&plan);
        let mut journal: Vec<Entry> = Vec::new();
        let mut in_flight: Vec<StepId> = Vec::new();
        let mut ended: HashMap<StepId, bool> = HashMap::new();
        let mut picks = picks.into_iter().cycle();
        while !run.is_over() {
            let (number, fails, crashes) = picks.next().unwrap();
            if crashes {
                // Everything in memory is lost; the journal is what there is.
                let mut again = Run::new(&plan);
                for entry in &journal {
                    again.record(entry).unwrap();
                }
                let mut restarted: Vec<StepId> = again.started().map(|(step, _)| step.clone()).collect();
                in_flight.sort();
                restarted.sort();
                prop_assert_eq!(&restarted, &in_flight);
                run = again;
                continue;
            }
            let ready: Vec<StepId> = run.ready().cloned().collect();
            let choices = ready.len() + in_flight.len();
            prop_assert!(choices > 0, "a run that is not over can go on");
            let pick = number % choices;
            let entry = if pick < ready.len() {
                for before in &plan.step(&ready[pick]).unwrap().after {
                    prop_assert_eq!(ended.get(before), Some(&true), "{} started before {} ended well", ready[pick], before);
                }
                in_flight.push(ready[pick].clone());
                started(&ready[pick])
            } else {
                let step = in_flight.remove(pick - ready.len());
                ended.insert(step.clone(), !fails);
                if fails { failed(&step) } else { done(&step) }
            };
            run.record(&entry).unwrap();
            journal.push(entry);
            for (step, because) in run.unreachable() {
                prop_assert_eq!(ended.get(&because), Some(&false));
                let entry = Entry::StepSkipped { step, because };
                run.record(&entry).unwrap();
                journal.push(entry);
            }
        }
        prop_assert_eq!(run.succeeded(), ended.values().all(|well| *well));
    }

    #[test]
    fn records_out_of_order_are_refused(world in worlds()) {
        let plan = plan(&world.read(), &Seen::default());
        let step = &plan.steps[0].id;
        let mut run = Run::new(&plan);
        prop_assert!(run.clone().record(&done(step)).is_err(), "done before started");
        run.record(&started(step)).unwrap();
        let other = Entry::StepStarted { step: step.clone(), token: "another".to_owned() };
        prop_assert!(run.clone().record(&other).is_err(), "started again under another name");
        run.record(&done(step)).unwrap();
        prop_assert!(run.record(&failed(step)).is_err(), "failed after done");
    }
}
