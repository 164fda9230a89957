//! Handlers of batches while members crash, freeze and hand over: each key keeps its order, nothing is lost, and the good
//! are not dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg::handler::{Origin, OwnedPosition};
use dotmsg::message::Message;
use dotmsg::sim::{Simulation, sim};
use dotmsg::{App, Batch, Config, Each, HandlerError, Json, Key, Outgoing, State};

/// What is wrong with a message, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Good,
    /// A call with it fails as a whole, or it is the one that fails, so many times.
    Spoils(u32),
    Fails(u32),
    Permanent,
    Panics(u32),
    Hangs(u32),
}

#[derive(Debug, Default)]
struct World {
    natures: Vec<Nature>,
    /// Times that each message was in a call.
    calls: Mutex<BTreeMap<usize, u32>>,
    /// Effects, by key: where the message was published, and which it is.
    effects: Mutex<BTreeMap<String, Vec<(OwnedPosition, usize)>>>,
}

type Shared = Arc<World>;

impl World {
    /// What a message does in this call, and not any more after so many.
    fn nature(&self, index: usize) -> Nature {
        let mut calls = self.calls.lock().unwrap();
        let calls = calls.entry(index).or_default();
        *calls += 1;
        match self.natures[index] {
            Nature::Spoils(times)
            | Nature::Fails(times)
            | Nature::Panics(times)
            | Nature::Hangs(times)
                if *calls > times =>
            {
                Nature::Good
            }
            nature => nature,
        }
    }
}

type Row = (Key<String>, Origin, Json<usize>);

async fn work(
    world: &Shared,
    rows: Vec<Row>,
) -> Result<Vec<Result<Outgoing, HandlerError>>, HandlerError> {
    let natures: Vec<_> = rows
        .iter()
        .map(|(_, _, Json(index))| world.nature(*index))
        .collect();
    tokio::time::sleep(Duration::from_millis(7)).await;
    for nature in &natures {
        match nature {
            Nature::Spoils(_) => return Err(HandlerError::transient("spoiled").kind("spoiled")),
            Nature::Panics(_) => panic!("as it is to"),
            Nature::Hangs(_) => std::future::pending().await,
            Nature::Good | Nature::Fails(_) | Nature::Permanent => {}
        }
    }
    let mut effects = world.effects.lock().unwrap();
    let mut failed = BTreeSet::new();
    let answer = |((Key(key), Origin(at), Json(index)), nature): (Row, Nature)| match nature {
        // It runs again after the one ahead of it.
        _ if failed.contains(&key) => Err(HandlerError::transient("behind")),
        Nature::Fails(_) => {
            failed.insert(key);
            Err(HandlerError::transient("failed").kind("failed"))
        }
        Nature::Permanent => Err(HandlerError::permanent("bad").kind("bad")),
        _ => {
            effects.entry(key.clone()).or_default().push((at, index));
            Ok(Outgoing::json("done", &index)?.key(key))
        }
    };
    Ok(rows.into_iter().zip(natures).map(answer).collect())
}

#[dotmsg::handler(
    topic = "rows",
    group = "store",
    timeout = "20s",
    batch(linger = "20ms")
)]
async fn store(
    State(world): State<Shared>,
    Batch(rows): Batch<Row>,
) -> Result<Each<Result<Outgoing, HandlerError>>, HandlerError> {
    Ok(Each(work(&world, rows).await?))
}

fn nature(kind: u32, times: u32) -> Nature {
    match kind {
        0 => Nature::Spoils(times),
        1 => Nature::Fails(times),
        2 => Nature::Permanent,
        3 => Nature::Panics(times),
        4 => Nature::Hangs(times),
        _ => Nature::Good,
    }
}

fn run(seeds: std::ops::Range<u64>) {
    sim(seeds, |random| {
        let rows = 60;
        let natures = (0..rows).map(|_| nature(random.u32(0..24), random.u32(1..4)));
        let natures = natures.collect();
        let keys = random.usize(1..6);
        let messages: Vec<_> = (0..rows)
            .map(|index| {
                let key = format!("k{}", random.usize(0..keys));
                ("rows", Message::new(index.to_string()).with_key(key))
            })
            .collect();
        let world = Arc::new(World {
            natures,
            ..World::default()
        });
        let (size, calls) = (random.i64(1..9), random.i64(1..4));
        let workers = random.i64(1..3).min(calls);
        let ordering = ["key", "partition"][random.usize(0..2)];
        let tiers = ordering == "key" && random.bool();
        let state = Arc::clone(&world);
        let app = move || {
            App::with_config(Config::new())
                .state(Arc::clone(&state))
                .handler(store)
                .configure(move |config| {
                    let config = config
                        .set("routes.store.batch.size", size)
                        .set("routes.store.concurrency", calls)
                        .set("routes.store.workers", workers)
                        .set("routes.store.ordering", ordering)
                        .set("routes.store.retry.attempts", 4);
                    match tiers {
                        true => config
                            .set("routes.store.retry.attempts", 1)
                            .set("routes.store.retry.tiers", ["1s", "2s", "5s", "9s"]),
                        false => config,
                    }
                })
        };
        Simulation::new(app)
            .messages(messages)
            .check(move |history| {
                let effects = world.effects.lock().unwrap();
                // Of what is repeated after a crash the first effect counts.
                for (key, of_key) in effects.iter() {
                    let mut seen = BTreeSet::new();
                    let offsets = of_key.iter().map(|(at, _)| at.offset);
                    let first: Vec<u64> = offsets.filter(|offset| seen.insert(*offset)).collect();
                    if !first.is_sorted() {
                        return Err(format!("{key} is out of order: {first:?}"));
                    }
                }
                for index in history.published() {
                    let handled = effects
                        .values()
                        .any(|of_key| of_key.iter().any(|(_, one)| *one == index));
                    if !handled && world.natures[index] != Nature::Permanent {
                        return Err(format!(
                            "{index} was never handled: {:?}",
                            world.natures[index]
                        ));
                    }
                }
                Ok(())
            })
    });
}

#[test]
fn batches_keep_what_is_promised() {
    run(0..40);
}
