//! Callers who ask again when the service says that it is busy.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response};

/// Sends a request as its caller should: again, after a while, when the service says that it is
/// busy, as a machine that runs many tests at a time makes it.
pub(crate) trait Patient {
    async fn sent(self) -> Response;
}

impl Patient for RequestBuilder {
    async fn sent(self) -> Response {
        const LONGEST: Duration = Duration::from_secs(20);
        let began = Instant::now();
        loop {
            let again = self.try_clone().expect("a body in memory");
            let answer = again.send().await.expect("an answer");
            let busy = answer.status() == 503 && answer.headers().contains_key("retry-after");
            if !busy || began.elapsed() > LONGEST {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
