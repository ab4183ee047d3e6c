//! When the reader of a pipe goes away.
//!
//! Promises: noticed without writing, by the kernel's word (`EPOLLERR` on the writing end). Left out on purpose: files
//! and terminals, which have no reader that could leave; for them this waits for ever.

use std::future::pending;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

/// Returns when whoever reads the pipe at the other end of `output` has closed it.
pub(super) async fn reader_gone(output: impl AsFd) {
    // "Unchecked" leaves the mode of the pipe, which other processes may share, as it is: blocking. Nothing is written
    // through this handle. What epoll does not take is not a pipe.
    let own = output.as_fd().try_clone_to_owned();
    let Ok(pipe) = own.and_then(Sender::from_owned_fd_unchecked) else {
        return pending().await;
    };
    loop {
        match pipe.ready(Interest::ERROR).await {
            Ok(ready) if ready.is_error() => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(_) => return pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_leaves_is_noticed_without_writing() {
        let (reader, writer) = std::io::pipe().unwrap();
        let gone = tokio::spawn(reader_gone(writer));
        tokio::task::yield_now().await;
        assert!(!gone.is_finished());
        drop(reader);
        timeout(Duration::from_secs(60), gone).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_full_pipe_and_a_file_have_not_lost_their_reader() {
        use std::io::Write;
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&[0; 4096]).unwrap();
        let file: File = tempfile::tempfile().unwrap();
        tokio::select! {
            biased;
            () = reader_gone(writer) => panic!("the reader is still there"),
            () = reader_gone(file) => panic!("a file has no reader"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        drop(reader);
    }
}
