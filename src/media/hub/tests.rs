use bytes::Bytes;

use super::*;
use crate::{AccessUnit, MediaTime, VideoConfig};

fn name() -> StreamName {
    StreamName::new("team").expect("valid")
}

pub(super) fn unit(ms: i64, keyframe: bool, size: usize) -> MediaUnit {
    let config = VideoConfig::playable(Bytes::new(), Bytes::new(), 16, 16);
    MediaUnit::Video(AccessUnit {
        pts: MediaTime::from_ms(ms),
        dts: MediaTime::from_ms(ms),
        keyframe,
        config: Arc::new(config),
        data: Bytes::from(vec![0; size]),
    })
}

async fn next_ms(subscriber: &mut Subscriber) -> i64 {
    match subscriber.recv().await {
        Some(Received::Unit(MediaUnit::Video(unit))) => unit.pts.ms(),
        other => panic!("expected a unit, got {other:?}"),
    }
}

#[tokio::test]
async fn a_late_subscriber_starts_at_the_newest_keyframe() {
    let hub = StreamHub::new();
    let publisher = hub.publish(&name());
    for ms in 0..10 {
        publisher
            .push(unit(ms, ms % 4 == 0, 1))
            .expect("still ours");
    }
    let mut subscriber = hub.subscribe(&name()).expect("live");
    assert_eq!(next_ms(&mut subscriber).await, 8);
    assert_eq!(next_ms(&mut subscriber).await, 9);
    drop(publisher);
    assert!(subscriber.recv().await.is_none());
    assert!(hub.subscribe(&name()).is_none());
}

#[tokio::test]
async fn nothing_is_handed_out_before_a_keyframe() {
    let hub = StreamHub::new();
    let publisher = hub.publish(&name());
    publisher.push(unit(0, false, 1)).expect("still ours");
    let mut subscriber = hub.subscribe(&name()).expect("live");
    publisher.push(unit(1, false, 1)).expect("still ours");
    publisher.push(unit(2, true, 1)).expect("still ours");
    assert_eq!(next_ms(&mut subscriber).await, 2);
}

#[tokio::test]
async fn a_slow_subscriber_goes_on_at_a_keyframe_and_learns_what_it_lost() {
    let hub = StreamHub::new();
    let publisher = hub.publish(&name());
    publisher.push(unit(0, true, 1)).expect("still ours");
    let mut subscriber = hub.subscribe(&name()).expect("live");
    assert_eq!(next_ms(&mut subscriber).await, 0);
    for ms in 1..=3000 {
        publisher.push(unit(ms, ms == 2500, 1)).expect("still ours");
    }
    match subscriber.recv().await {
        Some(Received::Lost(count)) => assert_eq!(count, 2499),
        other => panic!("expected a loss, got {other:?}"),
    }
    assert_eq!(next_ms(&mut subscriber).await, 2500);
}

#[tokio::test]
async fn the_window_is_bounded_in_bytes_though_no_keyframe_ever_comes() {
    let hub = StreamHub::new();
    let publisher = hub.publish(&name());
    for ms in 0..100 {
        publisher
            .push(unit(ms, false, 1 << 20))
            .expect("still ours");
    }
    let held = publisher.stream.window.locked().bytes;
    assert!(held <= WINDOW_BYTES, "{held}");
}

#[tokio::test]
async fn a_new_publisher_takes_over_and_subscribers_stay() {
    let hub = StreamHub::new();
    let old = hub.publish(&name());
    old.push(unit(0, true, 1)).expect("still ours");
    let mut subscriber = hub.subscribe(&name()).expect("live");
    assert_eq!(next_ms(&mut subscriber).await, 0);
    let new = hub.publish(&name());
    assert!(old.replaced().is_cancelled());
    assert_eq!(old.push(unit(1, false, 1)), Err(Replaced));
    drop(old);
    new.push(unit(1, false, 1)).expect("still ours");
    new.push(unit(2, true, 1)).expect("still ours");
    let received = subscriber.recv().await;
    assert!(matches!(received, Some(Received::Restarted)));
    assert_eq!(next_ms(&mut subscriber).await, 2);
    assert_eq!(hub.streams().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_its_publisher_to_return() {
    let hub = StreamHub::holding();
    let publisher = hub.publish(&name());
    publisher.push(unit(0, true, 1)).expect("still ours");
    let mut subscriber = hub.subscribe(&name()).expect("live");
    assert_eq!(next_ms(&mut subscriber).await, 0);
    drop(publisher);
    let received = subscriber.recv().await;
    assert!(matches!(received, Some(Received::SignalLost)));
    assert!(hub.streams()[0].lost_since.is_some());
    let mut late = hub.subscribe(&name()).expect("held");
    assert!(matches!(late.recv().await, Some(Received::SignalLost)));

    let publisher = hub.publish(&name());
    assert!(hub.streams()[0].lost_since.is_none());
    publisher.push(unit(5, true, 1)).expect("still ours");
    for subscriber in [&mut subscriber, &mut late] {
        let received = subscriber.recv().await;
        assert!(matches!(received, Some(Received::Restarted)));
        assert_eq!(next_ms(subscriber).await, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_publisher_stays_away_ends() {
    let hub = StreamHub::holding();
    let closing = CancellationToken::new();
    let expiry = tokio::spawn({
        let (hub, closing) = (hub.clone(), closing.clone());
        async move { hub.expire(closing).await }
    });
    let publisher = hub.publish(&name());
    let mut subscriber = hub.subscribe(&name()).expect("live");
    drop(publisher);
    let lost = Instant::now();
    let received = subscriber.recv().await;
    assert!(matches!(received, Some(Received::SignalLost)));
    assert!(subscriber.recv().await.is_none());
    assert_eq!(lost.elapsed().as_secs(), GRACE.as_secs());
    assert!(hub.streams().is_empty());

    // Once the hub is closing no stream waits any more.
    let publisher = hub.publish(&name());
    closing.cancel();
    drop(publisher);
    expiry.await.expect("no panic");
    assert_eq!(lost.elapsed().as_secs(), GRACE.as_secs());
    assert!(hub.subscribe(&name()).is_none());
}

fn sound(ms: i64) -> MediaUnit {
    MediaUnit::Audio(crate::AudioUnit {
        pts: MediaTime::from_ms(ms),
        codec: crate::AudioCodec::Aac,
        config: Bytes::new(),
        data: Bytes::from_static(b"aac"),
    })
}

#[tokio::test]
async fn an_audio_subscriber_waits_for_no_picture() {
    let hub = StreamHub::holding();
    let publisher = hub.publish(&name());
    publisher.push(sound(0)).expect("still ours");
    let mut listener = hub.listen(&name()).expect("live");
    let mut viewer = hub.subscribe(&name()).expect("live");
    publisher.push(sound(20)).expect("still ours");
    let received = listener.recv().await;
    assert!(
        matches!(&received, Some(Received::Unit(MediaUnit::Audio(unit))) if unit.pts.ms() == 20),
        "{received:?}"
    );
    // Too far behind, it resumes with the next unit.
    for ms in 0..=WINDOW_UNITS as i64 {
        publisher.push(sound(40 + ms)).expect("still ours");
    }
    assert!(matches!(listener.recv().await, Some(Received::Lost(_))));
    publisher.push(sound(90_000)).expect("still ours");
    let received = listener.recv().await;
    assert!(
        matches!(&received, Some(Received::Unit(MediaUnit::Audio(unit))) if unit.pts.ms() == 90_000),
        "{received:?}"
    );
    // Signal loss is reported even to a viewer that waits for a picture.
    drop(publisher);
    assert!(matches!(viewer.recv().await, Some(Received::SignalLost)));
    let publisher = hub.publish(&name());
    publisher.push(sound(0)).expect("still ours");
    assert!(matches!(viewer.recv().await, Some(Received::Restarted)));
    publisher.push(unit(20, true, 1)).expect("still ours");
    assert_eq!(next_ms(&mut viewer).await, 20);
}

#[tokio::test]
async fn no_subscriber_begins_at_a_replaced_publishers_picture() {
    let hub = StreamHub::holding();
    let first = hub.publish(&name());
    first.push(unit(0, true, 1)).expect("still ours");
    // Return of a publisher, then a takeover by another.
    drop(first);
    for time in [1000, 2000] {
        let publisher = hub.publish(&name());
        let mut subscriber = hub.subscribe(&name()).expect("live");
        assert!(subscriber.take().is_none(), "{time}");
        publisher.push(unit(time, true, 1)).expect("still ours");
        assert_eq!(next_ms(&mut subscriber).await, time);
        std::mem::forget(publisher);
    }
}

#[tokio::test(start_paused = true)]
async fn publishers_that_take_a_stream_from_each_other_are_reported() {
    let contested = |hub: &StreamHub| hub.streams()[0].contested_since.is_some();
    let hub = StreamHub::holding();
    let mut publisher = hub.publish(&name());
    for change in 1..=3 {
        assert!(!contested(&hub), "{change}");
        publisher = hub.publish(&name());
    }
    assert!(contested(&hub));
    tokio::time::advance(CONTEST_WITHIN + Duration::from_secs(1)).await;
    assert!(!contested(&hub));
    // A publisher's return is no takeover.
    for _ in 0..5 {
        drop(publisher);
        publisher = hub.publish(&name());
    }
    assert!(!contested(&hub));
}

#[tokio::test]
async fn there_are_no_more_streams_than_may_be() {
    let named = |name| StreamName::new(name).expect("valid");
    let hub = StreamHub::new();
    let first = hub.publish_within(&named("a"), 2).expect("room");
    let _second = hub.publish_within(&named("b"), 2).expect("room");
    assert_eq!(
        hub.publish_within(&named("c"), 2).err(),
        Some(StreamLimitReached(2))
    );
    // A takeover adds no stream.
    let third = hub.publish_within(&named("a"), 2).expect("taken over");
    drop((first, third));
    hub.publish_within(&named("c"), 2).expect("room again");
}
