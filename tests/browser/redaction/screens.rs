//! Realistic shared screens, rendered by a browser that reports the position of
//! each secret and each plain word.

use std::fmt::Write as _;

use serde_json::Value;

use super::seeds::{Dice, Seed};
use crate::common::chromium::Chromium;

pub(crate) const WIDTH: usize = 1920;
pub(crate) const HEIGHT: usize = 1080;
/// Secrets of one screen.
const EACH: usize = 12;
/// Marker in the corner: the number of the screen as a row of squares.
const SQUARE: usize = 16;
const BITS: usize = 8;

/// Box in pixels: left, top, right, bottom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Box4(pub(crate) [f64; 4]);

pub(crate) struct SeededScreen {
    pub(crate) form: &'static str,
    pub(crate) seeds: Vec<Seed>,
    /// Boxes of the letters of each secret, by its id.
    pub(crate) drawn: Vec<(usize, Box4)>,
    pub(crate) words: Vec<Box4>,
    pub(crate) png: Vec<u8>,
}

impl SeededScreen {
    /// True if a word shares no line with a secret: a line that holds one is
    /// painted over completely.
    pub(crate) fn is_apart(&self, word: &Box4) -> bool {
        let middle = f64::midpoint(word.0[1], word.0[3]);
        let half = WIDTH as f64 / 2.0;
        let beside = |Box4([left, top, _, bottom]): &Box4| {
            (*left < half) == (word.0[0] < half) && (*top..*bottom).contains(&middle)
        };
        !self.drawn.iter().any(|(_, place)| beside(place))
    }
}

#[derive(Clone, Copy)]
struct SecretForm {
    name: &'static str,
    write: fn(&Seed, &mut Dice) -> String,
    plain: fn(&mut Dice) -> String,
    style: &'static str,
}

const FORMS: [SecretForm; 6] = [
    SecretForm {
        name: "dark terminal",
        write: shell,
        plain: output,
        style: "background:#1e1e1e;color:#d4d4d4;font-family:'DejaVu Sans Mono';--mark:#6a9955",
    },
    SecretForm {
        name: "log viewer",
        write: logged,
        plain: log_line,
        style: "background:#fff;color:#222;font-family:'Liberation Mono';--mark:#888",
    },
    SecretForm {
        name: "editor",
        write: edited,
        plain: file_line,
        style: "background:#282c34;color:#abb2bf;font-family:'Liberation Mono';--mark:#61afef",
    },
    SecretForm {
        name: "table",
        write: cells,
        plain: table_line,
        style: "background:#f6f8fa;color:#24292f;font-family:'Liberation Sans';--mark:#57606a",
    },
    SecretForm {
        name: "light terminal",
        write: shell,
        plain: output,
        style: "background:#fdf6e3;color:#4a5a60;font-family:'DejaVu Sans Mono';--mark:#268bd2",
    },
    SecretForm {
        name: "chat",
        write: chatted,
        plain: chat_line,
        style: "background:#fff;color:#1d1c1d;font-family:'DejaVu Sans';--mark:#777",
    },
];

fn secret(seed: &Seed) -> String {
    format!("<b data-s={}>{}</b>", seed.id, escaped(&seed.value))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\n', "<br>")
}

fn marked(text: &str) -> String {
    format!("<u>{}</u>", escaped(text))
}

/// HTML of the text before a secret, the secret, and the text after it; a
/// private key has lines of its own.
fn between(seed: &Seed, (before, behind): (&str, &str)) -> String {
    let (before, behind) = (escaped(before), escaped(behind));
    match seed.kind {
        "private key" => format!("{before}<br>{}<br>{behind}", secret(seed)),
        _ => format!("{before}{}{behind}", secret(seed)),
    }
}

fn shell(seed: &Seed, _: &mut Dice) -> String {
    let prompt = match seed.kind {
        "private key" => format!("{}<br>", marked("ops@bastion:~$ cat id_deploy")),
        _ => marked("ops@bastion:~$ "),
    };
    format!("<p>{prompt}{}</p>", between(seed, seed.setting.shell))
}

fn logged(seed: &Seed, dice: &mut Dice) -> String {
    format!(
        "<p>{} {}</p>",
        marked(&time(dice)),
        between(seed, seed.setting.sentence)
    )
}

fn edited(seed: &Seed, dice: &mut Dice) -> String {
    let number = format!("{:>4}  ", dice.below(900) + 10);
    let number = match seed.kind {
        "private key" => String::new(),
        _ => marked(&number),
    };
    format!("<p>{number}{}</p>", between(seed, seed.setting.file))
}

fn chatted(seed: &Seed, dice: &mut Dice) -> String {
    format!(
        "<p>{} {}</p>",
        marked(&speaker(dice)),
        between(seed, seed.setting.sentence)
    )
}

fn cells(seed: &Seed, dice: &mut Dice) -> String {
    let label = seed.setting.label;
    let owner = *dice.pick(&["payments", "platform", "search", "billing"]);
    let (label, value) = match (seed.kind, label.split_once('|')) {
        ("private key", _) => ("deploy key", format!("{label}<br>{}", secret(seed))),
        (_, Some((before, behind))) => ("connection", format!("{before}{}{behind}", secret(seed))),
        ("Slack webhook" | "password on a command line", _) => {
            ("last call", format!("{}{}", escaped(label), secret(seed)))
        }
        _ => (label, secret(seed)),
    };
    format!(
        "<p class=row><i>{}</i><i>{value}</i><i>{owner}</i></p>",
        escaped(label)
    )
}

fn time(dice: &mut Dice) -> String {
    let (hour, minute, second) = (dice.below(24), dice.below(60), dice.below(60));
    let level = *dice.pick(&["INFO ", "WARN ", "DEBUG"]);
    format!("2026-11-23 {hour:02}:{minute:02}:{second:02} {level}")
}

fn speaker(dice: &mut Dice) -> String {
    let name = *dice.pick(&["Ana Kovac", "Tomas Lind", "Priya Nair", "Jo Meyer"]);
    format!("{name} {:02}:{:02}", dice.below(24), dice.below(60))
}

fn output(dice: &mut Dice) -> String {
    const LINES: [&str; 12] = [
        "total 48",
        "drwxr-xr-x 5 ops ops 4096 Nov 23 09:12 deploy",
        "payments-api-6d4cf56db6-x7v2p   1/1   Running   0   4d",
        "orders-worker-7f9c6b8d4-k2m8q   1/1   Running   2   9d",
        "Reading package lists... Done",
        "   Compiling ledger v0.4.2 (/srv/build/ledger)",
        "On branch main, your branch is up to date with origin/main",
        "Failed password for admin from 203.0.113.45 port 51502 ssh2",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "12 packets transmitted, 12 received, 0% packet loss, time 11013ms",
        "/dev/nvme0n1p2   468G  311G  134G  70% /",
        "Password policy: required, tokens expire after 30 days",
    ];
    format!("<p>{}</p>", escaped(LINES[dice.below(LINES.len())]))
}

fn log_line(dice: &mut Dice) -> String {
    const LINES: [&str; 8] = [
        "GET /api/v2/orders/48210 200 in 41 ms",
        "worker 7 picked up job reindex-catalogue, 1,204 documents",
        "user jmeyer signed in from 198.51.100.23 with a security key",
        "token for service account search expires in 3 days",
        "circuit breaker of inventory is half open, 2 of 5 probes passed",
        "request 7c1d2f0e-94aa-4c53-8f0b-2f6d1b2c9a10 took 2.4 s",
        "connection pool: 18 of 20 in use, waited 12 ms",
        "authentication required for /admin, redirecting to login",
    ];
    format!(
        "<p>{} {}</p>",
        marked(&time(dice)),
        escaped(LINES[dice.below(LINES.len())])
    )
}

fn file_line(dice: &mut Dice) -> String {
    const LINES: [&str; 10] = [
        "services:",
        "  replicas: 3",
        "  image: registry.example/orders:1.42.0",
        "  resources: { cpu: 500m, memory: 512Mi }",
        "# rotate these before the audit in December",
        "fn handle(request: Request) -> Result<Response, Error> {",
        "    let session = sessions.get(request.session_id)?;",
        "log_level = info",
        "listen = 0.0.0.0:8443",
        "timeout_seconds = 30",
    ];
    let number = format!("{:>4}  ", dice.below(900) + 10);
    format!(
        "<p>{}{}</p>",
        marked(&number),
        escaped(LINES[dice.below(LINES.len())])
    )
}

fn table_line(dice: &mut Dice) -> String {
    const LINES: [(&str, &str); 8] = [
        ("CPU of node-3", "71 % for 15 minutes"),
        ("last backup", "2026-11-22 23:40 UTC, 41.7 GB"),
        ("certificate", "valid until 2027-02-11, Fernhill CA 2"),
        ("password policy", "14 letters, changed every 180 days"),
        ("open findings", "3 high, 11 medium, 42 low"),
        ("public buckets", "0 of 118"),
        ("access key age", "older than 90 days: 4"),
        ("latency p99", "182 ms in eu-west-1"),
    ];
    let (label, value) = *dice.pick(&LINES);
    format!("<p class=row><i>{label}</i><i>{value}</i><i>platform</i></p>")
}

fn chat_line(dice: &mut Dice) -> String {
    const LINES: [&str; 8] = [
        "the deploy of orders is through, all pods are green",
        "can somebody look at the latency of checkout, please?",
        "I moved the retro to Thursday at 14:00",
        "the certificate of the staging load balancer was renewed",
        "who owns the dashboard for the queue depth?",
        "reset the password of the demo user, it is in the vault",
        "postmortem is in the wiki, comments are welcome",
        "thanks, that was quick",
    ];
    format!(
        "<p>{} {}</p>",
        marked(&speaker(dice)),
        escaped(LINES[dice.below(LINES.len())])
    )
}

fn page(number: usize, form: SecretForm, seeds: &[Seed], dice: &mut Dice) -> String {
    let size = 12 + (number * 5 + number / 6) % 7;
    let mut panes = [String::new(), String::new()];
    for (at, seed) in seeds.iter().enumerate() {
        // Alternating, so that the long ones are distributed.
        let pane = &mut panes[at % 2];
        for _ in 0..2 + dice.below(2) {
            *pane += &(form.plain)(dice);
        }
        *pane += &(form.write)(seed, dice);
    }
    let mut marks = String::new();
    for bit in 0..BITS {
        let white = marker(number)[bit];
        let _ = write!(
            marks,
            "<s style='background:{}'></s>",
            if white { "#fff" } else { "#000" }
        );
    }
    format!(
        "<!doctype html><meta charset=utf-8><style>\
         *{{margin:0;padding:0;box-sizing:border-box}}\
         body{{width:{WIDTH}px;height:{HEIGHT}px;overflow:hidden;{};font-size:{size}px;line-height:1.4}}\
         main{{display:flex;height:100%}} div{{width:50%;padding:10px 16px;overflow:hidden;border-right:1px solid #8888}}\
         p{{white-space:pre-wrap;overflow-wrap:anywhere;word-break:break-all}}\
         u{{color:var(--mark);text-decoration:none}} b,i{{font-weight:normal;font-style:normal}}\
         .row{{display:grid;grid-template-columns:22% 64% 14%;border-bottom:1px solid #8885;padding:2px 0}}\
         footer{{position:absolute;right:0;bottom:0;display:flex}} s{{width:{SQUARE}px;height:{SQUARE}px}}\
         </style><main><div>{}</div><div>{}</div></main><footer>{marks}</footer>",
        form.style, panes[0], panes[1]
    )
}

/// Squares: a white and a black one to begin with, then the number, then its
/// parity.
fn marker(number: usize) -> [bool; BITS] {
    assert!(number < 32, "five bits");
    let mut bits = [true, false, false, false, false, false, false, false];
    for at in 0..5 {
        bits[2 + at] = number >> at & 1 == 1;
    }
    bits[7] = number.count_ones().is_multiple_of(2);
    bits
}

/// Number of the screen in a picture, by its luma; `None` if it has no marker.
pub(crate) fn number(luma: &[u8]) -> Option<usize> {
    let square = |at: usize| {
        let (x, y) = (
            WIDTH - (BITS - at) * SQUARE + SQUARE / 2,
            HEIGHT - SQUARE / 2,
        );
        luma[y * WIDTH + x] > 128
    };
    let seen: Vec<bool> = (0..BITS).map(square).collect();
    (0..32).find(|number| marker(*number)[..] == seen[..])
}

/// Positions of secrets and of words beside them.
const PLACES: &str = "(() => {
  const box = r => [r.left, r.top, r.right, r.bottom];
  const secrets = [...document.querySelectorAll('[data-s]')].flatMap(
    e => [...e.getClientRects()].map(r => [+e.dataset.s, ...box(r)]));
  const words = [], walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    if (node.parentElement.dataset.s !== undefined) continue;
    for (const word of node.data.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      words.push(...[...range.getClientRects()].map(box));
    }
  }
  return {secrets, words};
})()";

/// Renders as many screens as the secrets need.
pub(crate) async fn draw(seeds: &[Seed], dice: &mut Dice) -> Vec<SeededScreen> {
    let folder = tempfile::tempdir().unwrap();
    let browser = Chromium::with(&["--hide-scrollbars", "--force-device-scale-factor=1"]).await;
    browser.resize(WIDTH, HEIGHT).await;
    let mut screens = Vec::new();
    for (number, seeds) in seeds.chunks(EACH).enumerate() {
        let form = FORMS[number % FORMS.len()];
        let file = folder.path().join(format!("{number}.html"));
        std::fs::write(&file, page(number, form, seeds, dice)).unwrap();
        browser.open(&format!("file://{}", file.display())).await;
        let places = browser.run(PLACES).await;
        let drawn: Vec<_> = list(&places["secrets"])
            .map(|place| (place[0] as usize, box4(&place[1..])))
            .collect();
        for seed in seeds {
            let whole = drawn.iter().filter(|(id, _)| *id == seed.id).all(
                |(_, Box4([_, _, right, bottom]))| {
                    *right <= WIDTH as f64 && *bottom <= (HEIGHT - SQUARE) as f64
                },
            );
            assert!(whole, "secret {} does not fit on screen {number}", seed.id);
        }
        let inside = |place: &Box4| place.0[3] <= (HEIGHT - SQUARE) as f64;
        screens.push(SeededScreen {
            form: form.name,
            seeds: seeds.to_vec(),
            drawn,
            words: list(&places["words"])
                .map(|place| box4(&place))
                .filter(inside)
                .collect(),
            png: browser.screenshot().await,
        });
    }
    browser.close().await;
    screens
}

fn list(value: &Value) -> impl Iterator<Item = Vec<f64>> {
    let rows = value.as_array().unwrap().iter();
    rows.map(|row| {
        row.as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_f64().unwrap())
            .collect()
    })
}

fn box4(at: &[f64]) -> Box4 {
    Box4([at[0], at[1], at[2], at[3]])
}
