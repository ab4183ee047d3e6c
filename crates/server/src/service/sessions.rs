//! `Sessions`: who is there, and the streams that keep them so.

use std::sync::Arc;

use futures_util::stream;
use quorate_api::v1;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Streaming};

use super::{Answer, Messages};
use crate::leader::Led;
use crate::session::attachments::Attachments;
use crate::session::stream::AttachStream;

pub(super) struct Sessions {
    pub(super) led: Led,
    pub(super) attachments: Arc<Attachments>,
    pub(super) ending: CancellationToken,
}

#[tonic::async_trait]
impl v1::sessions_server::Sessions for Sessions {
    type AttachStream = Messages<v1::AttachResponse>;

    /// The headers leave at once; everything else, errors too, comes on the stream.
    async fn attach(&self, request: Request<Streaming<v1::AttachRequest>>) -> Answer<Self::AttachStream> {
        let attachments = Arc::clone(&self.attachments);
        let stream = AttachStream::new(
            request.into_inner(),
            self.led.clone(),
            attachments,
            self.ending.clone(),
        );
        let messages = stream::unfold(stream, |mut stream| async move {
            let message = stream.next().await?;
            Some((message, stream))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Answer<v1::ListSessionsResponse> {
        self.led.read(request).await
    }
}
