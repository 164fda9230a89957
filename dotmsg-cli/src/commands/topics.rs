//! `topics`: what a start would do to the topics of routes, and doing it.

use clap::{Args, Subcommand};
use dotmsg::app::{AppHandle, RouteHandle};
use dotmsg::backend::Retention;
use dotmsg::runtime::{
    PlannedTopic, RouteTopics, TopicPlan, TopicStep, check_sources, prepare_topics,
};
use serde_json::json;

use super::describe::{partitions, role};
use crate::desk::Desk;
use crate::escape;
use crate::exit::{Exit, Outcome};
use crate::time::age;

#[derive(Debug, Subcommand)]
pub(crate) enum Topics {
    /// Say what a start would do; exit code 2 when that is anything
    Plan(Of),
    /// Do it
    Apply(Of),
    /// Say what is not as a start needs it; exit code 2 when that is anything
    Check(Of),
}

#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The routes [default: all]
    #[arg(value_name = "ROUTE")]
    routes: Vec<String>,
}

impl Topics {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        match self {
            Self::Plan(of) => look(desk, &of, true).await,
            Self::Check(of) => look(desk, &of, false).await,
            Self::Apply(of) => apply(desk, &of).await,
        }
    }
}

async fn look(desk: &mut Desk<'_>, of: &Of, all: bool) -> Outcome {
    let plans = planned(desk.app, &desk.routes(&of.routes)?).await?;
    let exit = match is_fulfilled(&plans) {
        true => Exit::Done,
        false => Exit::Differs,
    };
    print(desk, &plans, all)?;
    if exit == Exit::Done && !desk.json && !all {
        desk.line("all topics are as a start needs them")?;
    }
    Ok(exit)
}

/// The plan of a route, and the backend that it is about.
struct Planned {
    backend: String,
    plan: TopicPlan,
}

/// The plans of routes. A source that another route makes for its group is not missing.
async fn planned(app: &AppHandle, routes: &[RouteHandle]) -> Outcome<Vec<Planned>> {
    let is_made = |name: &str| {
        let mut others = app.routes().iter();
        others.any(|other| other.topology.own_topics().any(|own| **own == *name))
    };
    let mut plans = Vec::new();
    for route in routes {
        let mut plan = route.topics().plan().await?;
        for topic in &mut plan.topics {
            if topic.step == TopicStep::Missing && is_made(&topic.name) {
                topic.step = TopicStep::CreateLater;
            }
        }
        let backend = route.spec.backend.clone();
        plans.push(Planned { backend, plan });
    }
    Ok(plans)
}

fn is_fulfilled(plans: &[Planned]) -> bool {
    plans.iter().all(|planned| planned.plan.is_fulfilled())
}

async fn apply(desk: &mut Desk<'_>, of: &Of) -> Outcome {
    let routes = desk.routes(&of.routes)?;
    let before = planned(desk.app, &routes).await?;
    if routes.len() == desk.app.routes().len() {
        desk.app.prepare_topics().await?;
    } else {
        let topics: Vec<RouteTopics> = routes.iter().map(RouteHandle::topics).collect();
        check_sources(&topics).await?;
        for topics in &topics {
            prepare_topics(topics).await?;
        }
    }
    if is_fulfilled(&before) && !desk.json {
        desk.line("nothing to do: all topics are as a start needs them")?;
    }
    print(desk, &before, false)?;
    Ok(Exit::Done)
}

/// Each topic once, also where several routes read it.
fn print(desk: &mut Desk<'_>, plans: &[Planned], all: bool) -> Outcome<()> {
    for (index, planned) in plans.iter().enumerate() {
        let shown = |topic: &&PlannedTopic| all || topic.step != TopicStep::Keep;
        for topic in planned.plan.topics.iter().filter(shown) {
            let is_same = |other: &&Planned| has(other, &planned.backend, topic);
            if plans[..index].iter().any(|other| is_same(&other)) {
                continue;
            }
            let routes = plans[index..].iter().filter(is_same);
            let routes: Vec<&str> = routes.map(|other| &*other.plan.route).collect();
            match desk.json {
                true => desk.object(&object(&routes, topic))?,
                false => desk.line(text(&routes, topic))?,
            }
        }
        refusal(desk, &planned.plan)?;
    }
    Ok(())
}

/// Whether a plan says the same of this topic.
fn has(planned: &Planned, backend: &str, topic: &PlannedTopic) -> bool {
    planned.backend == backend
        && planned
            .plan
            .topics
            .iter()
            .any(|one| (&one.name, one.role, &one.step) == (&topic.name, topic.role, &topic.step))
}

fn refusal(desk: &mut Desk<'_>, plan: &TopicPlan) -> Outcome<()> {
    match &plan.refused {
        Some(refused) if desk.json => desk.object(
            &json!({ "route": plan.route, "step": "refuse", "error": refused.to_string() }),
        ),
        Some(refused) => {
            let refused = refused.to_string();
            desk.line(format!(
                "! route {}: {}",
                plan.route,
                escape::line(refused.as_bytes())
            ))
        }
        None => Ok(()),
    }
}

fn text(routes: &[&str], topic: &PlannedTopic) -> String {
    let (mark, what) = match (&topic.step, &topic.found) {
        (TopicStep::Keep, Some(found)) => ('=', partitions(found.partitions)),
        (TopicStep::Keep, None) => ('=', "not there".to_owned()),
        (
            TopicStep::Create {
                partitions: count,
                retention,
            },
            _,
        ) => {
            let (partitions, kept) = (partitions(*count), kept(*retention));
            ('+', format!("create with {partitions}, {kept}"))
        }
        (TopicStep::KeepLonger(retention), _) => ('~', kept(Some(*retention))),
        (TopicStep::CreateLater, _) => ('+', "create with the partitions of its source".to_owned()),
        _ => ('!', "missing, and auto_create is off".to_owned()),
    };
    let (name, role, routes) = (&topic.name, role(topic.role), routes.join(", "));
    format!("{mark} {name}: {what} ({role} of {routes})")
}

fn object(routes: &[&str], topic: &PlannedTopic) -> serde_json::Value {
    let (step, partitions, kept) = match &topic.step {
        TopicStep::Keep => (
            "keep",
            topic.found.as_ref().map(|found| found.partitions),
            None,
        ),
        TopicStep::Create {
            partitions,
            retention,
        } => ("create", Some(*partitions), Some(kept(*retention))),
        TopicStep::KeepLonger(retention) => ("keep_longer", None, Some(kept(Some(*retention)))),
        TopicStep::CreateLater => ("create_later", None, None),
        _ => ("missing", None, None),
    };
    json!({
        "routes": routes,
        "topic": &*topic.name,
        "role": role(topic.role),
        "step": step,
        "partitions": partitions,
        "retention": kept,
    })
}

fn kept(retention: Option<Retention>) -> String {
    let Some(retention) = retention else {
        return "kept at least as long as its source".to_owned();
    };
    match retention {
        Retention::AsBackend => "kept as the backend does".to_owned(),
        Retention::Forever => "kept for ever".to_owned(),
        Retention::For(time) => format!("kept for {} at least", age(time)),
    }
}
