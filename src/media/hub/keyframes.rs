//! Requests of keyframes, from those who show or decode a stream to its
//! publisher, which answers them if it can (WHIP) and as often as is sensible.

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

use super::{Publisher, StreamHub};

impl StreamHub {
    /// Requests a keyframe, for a new viewer. Subscribing does so too.
    pub fn request_keyframe(&self, name: &StreamName) {
        if let Some(stream) = self.inner.streams.locked().get(name) {
            stream.keyframe_requests.notify_one();
        }
    }
}

impl Publisher {
    /// Waits for a request since the last one. Cancel safe.
    pub async fn keyframe_requested(&self) {
        self.stream.keyframe_requests.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_requested(publisher: &Publisher) -> bool {
        let request = pin!(publisher.keyframe_requested());
        let mut context = Context::from_waker(Waker::noop());
        request.poll(&mut context).is_ready()
    }

    #[test]
    fn a_request_reaches_the_publisher_once() {
        let hub = StreamHub::new();
        let name = StreamName::new("team").expect("a name");
        let publisher = hub.publish(&name);
        assert!(!is_requested(&publisher));
        hub.request_keyframe(&name);
        hub.request_keyframe(&name);
        assert!(is_requested(&publisher));
        assert!(!is_requested(&publisher));
        let _subscriber = hub.subscribe(&name).expect("live");
        assert!(is_requested(&publisher));
    }
}
