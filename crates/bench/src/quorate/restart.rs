//! How long a replica takes from the start of its process until it says that it is ready.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::group::Group;
use crate::clock::now_ns;
use crate::error::BenchError;
use crate::fault::Fault;
use crate::system::System;

/// Between two questions whether it is ready; the figure is as coarse as this.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// One question.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of an answer that matter: its first line.
const ANSWER_BYTES: usize = 64;

/// Restarts a follower `times` times, in order, and returns nanoseconds from the start until ready.
pub(crate) async fn restart_times(
    group: &Group,
    times: u32,
    patience: Duration,
) -> Result<Vec<u64>, BenchError> {
    let mut taken = Vec::new();
    for _ in 0..times {
        let reign = group.settle(patience).await?;
        let follower = usize::from(reign.leader == 0);
        group.strike(Fault::Term, follower).await?;
        group.ended(Fault::Term, follower).await?;
        let begun_ns = now_ns();
        group.repair(Fault::Term, follower)?;
        ready(group, follower, patience).await?;
        taken.push(now_ns() - begun_ns);
    }
    group.settle(patience).await?;
    Ok(taken)
}

async fn ready(group: &Group, member: usize, patience: Duration) -> Result<(), BenchError> {
    let process = group.process(member)?;
    let (address, begun) = (process.http_address(), Instant::now());
    loop {
        let said = match timeout(ANSWER_PATIENCE, ask(&address)).await {
            Ok(Ok(first_line)) if is_ok(&first_line) => return Ok(()),
            Ok(Ok(first_line)) => first_line,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if begun.elapsed() > patience {
            return Err(BenchError::Unsettled {
                system: group.name().to_owned(),
                after_s: patience.as_secs(),
                why: format!("replica {} is not ready: {said}", process.name()),
            });
        }
        sleep(ASK_EVERY).await;
    }
}

/// The first line of the answer to `/readyz`.
async fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES && !answer.contains(&b'\n') {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    let first = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(first).trim().to_owned())
}

fn is_ok(first_line: &str) -> bool {
    first_line.split(' ').nth(1) == Some("200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        let cases = [
            ("HTTP/1.1 200 OK", true),
            ("HTTP/1.1 200", true),
            ("HTTP/1.1 503 Service Unavailable", false),
            ("200 OK", false),
            ("", false),
        ];
        for (line, want) in cases {
            assert_eq!(is_ok(line), want, "{line}");
        }
    }
}
