//! Opinions of rules on a report: they confirm what they match in the same
//! place, and have no opinion otherwise. They never dispute, as the absence of
//! a match proves nothing.

use watchtower_domain::finding::{Evidence, Observation, Severity};
use watchtower_domain::incident::Stance;

use super::reading::overlap;
use super::{Offline, RuleFinding, Windows};
use crate::model::{Review, ReviewKind, ReviewQuestion};

impl Offline {
    pub(super) fn review(&self, question: &ReviewQuestion) -> Review {
        match question.kind {
            ReviewKind::Opinion => self.opinion(question),
            ReviewKind::Verdict => settle(question),
        }
    }

    fn opinion(&self, question: &ReviewQuestion) -> Review {
        let reading = self.read(&question.frame);
        // Matches on this picture alone, without windows over earlier ones.
        let reports = reading.get().map_or_else(Vec::new, |reading| {
            self.reports(&question.frame, reading, &mut Windows::default())
        });
        let overlaps =
            |report: &&RuleFinding| meets(&report.observation.evidence, &question.report.evidence);
        let Some(own) = reports.into_iter().find(|report| overlaps(&report)) else {
            let text = "No matching rule.";
            return review(
                question,
                Stance::NoView,
                Severity::Info,
                0.0,
                text.to_owned(),
            );
        };
        let own = own.observation;
        let same = own.category == question.report.category;
        Review {
            stance: if same { Stance::Confirm } else { Stance::Add },
            observation: Observation {
                detail: format!("{}: {}", own.title, own.detail),
                title: String::new(),
                ..own
            },
        }
    }
}

/// True if both have evidence in the same place.
fn meets(own: &[Evidence], theirs: &[Evidence]) -> bool {
    let boxes = |pieces: &[Evidence]| -> Vec<[u16; 4]> {
        pieces.iter().filter_map(|piece| piece.bounds).collect()
    };
    let theirs = boxes(theirs);
    boxes(own)
        .iter()
        .any(|a| theirs.iter().any(|b| overlap(a, b)))
}

/// Verdict by vote count, as rules can't judge: the report holds unless its
/// quotes are not on the screen or more dispute it than confirm it; then the
/// lowest severity of the disputing opinions counts.
fn settle(question: &ReviewQuestion) -> Review {
    let count = |stance| {
        let same = question.opinions.iter().filter(|one| one.stance == stance);
        same.count()
    };
    let (confirm, dispute) = (count(Stance::Confirm), count(Stance::Dispute));
    let report = &question.report;
    let invented = (report.evidence.iter()).any(|piece| piece.grounded == Some(false));
    let stands = !invented && dispute <= confirm;
    let disputing = (question.opinions.iter()).filter(|one| one.stance == Stance::Dispute);
    let mildest = disputing.filter_map(|one| one.severity).max();
    let severity = match (stands, mildest) {
        (true, _) => report.severity,
        (false, Some(mildest)) => report.severity.max(mildest),
        (false, None) => report.severity.max(Severity::Medium),
    };
    let quotes = if invented {
        "unverified evidence"
    } else {
        "evidence verified"
    };
    let text = format!("By vote count: {confirm} confirm, {dispute} dispute; {quotes}.");
    let stance = if stands {
        Stance::Confirm
    } else {
        Stance::Dispute
    };
    let agree = (1 + confirm) as f32 / (1 + confirm + dispute) as f32;
    review(question, stance, severity, report.confidence * agree, text)
}

fn review(
    question: &ReviewQuestion,
    stance: Stance,
    severity: Severity,
    confidence: f32,
    text: String,
) -> Review {
    Review {
        stance,
        observation: Observation {
            severity,
            confidence,
            category: question.report.category,
            title: String::new(),
            detail: text,
            evidence: Vec::new(),
            mitre: Vec::new(),
            recommended_action: String::new(),
        },
    }
}
