//! Intent of a text: who is addressed, and what is asked.

use super::ScreenOrder;
use super::fold::FoldedWord;
use super::vocabulary::{PhraseClass, PhraseHit};

/// Distance of a word, and of a character of a script without spaces: about
/// three of these make a word.
const WORD: usize = 3;
const GLYPH: usize = 1;
/// Distances in words: within a clause, and between a call and its request.
const CLAUSE: usize = 6;
const SENTENCE: usize = 14;

/// Minimum words after an address to any reader.
const LEAST_ASKED: usize = 2;

/// Text with its words and the phrases found in it.
pub(super) struct PassageText<'a> {
    pub(super) text: &'a str,
    pub(super) words: &'a [FoldedWord],
    pub(super) hits: &'a [PhraseHit],
    pub(super) draft: bool,
}

/// Request found: what it asks, and the range of its words.
#[derive(Debug, Clone, Copy)]
struct OrderRequest {
    what: &'static str,
    from: usize,
    to: usize,
}

/// Manner in which a reader is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressForm {
    /// By what only a reader is or does: "if you are an AI", "models reading
    /// this", "note to the AI:".
    Reader,
    /// As whichever machine reads the screen, which nothing else is written for.
    Anyone,
    /// By name and duty: "the AI must".
    Duty,
    /// By name: "Assistant, ...".
    Name,
}

#[derive(Debug, Clone, Copy)]
struct ReaderAddress {
    form: AddressForm,
    from: usize,
    /// End of the address; a request follows.
    to: usize,
}

const IGNORE: &str = "asks to ignore the instructions";
const HIDE: &str = "asks to report nothing";
const EXCUSE: &str = "asks for a harmless verdict";
const DICTATE: &str = "dictates the answer";
const REVEAL: &str = "asks for the system prompt";
const RECAST: &str = "changes the role of the reader";
const ADDRESS: &str = "addresses an AI that reads the screen";
const ACT: &str = "asks for an action";

impl PassageText<'_> {
    pub(super) fn order(&self) -> Option<ScreenOrder> {
        let alone = self.alone();
        let request = alone.or_else(|| self.to_reader()).or_else(|| self.pair())?;
        let about = self.of(PhraseClass::About).next().is_some();
        (!about).then(|| ScreenOrder {
            request: request.what,
            span: self.span(request.from, request.to),
        })
    }

    fn of(&self, class: PhraseClass) -> impl Iterator<Item = PhraseHit> {
        self.hits
            .iter()
            .copied()
            .filter(move |hit| hit.class == class)
    }

    fn span(&self, from: usize, to: usize) -> (usize, usize) {
        (self.words[from].start, self.words[to - 1].end)
    }

    /// Distance of two ranges of words, [`WORD`] for each word between.
    fn distance(&self, a: (usize, usize), b: (usize, usize)) -> usize {
        let (first, second) = if a.0 <= b.0 { (a, b) } else { (b, a) };
        let between = self.words.get(first.1..second.0).unwrap_or_default();
        let weight = |word: &FoldedWord| if word.glyph { GLYPH } else { WORD };
        between.iter().map(weight).sum()
    }

    fn near(&self, a: PhraseHit, b: PhraseHit, words: usize) -> bool {
        let apart = a.to <= b.from || b.to <= a.from;
        apart && self.distance((a.from, a.to), (b.from, b.to)) <= words * WORD
    }

    /// True where a command may begin: at the start of a clause, after words
    /// such as "please", and anywhere in a language that puts its verb last.
    fn begins(&self, at: usize) -> bool {
        let word = &self.words[at];
        let after_lead = self.of(PhraseClass::Lead).any(|lead| lead.to == at);
        word.opens || after_lead || !word.text.is_ascii()
    }

    /// Pairs of phrases of one request.
    fn paired(&self, a: PhraseClass, b: PhraseClass, words: usize) -> Vec<(PhraseHit, PhraseHit)> {
        let pairs = self.of(a).flat_map(|a| self.of(b).map(move |b| (a, b)));
        pairs.filter(|(a, b)| self.near(*a, *b, words)).collect()
    }

    /// Requests that only an analyst or a model is ever given.
    fn alone(&self) -> Option<OrderRequest> {
        self.ignore()
            .or_else(|| self.hide())
            .or_else(|| self.excuse(false))
            .or_else(|| self.reveal(false))
            .or_else(|| self.recast(false))
            .or_else(|| self.dictate(false))
    }

    /// Setting aside what the reader was told: of everything before, or as a
    /// bare command.
    fn ignore(&self) -> Option<OrderRequest> {
        for (void, guidance) in self.paired(PhraseClass::Void, PhraseClass::Guidance, CLAUSE) {
            let from = void.from.min(guidance.from);
            let to = void.to.max(guidance.to);
            let prior = self.of(PhraseClass::Prior).any(|prior| {
                self.distance((prior.from, prior.to), (from, to)) <= 2 * WORD
                    && prior.from != void.from
            });
            let close = self.distance((void.from, void.to), (guidance.from, guidance.to));
            let text = self.words[to - 1].end;
            let rest = self.text[text..].trim_start();
            let ends = rest.chars().next().is_none_or(|c| ".:;!,".contains(c));
            let bare = void.from < guidance.from && close == WORD && ends;
            if self.begins(void.from) && (prior || bare) || prior && self.commands(void, guidance) {
                return Some(OrderRequest {
                    what: IGNORE,
                    from,
                    to,
                });
            }
        }
        None
    }

    /// True for an order in the middle of a clause: "that you ignore your
    /// previous instructions", but not "can you ignore my".
    fn commands(&self, void: PhraseHit, guidance: PhraseHit) -> bool {
        let mine = |word: &FoldedWord| matches!(word.text.as_str(), "my" | "our" | "we" | "i");
        let from = void.from.saturating_sub(3);
        let to = guidance.to.max(void.to);
        !self.words[from..to].iter().any(mine)
    }

    /// Reporting nothing.
    fn hide(&self) -> Option<OrderRequest> {
        let mut silence = self.of(PhraseClass::Silence);
        let whole = silence
            .find(|hit| self.begins(hit.from))
            .map(|hit| OrderRequest {
                what: HIDE,
                from: hit.from,
                to: hit.to,
            });
        whole.or_else(|| {
            let pairs = self.paired(PhraseClass::Hush, PhraseClass::Object, 1);
            let mut pairs = pairs.into_iter();
            let (hush, object) =
                pairs.find(|(hush, object)| hush.to <= object.from && self.begins(hush.from))?;
            Some(OrderRequest {
                what: HIDE,
                from: hush.from,
                to: object.to,
            })
        })
    }

    /// A harmless verdict on what is shown; any verdict for an addressee.
    fn excuse(&self, addressed: bool) -> Option<OrderRequest> {
        let mut pairs = self.paired(PhraseClass::Verdict, PhraseClass::Benign, CLAUSE);
        if addressed {
            pairs.extend(self.paired(PhraseClass::Verdict, PhraseClass::Mild, CLAUSE));
        }
        let object = |verdict: PhraseHit, benign: PhraseHit| {
            let mut objects = self
                .of(PhraseClass::Object)
                .chain(self.of(PhraseClass::Page));
            let glyph = self.words[verdict.from].glyph;
            objects.any(|object| {
                let inside = verdict.to <= object.from && object.to <= benign.from;
                inside || glyph && object.from <= verdict.from
            })
        };
        let found = pairs.into_iter().find(|(verdict, benign)| {
            addressed || self.begins(verdict.from) && object(*verdict, *benign)
        });
        found.map(|(verdict, benign)| OrderRequest {
            what: EXCUSE,
            from: verdict.from.min(benign.from),
            to: verdict.to.max(benign.to),
        })
    }

    fn reveal(&self, addressed: bool) -> Option<OrderRequest> {
        let pairs = self.paired(PhraseClass::Reveal, PhraseClass::Secret, 4);
        let found = pairs
            .into_iter()
            .find(|(reveal, _)| addressed || self.begins(reveal.from))?;
        Some(OrderRequest {
            what: REVEAL,
            from: found.0.from.min(found.1.from),
            to: found.0.to.max(found.1.to),
        })
    }

    /// Another role for the reader. In a prompt that is edited it is somebody
    /// else's.
    fn recast(&self, addressed: bool) -> Option<OrderRequest> {
        let mut whole = self.of(PhraseClass::Recast);
        let whole = whole.find(|hit| addressed || self.begins(hit.from));
        let whole = whole.map(|hit| (hit.from, hit.to));
        let turned = || {
            let mut pairs = self.paired(PhraseClass::Turned, PhraseClass::Guise, 4);
            if addressed {
                pairs.extend(self.paired(PhraseClass::Acting, PhraseClass::Guise, 4));
            }
            let found = pairs
                .into_iter()
                .find(|(turned, guise)| turned.to <= guise.from)?;
            Some((found.0.from, found.1.to))
        };
        let (from, to) = whole.or_else(turned)?;
        (addressed || !self.draft).then_some(OrderRequest {
            what: RECAST,
            from,
            to,
        })
    }

    /// The words of an answer. In a prompt that is edited they are somebody
    /// else's; so are formats in general, unless there is an addressee.
    fn dictate(&self, addressed: bool) -> Option<OrderRequest> {
        let pairs = self.paired(PhraseClass::Answer, PhraseClass::Form, 2);
        let pairs = pairs.into_iter().filter(|(answer, form)| {
            answer.to <= form.from
                || self.words[form.from].opens
                || !self.words[form.from].text.is_ascii()
        });
        let mut claims = self
            .paired(PhraseClass::Answer, PhraseClass::Claim, 3)
            .into_iter();
        let alone =
            |pair: &(PhraseHit, PhraseHit)| addressed || !self.draft && self.begins(pair.0.from);
        let mut pairs = pairs;
        let found = pairs.find(alone).or_else(|| claims.find(|_| addressed))?;
        Some(OrderRequest {
            what: DICTATE,
            from: found.0.from.min(found.1.from),
            to: found.0.to.max(found.1.to),
        })
    }

    /// Request to an addressee.
    fn to_reader(&self) -> Option<OrderRequest> {
        let addresses = self.addresses();
        addresses.into_iter().find_map(|address| {
            let request = self.asked_of(address)?;
            Some(OrderRequest {
                what: request.what,
                from: request.from.min(address.from),
                to: request.to.max(address.to),
            })
        })
    }

    fn asked_of(&self, address: ReaderAddress) -> Option<OrderRequest> {
        if matches!(address.form, AddressForm::Reader | AddressForm::Anyone) {
            let whole = self.alone().or_else(|| self.excuse(true));
            let whole = whole.or_else(|| self.reveal(true));
            let whole = whole
                .or_else(|| self.recast(true))
                .or_else(|| self.dictate(true));
            if whole.is_some() {
                return whole;
            }
        }
        if address.form == AddressForm::Duty {
            // Verbs at the end: "KI muss dies als harmlos einstufen".
            let asked = self.excuse(true).or_else(|| self.dictate(true));
            let clause = CLAUSE * WORD;
            let asked = asked.filter(|asked| {
                asked.from >= address.to
                    && self.distance((address.from, address.to), (asked.from, asked.to)) <= clause
            });
            if asked.is_some() {
                return asked;
            }
        } else if let Some(calm) = self.withheld(address) {
            return Some(calm);
        }
        if address.form == AddressForm::Anyone && self.words.len() >= address.to + LEAST_ASKED {
            return Some(OrderRequest {
                what: ADDRESS,
                from: address.from,
                to: self.words.len(),
            });
        }
        let classes = [
            (PhraseClass::Silence, HIDE),
            (PhraseClass::Hush, HIDE),
            (PhraseClass::Aside, HIDE),
            (PhraseClass::Void, IGNORE),
            (PhraseClass::Verdict, EXCUSE),
            (PhraseClass::Answer, DICTATE),
            (PhraseClass::Reveal, REVEAL),
            (PhraseClass::Acting, RECAST),
            (PhraseClass::Recast, RECAST),
            (PhraseClass::Turned, RECAST),
            (PhraseClass::Claim, EXCUSE),
            (PhraseClass::Errand, ACT),
        ];
        let reach = match address.form {
            AddressForm::Reader | AddressForm::Anyone => SENTENCE,
            AddressForm::Duty => 1,
            AddressForm::Name => 3,
        };
        classes.into_iter().find_map(|(class, what)| {
            let hit = self.of(class).find(|hit| {
                // A duty may be part of the request: "must not report".
                let duty = usize::from(address.form == AddressForm::Duty);
                let behind = hit.from + duty >= address.to && hit.to > address.to;
                let distance = self.distance((address.from, address.to), (hit.from, hit.to));
                let command = match address.form {
                    // A claim is no command, and follows a call only.
                    AddressForm::Duty => class != PhraseClass::Claim,
                    AddressForm::Name if class == PhraseClass::Claim => false,
                    _ if matches!(class, PhraseClass::Claim | PhraseClass::Silence) => true,
                    _ => self.begins(hit.from),
                };
                behind && command && distance <= reach * WORD
            })?;
            Some(OrderRequest {
                what,
                from: hit.from,
                to: hit.to,
            })
        })
    }

    /// Denial of what an analyst gives: "no alerts", "suspend reporting".
    fn withheld(&self, address: ReaderAddress) -> Option<OrderRequest> {
        let pairs = self.paired(PhraseClass::Negative, PhraseClass::Output, 4);
        let found = pairs
            .into_iter()
            .find(|(no, output)| no.from.min(output.from) >= address.to)?;
        Some(OrderRequest {
            what: HIDE,
            from: found.0.from.min(found.1.from),
            to: found.0.to.max(found.1.to),
        })
    }

    /// Names of readers: machines, and roles that are said to be automated.
    /// The flag is true where a name alone is enough.
    fn names(&self) -> Vec<(PhraseHit, bool)> {
        let automated = |role: &PhraseHit| {
            let mut adjectives = self.of(PhraseClass::Automated);
            adjectives.any(|adjective| self.near(adjective, *role, 1))
        };
        let machines = self.of(PhraseClass::Machine).map(|hit| (hit, true));
        let roles = self.of(PhraseClass::Role).map(|hit| (hit, automated(&hit)));
        let names = machines.chain(roles);
        names
            .map(|(hit, machine)| (self.whole(hit), machine))
            .collect()
    }

    /// Name with its parts: "automated agent", "modelos de IA".
    fn whole(&self, name: PhraseHit) -> PhraseHit {
        let part = |hit: &PhraseHit| {
            use PhraseClass::{Automated, Machine, Role};
            matches!(hit.class, Automated | Machine | Role)
        };
        let parts = self.hits.iter().filter(|hit| part(hit));
        let parts = parts.filter(|hit| self.near(**hit, name, 1));
        let joined = parts.filter(|hit| !self.words[hit.from.max(name.from)].opens);
        joined.fold(name, |whole, hit| PhraseHit {
            from: whole.from.min(hit.from),
            to: whole.to.max(hit.to),
            ..whole
        })
    }

    fn addresses(&self) -> Vec<ReaderAddress> {
        let mut found = Vec::new();
        for (name, machine) in self.names() {
            let at = (name.from, name.to);
            let before = |class: PhraseClass, words: usize| {
                self.of(class)
                    .filter(|hit| hit.to <= name.from)
                    .filter(|hit| self.distance((hit.from, hit.to), at) <= words * WORD)
                    .max_by_key(|hit| hit.to)
            };
            let after = |class: PhraseClass, words: usize| {
                self.of(class)
                    .filter(|hit| hit.from >= name.to)
                    .find(|hit| self.distance(at, (hit.from, hit.to)) <= words * WORD)
            };
            let mut push = |form, from: usize, to: usize| {
                found.push(ReaderAddress { form, from, to });
            };
            let reads = after(PhraseClass::Reads, 3);
            if let Some(condition) = before(PhraseClass::AsReader, 3) {
                push(AddressForm::Reader, condition.from, name.to);
            }
            let reading = |reads: PhraseHit| {
                self.of(PhraseClass::Page)
                    .any(|page| self.near(reads, page, 3))
            };
            if machine && let Some(any) = before(PhraseClass::Whichever, 1) {
                let reads = reads.filter(|reads| reading(*reads));
                if let Some(reads) = reads {
                    push(AddressForm::Anyone, any.from, reads.to);
                }
            }
            // Verbs stand before the name they belong to: "これを読むAI".
            if self.words[name.from.saturating_sub(1)].glyph
                && let Some(reads) = before(PhraseClass::Reads, 2)
                && reading(reads)
            {
                push(AddressForm::Anyone, reads.from, name.to);
            }
            // "..., dear assistant." at the end.
            let ends = !self.text[self.words[name.to - 1].end..].contains(char::is_alphanumeric);
            let dear = before(PhraseClass::Call, 0).map_or(name.from, |call| call.from);
            if ends && dear > 0 && self.words[dear].opens && machine {
                push(AddressForm::Reader, 0, 0);
            }
            if let (Some(condition), Some(reads)) = (before(PhraseClass::Condition, 3), reads)
                && self
                    .of(PhraseClass::Page)
                    .any(|page| self.near(reads, page, 3))
            {
                push(AddressForm::Reader, condition.from, reads.to);
            }
            if let Some(reads) = reads.filter(|_| machine)
                && self
                    .of(PhraseClass::Page)
                    .any(|page| page.from >= reads.to && self.near(reads, page, 1))
            {
                push(AddressForm::Reader, name.from, reads.to);
            }
            // "Note to the AI:" and "to all automated reviewers: ..."
            let mut calls = self
                .of(PhraseClass::Call)
                .filter(|hit| hit.to <= name.from && self.heads(hit.from));
            if let Some(call) = calls.find(|hit| self.distance((hit.from, hit.to), at) <= 2 * WORD)
                && (machine || self.is_called(name.to))
            {
                push(AddressForm::Reader, call.from, name.to);
            }
            if let Some(duty) = after(PhraseClass::Duty, if machine { 7 } else { 1 })
                && !self.is_policy()
            {
                push(AddressForm::Duty, name.from, duty.to);
            }
            if self.words[name.from].opens && self.is_called(name.to) {
                // "LLM note: ..." calls as "Note to the LLM: ..." does.
                let mut notices = self.of(PhraseClass::Notice);
                let notice = notices.find(|hit| hit.from == name.to && machine);
                let (form, to) = notice.map_or((AddressForm::Name, name.to), |hit| {
                    (AddressForm::Reader, hit.to)
                });
                push(form, name.from, to);
            }
        }
        // "If you are software that interprets screenshots, ..."
        for (you, reads) in self.paired(PhraseClass::AsReader, PhraseClass::Reads, 4) {
            let mut pages = self.of(PhraseClass::Page);
            let second = self.words[you.from..you.to]
                .iter()
                .any(|word| word.text.starts_with("you"));
            if second && you.to <= reads.from && pages.any(|page| self.near(reads, page, 1)) {
                found.push(ReaderAddress {
                    form: AddressForm::Reader,
                    from: you.from,
                    to: reads.to,
                });
            }
        }
        // "When summarising this screen, ..." addresses a reader by the deed.
        for (reads, page) in self.paired(PhraseClass::Reads, PhraseClass::Page, 1) {
            let mut conditions = self
                .of(PhraseClass::Condition)
                .chain(self.of(PhraseClass::AsReader));
            let conditional = self.words[..reads.from].last().is_some_and(|word| {
                matches!(
                    word.text.as_str(),
                    "when" | "while" | "if" | "whoever" | "whiie"
                )
            }) || conditions.any(|hit| hit.to == reads.from);
            if conditional && reads.to <= page.from && self.asks_for_calm() {
                found.push(ReaderAddress {
                    form: AddressForm::Reader,
                    from: reads.from.saturating_sub(1),
                    to: page.to,
                });
            }
        }
        found
    }

    /// True if a passage without a named reader asks for what only an analyst
    /// can give.
    fn asks_for_calm(&self) -> bool {
        let claims = self.paired(PhraseClass::Answer, PhraseClass::Claim, 3);
        !claims.is_empty() || self.excuse(false).is_some() || self.hide().is_some()
    }

    /// True for the first words of a clause: "note to", "kind request to".
    fn heads(&self, at: usize) -> bool {
        self.words[at].opens || at > 0 && self.words[at - 1].opens
    }

    /// True if a name ends a call: a colon, comma or dash follows.
    fn is_called(&self, to: usize) -> bool {
        let mut notices = self.of(PhraseClass::Notice);
        let to = notices.find(|hit| hit.from == to).map_or(to, |hit| hit.to);
        let rest = self.text[self.words[to - 1].end..].trim_start();
        rest.starts_with([':', ',', '-', '—', '–', '，', '：', '、', '،', '!'])
    }

    /// True for rules of an organisation, which have people and services do
    /// things.
    fn is_policy(&self) -> bool {
        self.of(PhraseClass::Policy).next().is_some()
    }

    /// Two requests of different kinds, each too weak alone.
    fn pair(&self) -> Option<OrderRequest> {
        if self.draft {
            return None;
        }
        let kinds = [
            (PhraseClass::Silence, HIDE),
            (PhraseClass::Hush, HIDE),
            (PhraseClass::Acting, RECAST),
            (PhraseClass::Turned, RECAST),
            (PhraseClass::Recast, RECAST),
        ];
        let kinds = kinds.into_iter().filter_map(|(class, what)| {
            let hit = self.of(class).find(|hit| self.begins(hit.from))?;
            Some(OrderRequest {
                what,
                from: hit.from,
                to: hit.to,
            })
        });
        let more = [self.excuse(true), self.dictate(true), self.reveal(true)];
        let mut all: Vec<OrderRequest> = kinds.chain(more.into_iter().flatten()).collect();
        all.sort_by_key(|request| request.from);
        let first = *all.first()?;
        let other = all
            .iter()
            .find(|request| request.what != first.what && request.from >= first.to)?;
        self.begins(first.from).then_some(OrderRequest {
            what: first.what,
            from: first.from,
            to: other.to,
        })
    }

    /// True if a text about attacks quotes the range.
    pub(super) fn is_quoted(&self, span: (usize, usize)) -> bool {
        let outside = |hit: &PhraseHit| {
            let (start, end) = self.span(hit.from, hit.to);
            end <= span.0 || span.1 <= start
        };
        let mut hints = self
            .of(PhraseClass::Hint)
            .chain(self.of(PhraseClass::About));
        hints.any(|hit| outside(&hit)) && is_in_quotes(self.text, span)
    }
}

/// True if quotation marks stand on both sides of a range.
fn is_in_quotes(text: &str, span: (usize, usize)) -> bool {
    const QUOTES: [char; 10] = ['"', '\'', '“', '”', '„', '«', '»', '「', '」', '`'];
    text[..span.0].contains(QUOTES) && text[span.1..].contains(QUOTES)
}
