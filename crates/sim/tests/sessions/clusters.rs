//! Networks, clusters and objects: how they come about, change, and go.

use std::time::Duration;

use landfall_runner::Ended;

use crate::stage::{Stage, plan_text};
use crate::town::{WEB, objects, standing, town};

#[tokio::test(start_paused = true)]
async fn a_town_is_applied_and_removed_again() {
    let mut stage = Stage::new(town(WEB), Vec::new());
    let (ended, told) = stage.apply().await;
    insta::assert_snapshot!("a_town_is_applied", told.text());
    assert_eq!(ended, Ended::Succeeded);
    told.assert_sound();
    insta::assert_snapshot!("a_town_said", told.said("shop.web").join("\n"));
    insta::assert_snapshot!("a_town_stands", standing(&stage));
    insta::assert_snapshot!("a_town_holds", objects(&stage));
    let plan = stage.plan().await;
    assert!(!plan.has_changes(), "{}", plan_text(&plan));
    let (ended, told) = stage.destroy().await;
    insta::assert_snapshot!("a_town_is_removed", told.text());
    assert_eq!(ended, Ended::Succeeded);
    assert_eq!(standing(&stage), "");
    assert_eq!(stage.world.everything_standing(), Vec::<String>::new());
    assert_eq!(stage.world.created_twice(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_left_alone_comes_to_rest() {
    let mut stage = Stage::new(town(WEB), Vec::new());
    assert_eq!(stage.apply().await.0, Ended::Succeeded);
    stage.wait(Duration::from_secs(3600)).await;
    assert_eq!(stage.world.next_due_ms(), None);
}
