//! `[sinks.NAME]`: destinations of findings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use watchtower_base::config::section::Section;
use watchtower_base::secret::Secret;
use watchtower_base::tls::settings::TlsSettings;
use watchtower_domain::finding::Severity;

/// Destination of findings; enabled when its address is set.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkSettings {
    pub name: String,
    pub kind: SinkKind,
    /// URL, or a file for `jsonl`. Kept as a secret: a chat webhook's address
    /// is its credential.
    pub address: Option<Secret>,
    /// Splunk's token, Elasticsearch's API key, PagerDuty's routing key, a
    /// bearer token; only from the environment.
    pub token: Option<Secret>,
    /// Signing key of webhooks; only from the environment.
    pub secret: Option<Secret>,
    /// Minimum severity.
    pub minimum_severity: Severity,
    /// Included agents; empty means all.
    pub agents: Vec<String>,
    pub streams: Vec<String>,
    pub what: DeliveryScope,
    pub rate: Option<Rate>,
    pub fields: BTreeMap<String, String>,
    pub format: Format,
    pub preset: Option<Preset>,
    /// Template in minijinja's syntax.
    pub template: Option<String>,
    /// CA certificates in addition to the system's; PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and key for a receiver that requires them; PEM.
    pub client_pair: Option<TlsSettings>,
    /// Framing of syslog over a connection.
    pub framing: Option<SyslogFraming>,
    pub timeout: Duration,
    /// Maximum number of events in a batch.
    pub batch: usize,
    /// Waits for the indexers (Splunk), or requires JetStream (NATS).
    pub acknowledge: bool,
    /// Index (Splunk), data stream (Elasticsearch) or subject (NATS).
    pub index: Option<String>,
    /// Size at which a `jsonl` file is rotated.
    pub rotate_bytes: u64,
    /// Number of rotated `jsonl` files that are kept.
    pub keep_files: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    Jsonl,
    Syslog,
    SplunkHec,
    Elasticsearch,
    Otlp,
    Webhook,
    Pagerduty,
    Nats,
}

impl SinkKind {
    const WORDS: [(&'static str, Self); 8] = [
        ("jsonl", Self::Jsonl),
        ("syslog", Self::Syslog),
        ("splunk_hec", Self::SplunkHec),
        ("elasticsearch", Self::Elasticsearch),
        ("otlp", Self::Otlp),
        ("webhook", Self::Webhook),
        ("pagerduty", Self::Pagerduty),
        ("nats", Self::Nats),
    ];

    pub fn as_str(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, kind)| *kind == self);
        word.map_or("", |(word, _)| *word)
    }
}

/// Scope of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryScope {
    /// Changes of incidents.
    Incidents,
    /// Changes of incidents, and every finding, including repeats.
    Findings,
    /// Incidents that begin, return or become more severe.
    Alerts,
}

/// Wire format of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Ocsf,
    Ecs,
    Cef,
}

/// Framing of syslog over a connection (RFC 6587, sections 3.4.1 and 3.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyslogFraming {
    OctetCounting,
    Newline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Slack,
    Teams,
    Discord,
    Mattermost,
}

/// Rate limit: events within an interval; the rest is sent as a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub events: u32,
    pub within: Duration,
}

impl SinkSettings {
    /// Settings of a push subscription. Beyond the rate a phone shows a count.
    pub(crate) fn web_push(name: &str, minimum_severity: Severity, streams: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            kind: SinkKind::Webhook,
            address: None,
            token: None,
            secret: None,
            minimum_severity,
            agents: Vec::new(),
            streams,
            what: DeliveryScope::Alerts,
            rate: Some(Rate {
                events: 10,
                within: Duration::from_secs(60),
            }),
            fields: BTreeMap::new(),
            format: Format::Ocsf,
            preset: None,
            template: None,
            ca_file: None,
            client_pair: None,
            framing: None,
            timeout: Duration::from_secs(20),
            batch: 1,
            acknowledge: false,
            index: None,
            rotate_bytes: 0,
            keep_files: 0,
        }
    }

    /// Overrides the file's settings by the environment:
    /// `WATCHTOWER_SINK_<NAME>_ADDRESS`, and for secrets `_TOKEN` and
    /// `_SECRET`.
    pub fn override_from(&mut self, env: impl Fn(&str) -> Option<String>) {
        let name = self.name.to_uppercase().replace('-', "_");
        let get = |key: &str| {
            let value = env(&format!("WATCHTOWER_SINK_{name}_{key}"));
            value.as_deref().and_then(Secret::new)
        };
        self.address = get("ADDRESS").or(self.address.take());
        self.token = get("TOKEN");
        self.secret = get("SECRET");
    }
}

pub fn sink(name: &str, mut s: Section<'_>) -> SinkSettings {
    let second = Duration::from_secs(1);
    if !is_name(name) {
        s.fault("", "the name must be 1 to 32 of a-z 0-9 _ -");
    }
    let kind = s.required_choice("kind", &SinkKind::WORDS);
    let kind = kind.unwrap_or(SinkKind::Jsonl);
    let severities = Severity::ALL.map(|severity| (severity.as_str(), severity));
    let formats: &[(&str, Format)] = match kind {
        SinkKind::Syslog => &[("ocsf", Format::Ocsf), ("cef", Format::Cef)],
        _ => &[("ocsf", Format::Ocsf), ("ecs", Format::Ecs)],
    };
    let presets = [
        ("slack", Preset::Slack),
        ("teams", Preset::Teams),
        ("discord", Preset::Discord),
        ("mattermost", Preset::Mattermost),
    ];
    let framings = [
        ("octet-counting", SyslogFraming::OctetCounting),
        ("newline", SyslogFraming::Newline),
    ];
    let pair = [s.text("client_certificate"), s.text("client_key")];
    let client_pair = match pair.map(|file| file.map(PathBuf::from)) {
        [Some(certificate), Some(key)] => Some(TlsSettings { certificate, key }),
        [None, None] => None,
        [Some(_), None] => {
            s.fault("client_key", "is missing: client_certificate is set");
            None
        }
        [None, Some(_)] => {
            s.fault("client_certificate", "is missing: client_key is set");
            None
        }
    };
    let what = [
        ("incidents", DeliveryScope::Incidents),
        ("findings", DeliveryScope::Findings),
    ];
    let rate = s.text("rate").and_then(|text| {
        let rate = parse_rate(&text);
        if rate.is_none() {
            s.fault(
                "rate",
                format!("must be events/time such as \"30/1m\", got {text:?}"),
            );
        }
        rate
    });
    let settings = SinkSettings {
        name: name.to_owned(),
        kind,
        address: s.text("address").as_deref().and_then(Secret::new),
        token: None,
        secret: None,
        minimum_severity: s
            .choice("minimum_severity", &severities)
            .unwrap_or(Severity::Info),
        agents: s.texts("agents").unwrap_or_default(),
        streams: s.texts("streams").unwrap_or_default(),
        what: s.choice("what", &what).unwrap_or(DeliveryScope::Incidents),
        rate,
        fields: fields(&mut s),
        format: s.choice("format", formats).unwrap_or(match kind {
            SinkKind::Elasticsearch => Format::Ecs,
            _ => Format::Ocsf,
        }),
        preset: s.choice("preset", &presets),
        template: s.text("template"),
        ca_file: s.text("ca_file").map(PathBuf::from),
        client_pair,
        framing: s.choice("framing", &framings),
        timeout: s
            .duration("timeout", second / 10, 300 * second)
            .unwrap_or(15 * second),
        batch: s.integer("batch", 1, 5000).map_or(500, |n| n as usize),
        acknowledge: s.flag("acknowledge").unwrap_or(false),
        index: s.text("index"),
        rotate_bytes: s
            .integer("rotate_megabytes", 1, 100_000)
            .map_or(100, |n| n as u64)
            * 1_000_000,
        keep_files: s.integer("keep_files", 1, 1000).map_or(10, |n| n as usize),
    };
    if settings.framing.is_some() && kind != SinkKind::Syslog {
        s.fault("framing", "goes with kind syslog only");
    }
    if settings.client_pair.is_some() && kind == SinkKind::Jsonl {
        s.fault("client_certificate", "does not go with kind jsonl");
    }
    let chat = settings.preset.is_some() || settings.template.is_some();
    if chat && kind != SinkKind::Webhook {
        s.fault("", "preset and template go with kind webhook only");
    }
    if settings.preset.is_some() && settings.template.is_some() {
        s.fault("", "preset and template exclude each other");
    }
    if settings.rate.is_some() && kind == SinkKind::Pagerduty {
        s.fault("rate", "not supported with pagerduty, which groups by incident and requires every resolve event");
    }
    s.finish();
    settings
}

fn fields(s: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for (key, value) in s.table("fields") {
        let sound = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match value {
            toml::Value::String(text) if sound && !key.is_empty() => {
                fields.insert(key, text);
            }
            _ => s.fault(
                &format!("fields.{key}"),
                "must be a string under a name of letters, digits and _",
            ),
        }
    }
    fields
}

fn is_name(name: &str) -> bool {
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=32).contains(&name.len()) && name.chars().all(sound)
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (events, within) = text.split_once('/')?;
    let rate = Rate {
        events: events.trim().parse().ok()?,
        within: humantime::parse_duration(within.trim()).ok()?,
    };
    let longest = Duration::from_secs(24 * 60 * 60);
    let sound = rate.events > 0 && rate.within >= Duration::from_secs(1) && rate.within <= longest;
    sound.then_some(rate)
}
