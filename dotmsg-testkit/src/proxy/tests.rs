//! The proxy in front of a local server that sends everything back.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Direction, Proxy, Toxics};
use crate::wait::{until, within};

/// Sends back what it gets; gives its address.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                // A client that goes away in whatever manner ends its echo.
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address.to_string()
}

async fn proxy() -> Proxy {
    Proxy::start(echo().await).await.unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    client.set_nodelay(true).unwrap();
    client
}

async fn send(client: &mut TcpStream, bytes: &[u8]) {
    within("bytes are sent", client.write_all(bytes))
        .await
        .unwrap();
}

async fn receive(client: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let read = within("bytes come back", client.read_exact(&mut bytes)).await;
    read.unwrap();
    bytes
}

/// A connection on which something came back already, so that both of its sides are there.
async fn established(proxy: &Proxy) -> TcpStream {
    let mut client = connect(proxy).await;
    send(&mut client, b"x").await;
    receive(&mut client, 1).await;
    client
}

/// How a connection ends: the kind of error, `None` for an end in good order.
async fn end(client: &mut TcpStream) -> Option<ErrorKind> {
    let mut rest = Vec::new();
    let read = within("the connection ends", client.read_to_end(&mut rest)).await;
    read.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_sound_line_passes_everything_on_and_ends_in_good_order() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut read, mut write) = client.split();
    let sent = async {
        write.write_all(&bytes).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let (_, read) = within("all comes back", async {
        tokio::join!(sent, read.read_to_end(&mut back))
    })
    .await;
    read.unwrap();
    assert!(back == bytes, "what came back differs");
    for direction in [Direction::ToServer, Direction::ToClient] {
        assert_eq!(proxy.passed(direction), 1_000_000);
    }
    until("the connection is over", || async {
        (proxy.open() == 0).then_some(())
    })
    .await;
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_close_an_end() {
    let proxy = proxy().await;
    let mut clients = [established(&proxy).await, established(&proxy).await];
    assert_eq!(proxy.open(), 2);
    proxy.reset_all();
    for client in &mut clients {
        assert_eq!(end(client).await, Some(ErrorKind::ConnectionReset));
    }
    let mut client = established(&proxy).await;
    proxy.close_all();
    assert_eq!(end(&mut client).await, None);
    established(&proxy).await;
}

#[tokio::test]
async fn who_is_refused_is_reset_until_the_line_is_healed() {
    let proxy = proxy().await;
    proxy.refuse(true);
    let mut client = connect(&proxy).await;
    assert_eq!(end(&mut client).await, Some(ErrorKind::ConnectionReset));
    proxy.heal();
    established(&proxy).await;
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn nobody_behind_the_proxy_is_a_reset() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap().to_string();
    drop(unused);
    let proxy = Proxy::start(address).await.unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(end(&mut client).await, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_delay_is_at_least_so_long_and_switched_while_connected() {
    const DELAY: Duration = Duration::from_millis(60);
    let proxy = proxy().await;
    let mut client = established(&proxy).await;
    let toxics = Toxics::new().delay(DELAY).jitter(Duration::from_millis(20));
    proxy.set(Direction::ToServer, toxics.clone());
    proxy.set(Direction::ToClient, toxics);
    let began = Instant::now();
    send(&mut client, b"slow").await;
    assert_eq!(receive(&mut client, 4).await, b"slow");
    assert!(began.elapsed() >= 2 * DELAY, "{:?}", began.elapsed());
    proxy.heal();
    send(&mut client, b"well").await;
    assert_eq!(receive(&mut client, 4).await, b"well");
}

#[tokio::test]
async fn a_narrow_line_takes_its_time() {
    let proxy = proxy().await;
    let mut client = established(&proxy).await;
    proxy.set(Direction::ToClient, Toxics::new().bandwidth(100_000));
    let began = Instant::now();
    send(&mut client, &[7; 30_000]).await;
    receive(&mut client, 30_000).await;
    // The first piece passes at once, and is 16 KiB at most.
    let least = Duration::from_millis(130);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}

#[tokio::test]
async fn slices_arrive_in_pieces() {
    let proxy = proxy().await;
    let mut client = established(&proxy).await;
    let slices = Toxics::new().slice(3, Duration::from_millis(2));
    proxy.set(Direction::ToClient, slices);
    send(&mut client, b"0123456789").await;
    let (mut whole, mut pieces) = (Vec::new(), 0);
    while whole.len() < 10 {
        let mut piece = [0; 16];
        let count = within("a piece", client.read(&mut piece)).await.unwrap();
        whole.extend_from_slice(&piece[..count]);
        pieces += 1;
    }
    assert_eq!(whole, b"0123456789");
    assert!(pieces > 1, "it came in one piece");
}

#[tokio::test]
async fn half_open_is_silent_without_an_end_also_when_it_is_healed() {
    let proxy = proxy().await;
    let mut client = established(&proxy).await;
    proxy.set(Direction::ToClient, Toxics::new().swallow());
    send(&mut client, b"lost").await;
    // Nothing is to come; that the answer is gone is certain when another connection has had one through the same proxy.
    proxy.set(Direction::ToServer, Toxics::new());
    let mut other = connect(&proxy).await;
    send(&mut other, b"y").await;
    until("both have sent", || async {
        (proxy.open() == 2).then_some(())
    })
    .await;
    let mut one = [0];
    let silence = timeout(Duration::from_millis(50), client.read(&mut one)).await;
    assert!(silence.is_err(), "neither bytes nor an end");
    proxy.heal();
    established(&proxy).await;
    send(&mut client, b"still lost").await;
    let silence = timeout(Duration::from_millis(50), client.read(&mut one)).await;
    assert!(
        silence.is_err(),
        "what was lost leaves a hole, so nothing comes after it"
    );
    proxy.reset_all();
    assert_eq!(end(&mut client).await, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn what_is_held_comes_when_it_is_let_go() {
    let proxy = proxy().await;
    let mut client = established(&proxy).await;
    proxy.set(Direction::ToServer, Toxics::new().hold());
    send(&mut client, b"held").await;
    let mut one = [0];
    let silence = timeout(Duration::from_millis(30), client.read(&mut one)).await;
    assert!(silence.is_err(), "it is held");
    assert_eq!(proxy.passed(Direction::ToServer), 1);
    proxy.heal();
    assert_eq!(receive(&mut client, 4).await, b"held");
}

#[tokio::test]
async fn a_reset_after_so_many_bytes_cuts_a_frame_in_two() {
    let proxy = proxy().await;
    proxy.set(Direction::ToClient, Toxics::new().reset_after(5));
    let mut client = connect(&proxy).await;
    send(&mut client, b"0123456789").await;
    let (mut got, mut piece) = (Vec::new(), [0; 16]);
    let kind = loop {
        match within("bytes or an end", client.read(&mut piece)).await {
            Ok(0) => panic!("an end in good order after {got:?}"),
            Ok(count) => got.extend_from_slice(&piece[..count]),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(kind, ErrorKind::ConnectionReset);
    // A reset may overtake what was on its way.
    assert!(b"01234".starts_with(&got[..]), "{got:?}");
}

#[tokio::test]
async fn a_dropped_proxy_ends_its_connections() {
    let proxy = proxy().await;
    let mut client = established(&proxy).await;
    let address = proxy.address();
    drop(proxy);
    // Whether in good order or by a reset.
    end(&mut client).await;
    until("nobody listens", || async {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
}
