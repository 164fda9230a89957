//! What every command works with: the open app, and where to write.

use std::io::Write;

use dotmsg::app::{AppHandle, RouteHandle};
use serde_json::Value;

use crate::args::Common;
use crate::console::Console;
use crate::escape;
use crate::exit::{Failure, Outcome};

/// The open app and the console of a command.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    pub(crate) app: &'a AppHandle,
    pub(crate) console: &'a mut Console,
    pub(crate) json: bool,
    pub(crate) yes: bool,
    backend: Option<String>,
    described: Option<String>,
    incomplete: Vec<(String, String)>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(app: &'a AppHandle, common: &Common, console: &'a mut Console) -> Self {
        Self {
            app,
            console,
            json: common.json,
            yes: common.yes,
            backend: common.backend.clone(),
            described: common.described.clone(),
            incomplete: common.incomplete.clone(),
        }
    }

    /// The route of this name; when none is named the one that the command line describes, or the only one.
    pub(crate) fn route(&self, name: Option<&str>) -> Outcome<RouteHandle> {
        let routes = self.app.routes();
        match (name.or(self.described.as_deref()), routes) {
            (Some(name), _) => self
                .app
                .route(name)
                .cloned()
                .ok_or_else(|| self.unknown(name)),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(Failure::usage(self.no_routes())),
            (None, _) => Err(Failure::usage(format!(
                "which route? There are {}",
                self.names()
            ))),
        }
    }

    /// The routes of these names; when none is named the one that the command line describes, or all.
    pub(crate) fn routes(&self, names: &[String]) -> Outcome<Vec<RouteHandle>> {
        if names.is_empty() {
            return match self.app.routes() {
                _ if self.described.is_some() => Ok(vec![self.route(None)?]),
                [] => Err(Failure::usage(self.no_routes())),
                routes => Ok(routes.to_vec()),
            };
        }
        names.iter().map(|name| self.route(Some(name))).collect()
    }

    fn unknown(&self, name: &str) -> Failure {
        if let Some((_, lacks)) = self.incomplete.iter().find(|(one, _)| one == name) {
            return Failure::usage(format!(
                "route {}: say --route {name} with --topic and --group, set it in [routes.{name}], {SERVICE}",
                lacking(name, lacks)
            ));
        }
        let name = escape::line(name.as_bytes());
        match self.app.routes() {
            [] => Failure::usage(format!("there is no route {name}; {}", self.no_routes())),
            _ => Failure::usage(format!(
                "there is no route {name}; there are {}",
                self.names()
            )),
        }
    }

    /// Why there is none: the configuration names no route, or none in full.
    fn no_routes(&self) -> String {
        match &*self.incomplete {
            [] => "no route is known: name one by --topic and --group, or set `topic` and `group` in [routes.<name>] of the configuration"
                .to_owned(),
            [(name, lacks)] => format!(
                "the only route of the configuration, {}: say --route {name} with --topic and --group, set it in [routes.{name}], {SERVICE}",
                lacking(name, lacks)
            ),
            several => {
                let each = several.iter().map(|(name, lacks)| format!("{name} lacks {lacks}"));
                format!(
                    "no route of the configuration is there in full: {}, which may stand in the attributes of their handlers. Say --route with \
                     --topic and --group, set it in [routes.<name>], {SERVICE}",
                    each.collect::<Vec<_>>().join("; ")
                )
            }
        }
    }

    fn names(&self) -> String {
        let names = self.app.routes().iter().map(|route| &*route.spec.handler);
        names.collect::<Vec<_>>().join(", ")
    }

    /// The backend that the command line names, else `main`, else the only one.
    pub(crate) fn backend(&self) -> Outcome<String> {
        if let Some(name) = &self.backend {
            return match self.app.backend(name) {
                Some(_) => Ok(name.clone()),
                None => Err(Failure::usage(format!("there is no open backend {name}"))),
            };
        }
        let names: Vec<&str> = self.app.backend_names().collect();
        match *names {
            [only] => Ok(only.to_owned()),
            _ if names.contains(&"main") => Ok("main".to_owned()),
            _ => Err(Failure::usage(format!(
                "which backend? There are {}: say --backend",
                names.join(", ")
            ))),
        }
    }

    /// A line of text. What comes from messages is escaped by whoever puts it in.
    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Outcome<()> {
        Ok(writeln!(self.console.out, "{line}")?)
    }

    /// A line of JSON.
    pub(crate) fn object(&mut self, object: &Value) -> Outcome<()> {
        let text = escape::json(&object.to_string());
        Ok(writeln!(self.console.out, "{text}")?)
    }

    /// A line for people, beside the results.
    pub(crate) fn note(&mut self, note: impl std::fmt::Display) -> Outcome<()> {
        Ok(writeln!(self.console.err, "{note}")?)
    }

    /// Asks, unless `--yes` was said.
    pub(crate) fn confirm(&mut self, question: &str) -> Outcome<()> {
        self.console.confirm(question, self.yes)
    }
}

const SERVICE: &str = "or use the commands of the service itself";

/// What a route lacks here.
fn lacking(name: &str, lacks: &str) -> String {
    format!("{name} lacks {lacks}, which may stand in the attribute of its handler")
}
