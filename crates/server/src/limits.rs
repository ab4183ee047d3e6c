//! Bounds of what clients can hold at one replica, beyond those of [`quorate_types::limits`].

use std::time::Duration;

/// Connections of clients; more are closed at once.
pub const CLIENT_CONNECTIONS_MAX: usize = 16_384;
/// Calls and streams at once on one connection; a further one waits in the client.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 4_096;
/// Bytes of requests that one stream may have under way before it waits.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of requests that one connection may have under way before it waits.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// A client that connects has this long to say that it speaks HTTP/2.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two HTTP/2 pings to a silent client, and the time it has to answer: a dead connection is noticed in twice this.
pub const PING_EVERY: Duration = Duration::from_secs(2);

/// Connections to the HTTP port; more are closed at once.
pub const HTTP_CONNECTIONS_MAX: usize = 256;
/// A client of the HTTP port has this long to send the head of a request, and may be idle for as long.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of a request to the HTTP port, bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// A connection to the HTTP port is closed after this, so that a client that does not read its answer does not stay.
pub const HTTP_CONNECTION_LIFE_MAX: Duration = Duration::from_secs(300);

/// Writes of one stream that wait for their answer; the stream is not read further meanwhile.
pub const WRITES_UNANSWERED_MAX: usize = 1_024;
/// Events that one message of a watch carries, unless a single revision has more.
pub const WATCH_MESSAGE_EVENTS: usize = 1_024;
/// Bytes of events that one message of a watch carries, unless a single revision has more.
pub const WATCH_MESSAGE_BYTES: usize = 1 << 20;
/// Backups that are taken at once; a further one is refused as overloaded. Each holds on to a state of its moment, so a
/// client that stops reading costs memory until it goes.
pub const BACKUPS_MAX: usize = 2;
/// Bytes of one page of a listing; a page that would be larger ends early and names the next one.
pub const PAGE_BYTES_MAX: usize = 16 << 20;
/// Longest token of a page, bytes: larger than any that was given out.
pub const PAGE_TOKEN_BYTES_MAX: usize = 1_024;
