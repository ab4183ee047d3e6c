//! A program that keeps a lease.

use std::time::Duration;

use etcd_client::{Client, Error};
use tokio::time::{sleep, timeout};

/// Before the program connects again after a loss.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A connection that does not answer for this long is given up.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn keep(endpoint: &str, lease: i64) -> String {
    loop {
        match keep_on_one_connection(endpoint, lease).await {
            Ok(lost) => return lost,
            Err(_) => sleep(AGAIN_AFTER).await,
        }
    }
}

/// Renews until the connection is lost, an error, or the lease is.
async fn keep_on_one_connection(endpoint: &str, lease: i64) -> Result<String, Error> {
    let mut client = Client::connect([endpoint], None).await?;
    let (mut keeper, mut answers) = match client.lease_keep_alive(lease).await {
        Ok(opened) => opened,
        Err(Error::LeaseKeepAliveError(why)) if why.contains("not found") => {
            return Ok(format!("lease {lease} is gone"));
        }
        Err(error) => return Err(error),
    };
    loop {
        keeper.keep_alive().await?;
        let answer = match timeout(PATIENCE, answers.message()).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Error::LeaseKeepAliveError("no answer".to_owned())),
        };
        let ttl_s = match answer {
            Some(answer) => answer.ttl(),
            None => return Err(Error::LeaseKeepAliveError("the stream has ended".to_owned())),
        };
        let Ok(ttl_s @ 1..) = u64::try_from(ttl_s) else {
            return Ok(format!("lease {lease} is gone"));
        };
        // As etcd's own clients do. A connection that breaks meanwhile is noticed at once.
        tokio::select! {
            () = sleep(Duration::from_secs(ttl_s) / 3) => {}
            unasked = answers.message() => {
                unasked?;
                return Err(Error::LeaseKeepAliveError("the stream has ended".to_owned()));
            }
        }
    }
}
