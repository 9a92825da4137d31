//! `watchtower sink test`: delivery of a marked sample event, and the
//! receiver's response.

use uuid::Uuid;

use super::shapes::sample;
use super::{DeliveryOutcome, Destination, ItemOutcome, Settled, SinkEvent, destination};
use crate::settings::SinkSettings;

/// Result of the sample event at one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkTest {
    pub sink: String,
    pub kind: &'static str,
    /// Event id of the sample, to search for at the receiver.
    pub id: Uuid,
    /// Result; `None` for a disabled sink.
    pub verdict: Option<Result<(), String>>,
}

/// Sends a sample event to each sink, one after the other.
pub async fn trials(settings: &[SinkSettings]) -> Vec<SinkTest> {
    let mut trials = Vec::new();
    for settings in settings {
        let sample = sample();
        let id = sample.id;
        let verdict = match settings.address {
            Some(_) => Some(one(settings, sample).await),
            None => None,
        };
        trials.push(SinkTest {
            sink: settings.name.clone(),
            kind: settings.kind.as_str(),
            id,
            verdict,
        });
    }
    trials
}

async fn one(settings: &SinkSettings, sample: SinkEvent) -> Result<(), String> {
    let mut destination = destination(settings)?;
    let batch = [sample];
    let sent = tokio::time::timeout(settings.timeout, async {
        match destination.deliver(&batch).await {
            DeliveryOutcome::Sent(_) => until_settled(&mut *destination).await,
            known => known,
        }
    });
    match sent.await {
        Err(_) => Err(format!(
            "no answer within {} s",
            settings.timeout.as_secs_f32()
        )),
        Ok(DeliveryOutcome::Delivered | DeliveryOutcome::Sent(_) | DeliveryOutcome::NotYet) => {
            Ok(())
        }
        Ok(DeliveryOutcome::Retry { why, .. }) => Err(why),
        Ok(DeliveryOutcome::PerItem(items)) => match items.into_iter().next() {
            Some(ItemOutcome::Taken) | None => Ok(()),
            Some(ItemOutcome::Permanent(why) | ItemOutcome::Not(_, why)) => Err(why),
        },
    }
}

async fn until_settled(destination: &mut dyn Destination) -> DeliveryOutcome {
    loop {
        match destination.settled().await {
            Settled::Taken(_) => return DeliveryOutcome::Delivered,
            Settled::Lost { why, .. } => return DeliveryOutcome::retry(why),
            Settled::Waits(_) => {}
        }
    }
}
