//! Brokers that do not answer for a while. On the broker that `DOTMSG_TEST_KAFKA_URL` names, by way of a proxy; skipped with a line
//! where it is not set.

mod common;

use std::time::Duration;

use dotmsg_testkit::proxy::{Direction, Proxy, Toxics};
use tokio::time::{sleep, timeout};

/// How long a condition may take to become true.
const DEADLINE: Duration = Duration::from_secs(30);

fn host() -> Option<String> {
    let hosts = common::url()?;
    let first = hosts.strip_prefix("kafka://")?.split(',').next()?;
    Some(first.to_owned())
}

/// A question to a coordinator that is not reached in time, and then is: librdkafka 2.12.1 ends the process (its issue 4605) when
/// such a request has timed out before.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_answers_late_is_asked_again() {
    let Some(host) = host() else { return };
    let proxy = Proxy::start(host).await.unwrap();
    let url = format!("kafka://{}", proxy.address());
    let backend = common::open(&url, &[]).await.unwrap();
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.set(direction, Toxics::new().hold());
    }
    let (admin, before) = (backend.admin(), proxy.accepted());
    let asked = tokio::spawn(async move { admin.positions("nobody", "nothing").await });
    let replaced = async {
        // Each client that has given up is replaced by one with a connection of its own. One may have been under way before, another
        // be a second one of the first.
        while proxy.accepted() < before + 4 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, replaced)
        .await
        .expect("it is asked again");
    proxy.heal();
    let answer = timeout(DEADLINE, asked).await.expect("there is an answer");
    assert_eq!(answer.unwrap().unwrap(), []);
    backend.close().await.unwrap();
}
