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
    let mut exit = Exit::Done;
    for route in desk.routes(&of.routes)? {
        let plan = planned(desk.app, &route).await?;
        if !plan.is_fulfilled() {
            exit = Exit::Differs;
        }
        print(desk, &plan, all)?;
    }
    if exit == Exit::Done && !desk.json && !all {
        desk.line("all topics are as a start needs them")?;
    }
    Ok(exit)
}

/// The plan of a route. A source that another route makes for its group is not missing.
async fn planned(app: &AppHandle, route: &RouteHandle) -> Outcome<TopicPlan> {
    let mut plan = route.topics().plan().await?;
    let is_made = |name: &str| {
        let mut others = app.routes().iter();
        others.any(|other| other.topology.own_topics().any(|own| **own == *name))
    };
    for topic in &mut plan.topics {
        if topic.step == TopicStep::Missing && is_made(&topic.name) {
            topic.step = TopicStep::CreateLater;
        }
    }
    Ok(plan)
}

async fn apply(desk: &mut Desk<'_>, of: &Of) -> Outcome {
    let routes = desk.routes(&of.routes)?;
    let mut before = Vec::new();
    for route in &routes {
        before.push(planned(desk.app, route).await?);
    }
    if routes.len() == desk.app.routes().len() {
        desk.app.prepare_topics().await?;
    } else {
        let topics: Vec<RouteTopics> = routes.iter().map(RouteHandle::topics).collect();
        check_sources(&topics).await?;
        for topics in &topics {
            prepare_topics(topics).await?;
        }
    }
    if before.iter().all(TopicPlan::is_fulfilled) && !desk.json {
        desk.line("nothing to do: all topics are as a start needs them")?;
    }
    for plan in before {
        print(desk, &plan, false)?;
    }
    Ok(Exit::Done)
}

fn print(desk: &mut Desk<'_>, plan: &TopicPlan, all: bool) -> Outcome<()> {
    let shown = |topic: &&PlannedTopic| all || topic.step != TopicStep::Keep;
    for topic in plan.topics.iter().filter(shown) {
        match desk.json {
            true => desk.object(&object(plan, topic))?,
            false => desk.line(text(plan, topic))?,
        }
    }
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

fn text(plan: &TopicPlan, topic: &PlannedTopic) -> String {
    let (mark, what) = match (&topic.step, &topic.found) {
        (TopicStep::Keep, Some(found)) => ('=', partitions(found.partitions)),
        (TopicStep::Keep, None) => ('=', "not there".to_owned()),
        (TopicStep::Create(spec), _) => {
            let kept = kept(spec.retention);
            (
                '+',
                format!("create with {}, {kept}", partitions(spec.partitions)),
            )
        }
        (TopicStep::KeepLonger(retention), _) => ('~', kept(*retention)),
        (TopicStep::CreateLater, _) => ('+', "create with the partitions of its source".to_owned()),
        _ => ('!', "missing, and auto_create is off".to_owned()),
    };
    let (name, role, route) = (&topic.name, role(topic.role), &plan.route);
    format!("{mark} {name}: {what} ({role} of {route})")
}

fn object(plan: &TopicPlan, topic: &PlannedTopic) -> serde_json::Value {
    let (step, partitions, retention) = match &topic.step {
        TopicStep::Keep => (
            "keep",
            topic.found.as_ref().map(|found| found.partitions),
            None,
        ),
        TopicStep::Create(spec) => ("create", Some(spec.partitions), Some(spec.retention)),
        TopicStep::KeepLonger(retention) => ("keep_longer", None, Some(*retention)),
        TopicStep::CreateLater => ("create_later", None, None),
        _ => ("missing", None, None),
    };
    json!({
        "route": plan.route,
        "topic": &*topic.name,
        "role": role(topic.role),
        "step": step,
        "partitions": partitions,
        "retention": retention.map(kept),
    })
}

fn kept(retention: Retention) -> String {
    match retention {
        Retention::AsBackend => "kept as the backend does".to_owned(),
        Retention::Forever => "kept for ever".to_owned(),
        Retention::For(time) => format!("kept for {} at least", age(time)),
    }
}
