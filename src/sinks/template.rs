//! Webhook body: a minijinja template, checked at the start.
//!
//! Text of a screen or a model is data here, never a template. An undefined
//! value is an error, not blank.

use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use serde_json::Value;

use watchtower_domain::finding::printable;

use super::SinkEvent;
use super::ecs::quotes;
use super::shapes::Shape;
use crate::settings::Preset;

const NAME: &str = "template";
/// Maximum number of steps, far more than a message takes.
const FUEL: u64 = 500_000;

pub(super) struct Template {
    env: Environment<'static>,
    is_json: bool,
}

impl Template {
    /// Parses the template and renders every sample event; the error names the
    /// position and the event.
    pub(super) fn new(text: &str, shapes: &[Shape]) -> Result<Self, String> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_debug(true);
        env.set_fuel(Some(FUEL));
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.add_filter("tojson", tojson);
        env.add_filter("slack", slack);
        env.add_filter("markdown", markdown);
        env.add_filter("cut", |text: &str, most: usize| cut(text, most));
        env.add_template_owned(NAME, text.to_owned())
            .map_err(|error| place(&error, text))?;
        let mut template = Self {
            env,
            is_json: false,
        };
        for (number, (name, sink_event)) in shapes.iter().enumerate() {
            let rendered = template.render_or(sink_event);
            // Fields that the fullest sample lacks are typos.
            let of = match number {
                0 => String::new(),
                _ => format!(" (of {name})"),
            };
            let rendered = rendered.map_err(|error| format!("{}{of}", place(&error, text)))?;
            let json = serde_json::from_str::<Value>(&rendered);
            match (number, &json) {
                (0, _) => template.is_json = json.is_ok(),
                (_, Err(error)) if template.is_json => {
                    return Err(format!("template: output is not JSON{of}: {error}"));
                }
                _ => {}
            }
        }
        Ok(template)
    }

    /// True if every event renders to JSON.
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    pub(super) fn render(&self, sink_event: &SinkEvent) -> Result<String, String> {
        self.render_or(sink_event)
            .map_err(|error| error.to_string())
    }

    fn render_or(&self, sink_event: &SinkEvent) -> Result<String, minijinja::Error> {
        let event = &sink_event.ocsf;
        let info = &event["finding_info"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.env.get_template(NAME)?.render(context! {
            id => sink_event.id.to_string(),
            at => sink_event.at.to_string(),
            incident => sink_event.incident.to_string(),
            title => printable(&sink_event.title).into_owned(),
            severity => sink_event.severity.as_str(),
            status => sink_event.status.as_str(),
            change => sink_event.change.as_str(),
            stream => sink_event.stream.clone(),
            agents => sink_event.agents.clone(),
            count => sink_event.count,
            detail => text(&info["desc"]),
            quotes => quotes(event).into_iter().map(str::to_owned).collect::<Vec<_>>(),
            action => text(&event["remediation"]["desc"]),
            decision => text(&event["status_detail"]),
            event => minijinja::value::Serde(event.clone()),
        })
    }
}

/// Line and column, from 1.
fn place(error: &minijinja::Error, text: &str) -> String {
    let line = error.line().unwrap_or(1);
    let column = error.range().map(|range| {
        let before = text.get(..range.start).unwrap_or_default();
        before.chars().rev().take_while(|c| *c != '\n').count() + 1
    });
    let what = error.detail().map_or_else(
        || error.kind().to_string(),
        |detail| format!("{}: {detail}", error.kind()),
    );
    format!(
        "template, line {line}, column {}: {what}",
        column.unwrap_or(1)
    )
}

pub(super) fn preset(preset: Preset) -> &'static str {
    match preset {
        Preset::Slack => include_str!("presets/slack.json.jinja"),
        Preset::Teams => include_str!("presets/teams.json.jinja"),
        Preset::Discord => include_str!("presets/discord.json.jinja"),
        Preset::Mattermost => include_str!("presets/mattermost.json.jinja"),
    }
}

/// Replaces minijinja's filter, which renders undefined values as null and so
/// hides typos.
fn tojson(value: &minijinja::Value) -> Result<String, minijinja::Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    serde_json::to_string(value)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// Escapes Slack's three characters, which also disables `<!channel>`, and
/// breaks mrkdwn's markup with an invisible joiner.
fn slack(text: &str, most: Option<usize>) -> String {
    escaped(text, most, |c, safe| match c {
        '&' => safe.push_str("&amp;"),
        '<' => safe.push_str("&lt;"),
        '>' => safe.push_str("&gt;"),
        '*' | '_' | '~' | '`' => safe.extend(['\u{2060}', c, '\u{2060}']),
        c => safe.push(c),
    })
}

/// Escapes Markdown: no markup, links or mentions.
fn markdown(text: &str, most: Option<usize>) -> String {
    escaped(text, most, |c, safe| match c {
        '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '-' | '.'
        | '!' | '|' | '~' | '>' => safe.extend(['\\', c]),
        '<' => safe.push_str("&lt;"),
        // `@here` and `https://` are recognised by what follows.
        '@' | ':' => safe.extend([c, '\u{2060}']),
        c => safe.push(c),
    })
}

/// Truncates escaped text to a length in UTF-16 code units, as JavaScript
/// counts, without splitting an escape sequence.
fn escaped(text: &str, most: Option<usize>, escape: impl Fn(char, &mut String)) -> String {
    let most = most.unwrap_or(usize::MAX);
    let text = printable(text);
    let mut safe = String::with_capacity(text.len());
    let (mut count, mut fits) = (0, 0);
    for c in text.trim().chars() {
        let before = safe.len();
        escape(c, &mut safe);
        count += safe[before..].encode_utf16().count();
        if count > most {
            safe.truncate(fits);
            safe.push('…');
            return safe;
        }
        if count < most {
            fits = safe.len();
        }
    }
    safe
}

/// Truncates text before it is escaped; later an escape could be split.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, SinkSettings, sink};
    use crate::shapes::shapes;
    use watchtower_base::config::fault::Faults;
    use watchtower_base::config::section::{Section, parse_table};

    fn settings(more: &str) -> SinkSettings {
        let mut faults = Faults::new("watchtower.toml");
        let table = parse_table(&format!("kind = 'webhook'\n{more}"), "watchtower.toml").unwrap();
        let settings = sink("it", Section::new(table, "sinks.it", &mut faults));
        assert!(faults.is_empty(), "{faults}");
        settings
    }

    /// Error of a template with these settings.
    fn fault(text: &str, more: &str) -> Option<String> {
        Template::new(text, &shapes(&settings(more))).err()
    }

    #[test]
    fn it_is_tried_on_every_event_that_it_may_meet() {
        let quote = "{{ quotes[0] }}";
        assert_eq!(
            fault(quote, "").unwrap(),
            "template, line 1, column 4: undefined value: `quotes[0]` is undefined \
             (of a new incident, without any quote)"
        );
        assert_eq!(fault("{{ quotes[0] if quotes else title }}", ""), None);
        let closed = "{% if status == 'closed' %}{{ quotes[0] }}{% endif %}";
        let closed = fault(closed, "").unwrap();
        assert!(closed.ends_with("(of a closed incident)"), "{closed}");
        let seen = "{% if change == 'opened' or change == 'status' %}{{ event.start_time }}{% else %}{{ event.finding_info.first_seen_time }}{% endif %}";
        assert_eq!(fault(seen, ""), None);
        // Occurs only with the scope of all findings, or a digest.
        let note = "{% if change == 'note' %}{{ quotes[0] }}{% endif %}";
        assert_eq!(fault(note, ""), None);
        let message = fault(note, "what = 'findings'").unwrap();
        assert!(message.ends_with("(of a note)"), "{message}");
        let number = "{% if change == 'digest' %}{{ event.finding_info.created_time }}{% endif %}";
        assert_eq!(fault(number, ""), None);
        let message = fault(number, "rate = '1/1m'").unwrap();
        assert!(
            message.ends_with("(of a number of further events)"),
            "{message}"
        );
        let json =
            "[{% for quote in quotes %}{{ quote | tojson }}{% endfor %}{{ ',1' if decision }}]";
        let message = fault(json, "").unwrap();
        assert!(
            message.starts_with("template: output is not JSON (of an acknowledged incident): "),
            "{message}"
        );
    }

    #[test]
    fn the_presets_stand_all_of_them() {
        for kind in [
            Preset::Slack,
            Preset::Teams,
            Preset::Discord,
            Preset::Mattermost,
        ] {
            let more = "what = 'findings'\nrate = '1/1m'";
            let made = Template::new(preset(kind), &shapes(&settings(more)));
            assert!(
                made.unwrap_or_else(|why| panic!("{kind:?}: {why}"))
                    .is_json()
            );
        }
    }

    #[test]
    fn a_typo_is_refused_with_its_place() {
        let fault = |text| fault(text, "").unwrap();
        assert_eq!(
            fault("{\"text\": {{ title | tojson }},\n \"x\": {{ titel | tojson }}}"),
            "template, line 2, column 18: undefined value"
        );
        let unclosed = fault("one\n  {% if count > 3 %}x");
        assert!(
            unclosed.starts_with("template, line 2, column "),
            "{unclosed}"
        );
        let filter = fault("{{ title | shout }}");
        assert!(
            filter.contains("line 1, column 12") && filter.contains("shout"),
            "{filter}"
        );
        assert!(fault("{% for x in range(100000) %}{% for y in range(100000) %}{{ y }}{% endfor %}{% endfor %}").contains("fuel"));
    }

    #[test]
    fn text_of_the_screen_has_no_power() {
        assert_eq!(
            slack("<!channel> & *b*", None),
            "&lt;!channel&gt; &amp; \u{2060}*\u{2060}b\u{2060}*\u{2060}"
        );
        assert_eq!(
            markdown("[x](http://e) @here", None),
            "\\[x\\]\\(http:\u{2060}//e\\) @\u{2060}here"
        );
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(slack("<<<<", Some(12)), "&lt;&lt;…");
        assert_eq!(slack("<<<", Some(12)), "&lt;&lt;&lt;");
        assert_eq!(markdown("a__", Some(4)), "a\\_…");
        assert_eq!(markdown("😀😀", Some(3)), "😀…", "two units each");
        assert_eq!(markdown(" \n ", Some(9)), "");
    }
}
