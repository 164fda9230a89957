//! The processes of one round: members that handle, and one publisher.
//!
//! A member that ends by itself with an error is started again, as a supervisor would, and its last words are kept for the
//! report. One that ends without is through: it saw that every row is settled.

use super::CONCURRENCY;
use super::draw::{Interruption, MEMBERS};
use super::process::Process;
use crate::audit;
use crate::clock;
use crate::flights::{self, Flights};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// `drain_timeout` of the routes: has to be below the longest interval between polls.
const DRAIN: &str = "5s";
/// How long a member may take to end after SIGTERM: its `drain_timeout` and then some.
const STOP: Duration = Duration::from_secs(60);
/// How long nobody takes the place of a member that ended by itself.
const PLACE_IS_FREE: Duration = Duration::from_millis(500);
/// More ends than this are no accident.
const MOST_ENDS: usize = 20;
/// Between two looks at the processes.
const POLL: Duration = Duration::from_millis(20);

/// What holds a place of the group.
enum Place {
    Taken(Process),
    /// Since then.
    Free(Instant),
    /// Its process saw the end.
    Through,
}

/// The processes of a round.
pub(super) struct Members<'f> {
    flights: &'f Flights,
    directory: &'f Path,
    /// Ends the names of the round's groups: a member of the round before counts until its session is over.
    round: String,
    options: Vec<String>,
    is_static: bool,
    places: Vec<Place>,
    /// After SIGTERM.
    leaving: Vec<(Process, Instant)>,
    publisher: Publisher,
    started: u32,
    /// Processes that ended without an error.
    through: Vec<String>,
    /// The last words of those that ended with one.
    pub(super) ends: Vec<String>,
}

struct Publisher {
    process: Option<Process>,
    start: Instant,
    course: Interruption,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    Before,
    Interrupted,
    After,
}

impl<'f> Members<'f> {
    /// Starts all members and the publisher.
    pub(super) fn start(
        flights: &'f Flights,
        (directory, round): (&'f Path, String),
        options: Vec<String>,
        (is_static, publisher): (bool, Interruption),
    ) -> Result<Self, String> {
        let mut members = Self {
            flights,
            directory,
            round,
            options,
            is_static,
            places: Vec::new(),
            leaving: Vec::new(),
            publisher: Publisher {
                process: None,
                start: clock::now(),
                course: publisher,
                stage: Stage::Before,
            },
            started: 0,
            through: Vec::new(),
            ends: Vec::new(),
        };
        for place in 0..MEMBERS {
            let process = members.spawn("handle", Some(place))?;
            members.places.push(Place::Taken(process));
        }
        members.publisher.process = Some(members.spawn("publish", None)?);
        members.publisher.start = clock::now();
        Ok(members)
    }

    fn spawn(&mut self, role: &str, place: Option<usize>) -> Result<Process, String> {
        self.started += 1;
        let name = format!("{:03}-{role}", self.started);
        let mut command = self.flights.command_in(self.directory, &name)?;
        command.args(["--json", "--role", role]).args(&self.options);
        if role == "handle" {
            // The publisher has no routes, and a setting of a route that is not there is an error.
            command.arg("--concurrency").arg(CONCURRENCY.to_string());
            for (route, group) in [("FLIGHT", "miles"), ("TOTAL", "totals"), ("DEAD", "totals")] {
                let group = format!("{group}-{}", self.round);
                command.env(format!("DOTMSG__ROUTES__{route}__DRAIN_TIMEOUT"), DRAIN);
                command.env(format!("DOTMSG__ROUTES__{route}__GROUP"), group);
            }
            let dead = format!("departures.miles-{}.dlq", self.round);
            command.env("DOTMSG__ROUTES__DEAD__TOPIC", dead);
        }
        if let Some(place) = place.filter(|_| self.is_static) {
            command.env(
                "DOTMSG__BACKEND__MAIN__INSTANCE_ID",
                format!("member-{}", place + 1),
            );
        }
        Process::start(name, command)
    }

    /// Lets time pass, while whoever ends by itself is noticed.
    pub(super) fn wait(&mut self, duration: Duration) -> Result<(), String> {
        let start = clock::now();
        loop {
            self.look()?;
            let left = duration.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            clock::pause(left.min(POLL));
        }
    }

    /// Lets time pass until so many processes have ended a call: a fault before the work is none.
    pub(super) fn wait_for_work(&mut self, wanted: usize, limit: Duration) -> Result<(), String> {
        let start = clock::now();
        while audit::processes(&self.directory.join("audit")) < wanted {
            if start.elapsed() > limit {
                return Err(format!(
                    "not all have begun to work after {} s",
                    limit.as_secs()
                ));
            }
            self.wait(POLL)?;
        }
        Ok(())
    }

    /// Lets time pass until no process is left.
    pub(super) fn finish(&mut self, limit: Duration) -> Result<(), String> {
        let start = clock::now();
        while self.is_at_work() {
            if start.elapsed() > limit {
                return Err(format!("not all is done after {} s", limit.as_secs()));
            }
            self.wait(POLL)?;
        }
        Ok(())
    }

    /// Whether anybody still works.
    pub(super) fn is_at_work(&self) -> bool {
        let through = |place: &Place| matches!(place, Place::Through);
        !self.places.iter().all(through)
            || !self.leaving.is_empty()
            || self.publisher.process.is_some()
    }

    fn look(&mut self) -> Result<(), String> {
        self.look_at_publisher()?;
        for place in 0..self.places.len() {
            let ended = match &mut self.places[place] {
                Place::Through => continue,
                Place::Free(since) if since.elapsed() < PLACE_IS_FREE => continue,
                Place::Free(_) => {
                    self.places[place] = Place::Taken(self.spawn("handle", Some(place))?);
                    continue;
                }
                Place::Taken(process) => process.ended()?,
            };
            match ended {
                None => {}
                Some(true) => {
                    if let Place::Taken(process) =
                        std::mem::replace(&mut self.places[place], Place::Through)
                    {
                        self.through.push(process.name.clone());
                    }
                }
                Some(false) => self.ended_by_itself(place)?,
            }
        }
        self.look_at_leaving()
    }

    fn ended_by_itself(&mut self, place: usize) -> Result<(), String> {
        let free = Place::Free(clock::now());
        if let Place::Taken(process) = std::mem::replace(&mut self.places[place], free) {
            let words = process.last_words(self.directory);
            if process.crashed() {
                return Err(format!("a process crashed: {words}"));
            }
            self.ends.push(words);
        }
        match self.ends.len() > MOST_ENDS {
            true => Err(format!(
                "members end by themselves again and again:\n  {}",
                self.ends.join("\n  ")
            )),
            false => Ok(()),
        }
    }

    fn look_at_leaving(&mut self) -> Result<(), String> {
        let mut left = Vec::new();
        for (mut process, since) in self.leaving.drain(..) {
            match process.ended()? {
                Some(true) => self.through.push(process.name.clone()),
                Some(false) => {}
                None if since.elapsed() > STOP => {
                    return Err(format!("{} does not end after SIGTERM", process.name));
                }
                None => left.push((process, since)),
            }
        }
        self.leaving = left;
        Ok(())
    }

    fn look_at_publisher(&mut self) -> Result<(), String> {
        let Interruption {
            after_ms,
            by_kill,
            for_ms,
        } = self.publisher.course;
        let passed = self.publisher.start.elapsed().as_millis();
        let begins = u128::from(after_ms);
        let ends = begins + u128::from(for_ms);
        let publisher = &mut self.publisher;
        match publisher.stage {
            Stage::Before if passed >= begins => {
                publisher.stage = Stage::Interrupted;
                match &mut publisher.process {
                    // Dropped, and so killed.
                    Some(_) if by_kill => publisher.process = None,
                    Some(process) => process.signal("STOP")?,
                    None => publisher.stage = Stage::After,
                }
            }
            Stage::Interrupted if passed < ends => return Ok(()),
            Stage::Interrupted => {
                publisher.stage = Stage::After;
                match &mut publisher.process {
                    Some(process) => process.signal("CONT")?,
                    None => self.publisher.process = Some(self.spawn("publish", None)?),
                }
            }
            Stage::Before | Stage::After => {}
        }
        let Some(process) = &mut self.publisher.process else {
            return Ok(());
        };
        match process.ended()? {
            None => Ok(()),
            Some(true) => {
                self.publisher.process = None;
                Ok(())
            }
            Some(false) => {
                let words = process.last_words(self.directory);
                if process.crashed() {
                    return Err(format!("a process crashed: {words}"));
                }
                self.ends.push(words);
                self.publisher.process = Some(self.spawn("publish", None)?);
                Ok(())
            }
        }
    }

    /// SIGKILL, and a new one in its place.
    pub(super) fn kill(&mut self, place: usize) -> Result<(), String> {
        if let Place::Taken(_) = &self.places[place] {
            // Before the new one starts: its id and its place are to be free.
            self.places[place] = Place::Free(clock::now());
            self.places[place] = Place::Taken(self.spawn("handle", Some(place))?);
        }
        Ok(())
    }

    /// Sends a signal to the member in a place, if there is one.
    pub(super) fn signal(&mut self, place: usize, name: &str) -> Result<(), String> {
        match &mut self.places[place] {
            Place::Taken(process) => process.signal(name),
            Place::Free(_) | Place::Through => Ok(()),
        }
    }

    /// SIGTERM, the end of the process, a new one in its place.
    pub(super) fn restart(&mut self, place: usize) -> Result<(), String> {
        let free = Place::Free(clock::now());
        match std::mem::replace(&mut self.places[place], free) {
            Place::Taken(mut process) => {
                process.signal("TERM")?;
                self.leaving.push((process, clock::now()));
                while !self.leaving.is_empty() {
                    clock::pause(POLL);
                    self.look_at_leaving()?;
                }
                self.places[place] = Place::Taken(self.spawn("handle", Some(place))?);
            }
            other => self.places[place] = other,
        }
        Ok(())
    }

    /// One more member, which goes after a while.
    pub(super) fn visit(&mut self, stay: Duration, by_kill: bool) -> Result<(), String> {
        let mut visitor = self.spawn("handle", None)?;
        self.wait(stay)?;
        if !by_kill {
            visitor.signal("TERM")?;
            self.leaving.push((visitor, clock::now()));
        }
        Ok(())
    }

    /// The tables of all that saw the end; there is one at least.
    pub(super) fn tables(&self) -> Result<Vec<Value>, String> {
        let file = |name: &String| self.directory.join(format!("{name}.out"));
        let tables = self
            .through
            .iter()
            .map(|name| flights::printed_table(&file(name)));
        let tables: Vec<Value> = tables.collect::<Result<_, _>>()?;
        match tables.is_empty() {
            true => Err("no member saw the end".to_owned()),
            false => Ok(tables),
        }
    }
}
