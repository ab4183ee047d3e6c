//! The HTTP side, for probes, metrics and people: plain HTTP/1.1, read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/livez`, `/healthz` | 200 while the process works; 503 once a fault has stopped the replica. Looks at nothing but this replica, so a probe on it never restarts a replica for the sake of another |
//! | `/readyz` | 200 when clients may be sent here, 503 and one line why otherwise |
//! | `/metrics` | OpenMetrics text |
//! | `/status.json` | everything that this replica knows of itself |
//! | `/` | the same as a page |
//!
//! Promises: any other path is 404, any other method 405; bodies are not read; heads are bounded in size and time, and
//! connections in number and life.

mod json;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use quorate_host::Stream;
use quorate_replica::{Fault, Readiness, Replica, chain};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::limits::{HTTP_CONNECTION_LIFE_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIMEOUT};

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The pages of a replica.
pub(crate) fn router(replica: Replica) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/livez", get(livez))
        .route("/healthz", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status.json", get(status_json))
        .fallback(nothing_here)
        .with_state(replica)
}

/// Serves one connection until its end, the end of its life, or `cut`.
pub(crate) async fn serve(stream: Stream, pages: Router, cut: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIMEOUT)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .auto_date_header(false);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    tokio::select! {
        served = connection => if let Err(error) = served {
            tracing::debug!(%error, "a connection to the HTTP port broke");
        },
        () = sleep(HTTP_CONNECTION_LIFE_MAX) => {}
        () = cut.cancelled() => {}
    }
}

fn answer(code: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (code, headers, body).into_response()
}

async fn livez(State(replica): State<Replica>) -> Response {
    let (code, body) = liveness(replica.fault().borrow().as_ref());
    answer(code, TEXT, body)
}

fn liveness(fault: Option<&Arc<Fault>>) -> (StatusCode, String) {
    match fault {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(fault) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("stopped by a fault: {}\n", chain(&**fault)),
        ),
    }
}

async fn readyz(State(replica): State<Replica>) -> Response {
    match replica.readiness() {
        Readiness::Ready => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
        Readiness::NotReady { why } => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

async fn metrics(State(replica): State<Replica>) -> Response {
    answer(StatusCode::OK, OPENMETRICS, replica.metrics_text())
}

async fn status_json(State(replica): State<Replica>) -> Response {
    let body = format!("{:#}\n", json::status(&replica.status(), &replica.readiness()));
    answer(StatusCode::OK, JSON, body)
}

async fn status_page(State(replica): State<Replica>) -> Response {
    answer(
        StatusCode::OK,
        HTML,
        page::status(&replica.status(), &replica.readiness()),
    )
}

async fn nothing_here() -> Response {
    let body = "nothing here; see /livez, /readyz, /metrics, /status.json and /\n";
    answer(StatusCode::NOT_FOUND, TEXT, body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_ends_liveness() {
        assert_eq!(liveness(None), (StatusCode::OK, "ok\n".to_owned()));
        let fault = Arc::new(Fault::Raft {
            why: "it broke".to_owned(),
        });
        let (code, body) = liveness(Some(&fault));
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "stopped by a fault: the consensus stopped: it broke\n");
    }
}
