//! Panel discussion of an incident: each peer's opinion, then the reviewer's
//! verdict.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use uuid::Uuid;

use watchtower_domain::finding::{Observation, WATCHTOWER};
use watchtower_domain::incident::{Exchange, Opinion, PanelVerdict, Stance};
use watchtower_domain::transcript::{Purpose, Transcript};
use watchtower_models::model::{Failure, Reply, ReviewKind, ReviewQuestion, ReviewReply};
use watchtower_record::store::PanelExchange;

use super::ReportedFinding;
use crate::budgeted_ask::AskTerms;
use crate::grounding::Masks;
use crate::metrics::PanelEnd;
use crate::transcripts::TranscriptBuilder;
use crate::{AgentContext, AgentSet, AgentSpec, Policy, grounding, prompt_leak};

/// Name under which verdicts are given.
const REVIEWER: &str = "Evidence reviewer";
/// Maximum time for one opinion, the wait in the queue included: later it is of
/// no use.
const PATIENCE: Duration = Duration::from_secs(180);
/// Maximum single wait for the budget: requests behind it in the queue wait
/// too.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(5);

/// Outcome of a panel discussion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PanelOutcome {
    pub(super) end: PanelEnd,
    /// True if an analyst could not be asked.
    pub(super) failed: bool,
}

/// Requests the opinions of the peers, by their index in the agent set, and
/// settles them with earlier ones. `None` without any opinion: the discussion
/// does not count.
pub(super) async fn hold(
    report: &ReportedFinding,
    agents: &AgentSet,
    peers: &[usize],
    before: Vec<Opinion>,
    context: &AgentContext,
) -> Option<PanelOutcome> {
    let incident = report.finding.incident?;
    let opinions = peers.iter().map(|index| {
        let member = &agents.members[*index];
        opinion(report, member, context)
    });
    let said = join_all(opinions).await.into_iter();
    let said = said.filter(|(opinion, _)| !is_silence(opinion));
    let (opinions, transcripts): (Vec<_>, Vec<_>) = said.unzip();
    if opinions.is_empty() && before.is_empty() {
        return None;
    }
    let failed = opinions.iter().any(|opinion| opinion.failed);
    let end = settle(
        report,
        agents,
        incident,
        (before, opinions),
        transcripts,
        context,
    )
    .await;
    Some(PanelOutcome {
        end,
        failed: failed || end == PanelEnd::Unsettled,
    })
}

/// True for rules without a match: no opinion, unlike a model's explicit
/// `no_view`.
fn is_silence(opinion: &Opinion) -> bool {
    opinion.stance == Stance::NoView && !opinion.failed && opinion.model.provider == "offline"
}

/// Stores the opinions, and requests the reviewer's verdict.
async fn settle(
    report: &ReportedFinding,
    agents: &AgentSet,
    incident: Uuid,
    (before, said): (Vec<Opinion>, Vec<Opinion>),
    transcripts: Vec<Option<Transcript>>,
    context: &AgentContext,
) -> PanelEnd {
    let first = &report.finding.agent;
    let exchange = Exchange {
        opinions: said.clone(),
        verdict: None,
        transcripts: transcripts.into_iter().flatten().collect(),
    };
    if !said.is_empty() && !record(context, incident, exchange).await {
        return PanelEnd::Unsettled;
    }
    let opinions = [before, said].concat();
    let spoke = (opinions.iter()).any(|opinion| opinion.stance != Stance::NoView);
    // Without an opinion there is nothing to settle.
    if !spoke {
        return PanelEnd::NoView;
    }
    // The reviewer uses the model of the first analyst.
    let reporter = (agents.members.iter()).find(|member| member.config.name() == first);
    let Some(reporter) = reporter else {
        return PanelEnd::Unsettled;
    };
    let (verdict, transcript) = match judge(report, reporter, opinions, context).await {
        Ok(judged) => judged,
        Err(failure) => {
            tracing::warn!(%incident, %failure, "no verdict");
            let said = format!("no verdict on incident {incident}: {failure}");
            context.findings.note(WATCHTOWER, &said).await;
            return PanelEnd::Unsettled;
        }
    };
    let exchange = Exchange {
        opinions: Vec::new(),
        verdict: Some(verdict),
        transcripts: transcript.into_iter().collect(),
    };
    match record(context, incident, exchange).await {
        true => PanelEnd::Settled,
        false => PanelEnd::Unsettled,
    }
}

async fn record(context: &AgentContext, incident: Uuid, exchange: Exchange) -> bool {
    let exchange = PanelExchange { incident, exchange };
    match context.findings.write(exchange).await {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%incident, %error, "failed to store a panel discussion");
            false
        }
    }
}

/// Requests an opinion; a failure counts as no opinion, with the reason.
async fn opinion(
    report: &ReportedFinding,
    member: &AgentSpec,
    context: &AgentContext,
) -> (Opinion, Option<Transcript>) {
    let said = review(report, member, ReviewKind::Opinion, &[], context).await;
    let (said, transcript) = match said {
        Ok((reply, transcript)) => (Ok(reply), transcript),
        Err(failure) => (Err(failure), None),
    };
    let name = member.config.name().to_owned();
    let to = report.finding.agent.clone();
    let reported = Some(report.finding.severity);
    let failed = said.is_err();
    let at = Timestamp::now();
    let opinion = match said {
        Ok(ReviewReply { review, model, .. }) if review.stance != Stance::NoView => Opinion {
            agent: name,
            to,
            reported,
            stance: review.stance,
            failed,
            text: review.observation.detail,
            severity: Some(review.observation.severity),
            confidence: Some(review.observation.confidence),
            evidence: review.observation.evidence,
            at,
            model,
        },
        said => {
            let (text, model) = match said {
                Ok(reply) => (reply.review.observation.detail, reply.model),
                Err(failure) => (
                    format!("No response: {failure}"),
                    member.chain.first().model.identity(),
                ),
            };
            Opinion {
                agent: name,
                to,
                reported,
                stance: Stance::NoView,
                failed,
                text,
                severity: None,
                confidence: None,
                evidence: Vec::new(),
                at,
                model,
            }
        }
    };
    (opinion, transcript)
}

async fn judge(
    report: &ReportedFinding,
    reporter: &AgentSpec,
    opinions: Vec<Opinion>,
    context: &AgentContext,
) -> Result<(PanelVerdict, Option<Transcript>), Failure> {
    let said = review(report, reporter, ReviewKind::Verdict, &opinions, context).await;
    let (said, transcript) = said?;
    let stands = said.review.stance != Stance::Dispute;
    let against = |opinion: &&Opinion| match opinion.stance {
        Stance::Dispute => stands,
        Stance::Confirm | Stance::Add => !stands,
        Stance::NoView => false,
    };
    let first = (!stands).then(|| report.finding.agent.clone());
    let others = opinions.iter().filter(against).map(|one| one.agent.clone());
    let mut severity = said.review.observation.severity;
    let invented = (report.finding.evidence.iter()).any(|piece| piece.grounded == Some(false));
    if invented {
        // `Severity` is ordered from the highest down.
        severity = severity.max(reporter.chain.first().policy.ungrounded);
    }
    let judgement = PanelVerdict {
        by: REVIEWER.to_owned(),
        reported: Some(report.finding.severity),
        severity,
        confidence: said.review.observation.confidence,
        text: said.review.observation.detail,
        dissent: first.into_iter().chain(others).collect(),
        at: Timestamp::now(),
        model: said.model,
    };
    Ok((judgement, transcript))
}

/// Sends the report to an analyst's model and verifies the review against the
/// screen.
async fn review(
    report: &ReportedFinding,
    member: &AgentSpec,
    kind: ReviewKind,
    opinions: &[Opinion],
    context: &AgentContext,
) -> Result<(ReviewReply, Option<Transcript>), Failure> {
    let name = member.config.name();
    let (who, purpose) = match kind {
        ReviewKind::Opinion => (name, Purpose::Opinion),
        ReviewKind::Verdict => (REVIEWER, Purpose::Verdict),
    };
    let asking = async {
        let mut kept = None;
        let asked = loop {
            let say = |state: &str| context.board.say(name, state);
            let lease = member.chain.turn_again(0, context, kept, say).await;
            let policy = &lease.link().policy;
            let question = question(report, member, kind, opinions, policy)?;
            let terms = AskTerms {
                agent: Some(name.to_owned()),
                state: match kind {
                    ReviewKind::Opinion => format!("reviewing the finding of {}", question.first),
                    ReviewKind::Verdict => "requesting a verdict".to_owned(),
                },
                // Repeated: the report stays the same.
                wait_for_room: Some(WAIT_FOR_ROOM),
            };
            match lease.ask(question.into(), context, terms, say).await {
                Ok(asked) => break asked,
                Err(no_room) => kept = no_room.queued,
            }
        };
        let reply = asked.result.and_then(Reply::reviewed);
        reply.map(|reply| (reply, asked.span))
    };
    let late = || Failure::no_answer(format!("no answer within {} s", PATIENCE.as_secs()));
    let (mut said, span) = tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Err(late()))?;
    context.metrics.usage(name, said.usage);
    let (raw, policy) = (Arc::clone(&report.frame), member.chain.policy());
    let persona = Arc::clone(&member.config.persona);
    let builder = TranscriptBuilder::new(who, purpose, span);
    let prepare = move || {
        let raw = raw.hiding(&policy.own);
        let seen = &mut said.review.observation;
        // Agreement needs no quote.
        let hold = grounding::Hold {
            worst: policy.ungrounded,
            needs_quote: false,
        };
        grounding::ground(seen, &raw, policy.redact, hold);
        grounding::mask_all(seen, &raw, &policy);
        prompt_leak::withhold(seen, &persona);
        let exchange = said.exchange.take();
        let transcript = exchange.map(|exchange| {
            builder.transcript(*exchange, said.model.clone(), &persona, &raw, &policy)
        });
        (said, transcript)
    };
    match tokio::task::spawn_blocking(prepare).await {
        Ok(said) => Ok(said),
        Err(_) => Err(Failure::no_answer("answer not validated")),
    }
}

/// Question for a model under that policy. Fails while the text of the picture
/// is not read.
fn question(
    report: &ReportedFinding,
    member: &AgentSpec,
    kind: ReviewKind,
    opinions: &[Opinion],
    policy: &Policy,
) -> Result<ReviewQuestion, Failure> {
    let redacted = policy.redacted(&report.frame);
    let frame = redacted.ok_or_else(|| Failure::no_answer("screen text not read"))?;
    let (reported, opinions) = as_told(report, opinions.to_vec(), policy);
    Ok(ReviewQuestion {
        persona: Arc::clone(&member.config.persona),
        kind,
        frame,
        first: report.finding.agent.clone(),
        report: reported,
        opinions,
    })
}

/// Report and opinions masked under that policy: local rules may have quoted
/// what must not be sent.
fn as_told(
    report: &ReportedFinding,
    mut opinions: Vec<Opinion>,
    policy: &Policy,
) -> (Observation, Vec<Opinion>) {
    let masks = Masks::for_asking(&report.frame, policy);
    let mut reported = observation(report);
    masks.hide_all(&mut reported);
    for opinion in &mut opinions {
        masks.hide(&mut opinion.text);
        masks.hide_quotes(&mut opinion.evidence);
    }
    (reported, opinions)
}

/// Report as published.
fn observation(report: &ReportedFinding) -> Observation {
    let finding = &report.finding;
    Observation {
        severity: finding.severity,
        confidence: finding.confidence,
        category: finding.category,
        title: finding.title.clone(),
        detail: finding.detail.clone(),
        evidence: finding.evidence.clone(),
        mitre: finding.mitre.clone(),
        recommended_action: finding.recommended_action.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchtower_domain::finding::ModelRef;

    #[test]
    fn rules_without_a_match_have_no_opinion() {
        let opinion = |provider: &str, stance| Opinion {
            agent: "DevOps".to_owned(),
            to: "SecOps".to_owned(),
            reported: None,
            stance,
            failed: false,
            text: String::new(),
            severity: None,
            confidence: None,
            evidence: Vec::new(),
            at: Timestamp::UNIX_EPOCH,
            model: ModelRef {
                provider: provider.to_owned(),
                name: String::new(),
                version: String::new(),
                prompt: String::new(),
            },
        };
        assert!(is_silence(&opinion("offline", Stance::NoView)));
        assert!(!is_silence(&opinion("offline", Stance::Confirm)));
        assert!(!is_silence(&opinion("gemini", Stance::NoView)));
    }
}
