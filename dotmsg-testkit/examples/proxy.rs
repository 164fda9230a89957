//! The TCP proxy as a program of its own, for a harness that is no async program and has brokers to break.
//!
//! `proxy LISTEN:UPSTREAM…` listens at these ports of this machine for those behind them, prints `ready`, and obeys lines of its
//! standard input until that ends; so it ends with whoever started it. A line is a command and the number of a proxy, from 0:
//!
//! | Line | What becomes of it |
//! |---|---|
//! | `reset N` | every open connection is reset |
//! | `slow N DELAY_MS BYTES_PER_SECOND` | bytes are late and few, in both directions |
//! | `hold N` | nothing passes, nothing is lost |
//! | `mute N` | nothing passes from the broker, which hears everything |
//! | `swallow N` | bytes vanish; the connections never recover |
//! | `refuse N` | new connections are reset |
//! | `heal N` | all of this is taken back |

use std::io::{Error, Result, Write};
use std::time::Duration;

use dotmsg_testkit::proxy::{Direction, Proxy, Toxics};
use tokio::runtime::Runtime;

fn main() -> Result<()> {
    let runtime = Runtime::new()?;
    let mut proxies = Vec::new();
    for (seed, line) in (0..).zip(std::env::args().skip(1)) {
        let (listen, upstream) = ports(&line).ok_or_else(|| wrong(&line))?;
        let upstream = format!("127.0.0.1:{upstream}");
        proxies.push(runtime.block_on(Proxy::start_at(listen, upstream, seed))?);
    }
    let mut out = std::io::stdout();
    out.write_all(b"ready\n")?;
    out.flush()?;
    // The proxies work on the runtime's threads meanwhile.
    for line in std::io::stdin().lines() {
        let line = line?;
        obey(&proxies, &line).ok_or_else(|| wrong(&line))?;
    }
    Ok(())
}

fn ports(line: &str) -> Option<(u16, u16)> {
    let (listen, upstream) = line.split_once(':')?;
    Some((listen.parse().ok()?, upstream.parse().ok()?))
}

fn wrong(line: &str) -> Error {
    Error::other(format!("`{line}` is not understood"))
}

/// `None`: not understood.
fn obey(proxies: &[Proxy], line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    let command = words.next()?;
    let proxy = proxies.get(words.next()?.parse::<usize>().ok()?)?;
    let mut number = || words.next()?.parse::<u64>().ok();
    match command {
        "reset" => proxy.reset_all(),
        "slow" => {
            let delay = Duration::from_millis(number()?);
            both(proxy, &Toxics::new().delay(delay).bandwidth(number()?));
        }
        "hold" => both(proxy, &Toxics::new().hold()),
        "mute" => proxy.set(Direction::ToClient, Toxics::new().hold()),
        "swallow" => both(proxy, &Toxics::new().swallow()),
        "refuse" => proxy.refuse(true),
        "heal" => proxy.heal(),
        _ => return None,
    }
    Some(())
}

fn both(proxy: &Proxy, toxics: &Toxics) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.set(direction, toxics.clone());
    }
}
