//! Chromium, driven by chromedriver (W3C WebDriver).

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Timeout in seconds: tests give what a quiet machine takes. A browser on a
/// busy one takes many times that, and what it has not shown by this time it
/// never shows.
const PATIENCE: u64 = 60;

pub struct Chromium {
    driver: Child,
    client: reqwest::Client,
    session: String,
    _profile: TempDir,
}

/// Statistics of a viewer's page.
#[derive(Debug)]
pub struct PlaybackStats(pub Value);

impl Chromium {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with additional flags.
    pub async fn with(more: &[&str]) -> Self {
        let (driver, port) = driver().await;
        let profile = tempfile::tempdir().expect("a temporary folder");
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1440,900",
            "--autoplay-policy=no-user-gesture-required",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let flags = [&flags[..], more].concat();
        let client = watchtower::base::http_client::plain()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client");
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags},
        }}});
        let base = format!("http://127.0.0.1:{port}/session");
        let answer = post(&client, &base, &wanted).await;
        let id = answer["sessionId"].as_str().expect("a session").to_owned();
        Self {
            driver,
            client,
            session: format!("{base}/{id}"),
            _profile: profile,
        }
    }

    pub async fn open(&self, url: &str) {
        post(
            &self.client,
            &format!("{}/url", self.session),
            &json!({"url": url}),
        )
        .await;
    }

    /// Opens a tab in front and turns to it; returns its handle.
    pub async fn new_tab(&self) -> String {
        let url = format!("{}/window/new", self.session);
        let made = post(&self.client, &url, &json!({"type": "tab"})).await;
        let handle = made["handle"].as_str().expect("a handle").to_owned();
        self.turn_to(&handle).await;
        handle
    }

    /// Handle of the tab that commands go to.
    pub async fn tab(&self) -> String {
        let url = format!("{}/window", self.session);
        let answer = self.client.get(url).send().await.expect("it answers");
        let answer: Value = answer.json().await.expect("JSON");
        answer["value"].as_str().expect("a handle").to_owned()
    }

    /// Directs the commands that follow to another tab.
    pub async fn turn_to(&self, handle: &str) {
        let url = format!("{}/window", self.session);
        post(&self.client, &url, &json!({"handle": handle})).await;
    }

    /// Sets a permission of every page: `granted`, `denied` or `prompt`.
    pub async fn permit(&self, name: &str, setting: &str) {
        let params = json!({"permission": {"name": name}, "setting": setting});
        self.devtools("Browser.setPermission", params).await;
    }

    /// Delivers a message to a service worker, as a push service would.
    pub async fn push(&self, origin: &str, registration: &str, text: &str) {
        self.devtools("ServiceWorker.enable", json!({})).await;
        let message = json!({"origin": origin, "registrationId": registration, "data": text});
        self.devtools("ServiceWorker.deliverPushMessage", message)
            .await;
    }

    /// Script that runs in every page before the page's own.
    pub async fn prepare(&self, script: &str) {
        self.devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": script}),
        )
        .await;
    }

    /// Sets the page's exact size in pixels.
    pub async fn resize(&self, width: usize, height: usize) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Moves the mouse over the middle of an element that is seen.
    pub async fn hover(&self, selector: &str) {
        let (x, y) = self.middle(selector).await;
        self.mouse("mouseMoved", x, y, 0).await;
    }

    /// Clicks with the mouse on what is seen of an element.
    pub async fn click(&self, selector: &str) {
        self.click_while(selector, async {}).await;
    }

    /// Presses the mouse on an element, and releases it there once that is done.
    pub async fn click_while(&self, selector: &str, pressed: impl Future<Output = ()>) {
        let (x, y) = self.middle(selector).await;
        self.mouse("mouseMoved", x, y, 0).await;
        self.mouse("mousePressed", x, y, 1).await;
        pressed.await;
        self.mouse("mouseReleased", x, y, 1).await;
    }

    /// Drags the mouse over an element, from one share of its width to another.
    pub async fn brush(&self, selector: &str, from: f64, to: f64) {
        let ([left, right], y) = self.across(selector, from, to).await;
        self.mouse("mouseMoved", left, y, 0).await;
        self.mouse("mousePressed", left, y, 1).await;
        let event =
            json!({"type": "mouseMoved", "x": right, "y": y, "button": "left", "buttons": 1});
        self.devtools("Input.dispatchMouseEvent", event).await;
        self.mouse("mouseReleased", right, y, 1).await;
    }

    /// Drags a finger over an element, from one share of its width to another.
    pub async fn swipe(&self, selector: &str, from: f64, to: f64) {
        let ([left, right], y) = self.across(selector, from, to).await;
        let steps = [0.0, 0.2, 0.6, 1.0].map(|share| left + (right - left) * share);
        for (nth, x) in steps.into_iter().enumerate() {
            let kind = if nth == 0 { "touchStart" } else { "touchMove" };
            let event = json!({"type": kind, "touchPoints": [{"x": x, "y": y}]});
            self.devtools("Input.dispatchTouchEvent", event).await;
        }
        let end = json!({"type": "touchEnd", "touchPoints": []});
        self.devtools("Input.dispatchTouchEvent", end).await;
    }

    /// Two places across an element that is seen, and its vertical middle.
    async fn across(&self, selector: &str, from: f64, to: f64) -> ([f64; 2], f64) {
        let (x, y) = self.middle(selector).await;
        let width = format!(
            "document.querySelector({}).getBoundingClientRect().width",
            json!(selector)
        );
        let width = self.run(&width).await.as_f64().expect("a width");
        ([from, to].map(|share| x + (share - 0.5) * width), y)
    }

    /// Clicks twice with the mouse on an element.
    pub async fn double_click(&self, selector: &str) {
        let (x, y) = self.middle(selector).await;
        for count in [1, 2] {
            self.mouse("mousePressed", x, y, count).await;
            self.mouse("mouseReleased", x, y, count).await;
        }
    }

    /// Turns the wheel over an element; towards the user is positive.
    pub async fn wheel(&self, selector: &str, pixels: f64) {
        let (x, y) = self.middle(selector).await;
        let event = json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": pixels});
        self.devtools("Input.dispatchMouseEvent", event).await;
    }

    /// Moves two fingers on an element from one distance to another, in pixels.
    pub async fn pinch(&self, selector: &str, from: f64, to: f64) {
        let (x, y) = self.middle(selector).await;
        let fingers = |apart: f64| json!([{"x": x - apart / 2.0, "y": y, "id": 0}, {"x": x + apart / 2.0, "y": y, "id": 1}]);
        let touch = json!({"enabled": true, "maxTouchPoints": 2});
        self.devtools("Emulation.setTouchEmulationEnabled", touch)
            .await;
        let touch = async |kind: &str, points: Value| {
            let event = json!({"type": kind, "touchPoints": points});
            self.devtools("Input.dispatchTouchEvent", event).await;
        };
        touch("touchStart", fingers(from)).await;
        for step in 1..=10 {
            let apart = from + (to - from) * f64::from(step) / 10.0;
            touch("touchMove", fingers(apart)).await;
        }
        touch("touchEnd", json!([])).await;
    }

    async fn mouse(&self, kind: &str, x: f64, y: f64, count: u32) {
        let button = if count > 0 { "left" } else { "none" };
        let event = json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": count});
        self.devtools("Input.dispatchMouseEvent", event).await;
    }

    /// Makes the screen a touch screen of that size.
    pub async fn touch_screen(&self, width: usize, height: usize) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let touch = json!({"enabled": true, "maxTouchPoints": 2});
        self.devtools("Emulation.setTouchEmulationEnabled", touch)
            .await;
    }

    /// Taps with a finger on what is seen of an element, which must be at least
    /// 44 pixels high.
    pub async fn tap(&self, selector: &str) {
        let (x, y) = self.middle(selector).await;
        let height = format!(
            "document.querySelector({}).getBoundingClientRect().height",
            json!(selector)
        );
        let height = self.run(&height).await.as_f64().expect("a height");
        assert!(height >= 44.0, "{selector} is {height} pixels high");
        let start = json!({"type": "touchStart", "touchPoints": [{"x": x, "y": y}]});
        self.devtools("Input.dispatchTouchEvent", start).await;
        let end = json!({"type": "touchEnd", "touchPoints": []});
        self.devtools("Input.dispatchTouchEvent", end).await;
    }

    /// Drags an element with the mouse, from its middle.
    pub async fn drag(&self, selector: &str, right: f64, down: f64) {
        let (x, y) = self.middle(selector).await;
        self.mouse("mouseMoved", x, y, 0).await;
        self.mouse("mousePressed", x, y, 1).await;
        let to = json!({
            "type": "mouseMoved", "x": x + right, "y": y + down, "button": "left", "buttons": 1,
        });
        self.devtools("Input.dispatchMouseEvent", to).await;
        self.mouse("mouseReleased", x + right, y + down, 1).await;
    }

    /// Presses a key of the keyboard: a letter, or `Enter`, `Tab`, `Escape`, `Home`
    /// or an arrow.
    /// `control` holds the control key down.
    pub async fn strike(&self, key: &str, control: bool) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            letter => (u32::from(letter.as_bytes()[0].to_ascii_uppercase()), letter),
        };
        let mut event = json!({
            "type": "keyDown", "key": key, "windowsVirtualKeyCode": code,
            "modifiers": if control { 2 } else { 0 },
        });
        if !control && !text.is_empty() {
            event["text"] = json!(text);
        }
        self.devtools("Input.dispatchKeyEvent", event).await;
        let event = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.devtools("Input.dispatchKeyEvent", event).await;
    }

    /// Inserts text where the focus is, as a keyboard on the screen does.
    pub async fn insert(&self, text: &str) {
        self.devtools("Input.insertText", json!({"text": text}))
            .await;
    }

    /// Middle of an element, once it is there and nothing is in front of it.
    async fn middle(&self, selector: &str) -> (f64, f64) {
        let place = format!(
            "(() => {{ const one = document.querySelector({}); if (!one) return null; \
             one.scrollIntoView({{block: 'nearest'}}); \
             const {{left, top, width, height}} = one.getBoundingClientRect(); \
             const [x, y] = [left + width / 2, top + height / 2]; \
             const seen = document.elementFromPoint(x, y); \
             return seen && (one.contains(seen) || seen.contains(one)) ? [x, y] : null; }})()",
            json!(selector)
        );
        self.until_true(5, &format!("{place} !== null")).await;
        let found = self.run(&place).await;
        let at = |nth: usize| found[nth].as_f64();
        at(0)
            .zip(at(1))
            .unwrap_or_else(|| panic!("{selector} is not there"))
    }

    /// Heap of the page's scripts, in bytes, after garbage collection.
    pub async fn heap(&self) -> f64 {
        self.devtools("HeapProfiler.collectGarbage", json!({}))
            .await;
        let usage = self.devtools("Runtime.getHeapUsage", json!({})).await;
        usage["usedSize"].as_f64().expect("a number")
    }

    /// Seconds that the page's main thread has worked since this was first asked:
    /// its own time, not what it waited for a core.
    pub async fn main_thread(&self) -> f64 {
        let domain = json!({"timeDomain": "threadTicks"});
        self.devtools("Performance.enable", domain).await;
        let found = self.devtools("Performance.getMetrics", json!({})).await;
        let mut metrics = found["metrics"].as_array().into_iter().flatten();
        let tasks = metrics.find(|one| one["name"] == "TaskDuration");
        tasks
            .and_then(|one| one["value"].as_f64())
            .expect("a number")
    }

    /// Runs a command of the Chrome DevTools Protocol.
    async fn devtools(&self, command: &str, params: Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        let url = format!("{}/goog/cdp/execute", self.session);
        post(&self.client, &url, &body).await
    }

    /// Screenshot of the page, as a PNG file.
    pub async fn screenshot(&self) -> Vec<u8> {
        let url = format!("{}/screenshot", self.session);
        let answer = self.client.get(url).send().await.expect("it answers");
        let answer: Value = answer.json().await.expect("JSON");
        base64::engine::general_purpose::STANDARD
            .decode(answer["value"].as_str().expect("a picture"))
            .expect("base64")
    }

    /// Runs a script; a promise is awaited.
    pub async fn run(&self, script: &str) -> Value {
        let body = json!({"script": format!("return {script}"), "args": []});
        post(
            &self.client,
            &format!("{}/execute/sync", self.session),
            &body,
        )
        .await
    }

    /// Runs statements; a returned promise is awaited.
    pub async fn script(&self, source: &str) -> Value {
        let body = json!({"script": source, "args": []});
        let url = format!("{}/execute/sync", self.session);
        post(&self.client, &url, &body).await
    }

    /// Emulates the colour scheme the system prefers: `dark` or `light`.
    pub async fn theme(&self, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
        // Colours change over some moments.
        let settled = "document.getAnimations().every((one) => \
            !(one instanceof CSSTransition) || one.playState === 'finished')";
        self.until_true(10, settled).await;
    }

    /// Sets the time zone of pages opened from now on, by its IANA name.
    pub async fn time_zone(&self, name: &str) {
        let zone = json!({"timezoneId": name});
        self.devtools("Emulation.setTimezoneOverride", zone).await;
    }

    pub async fn forget_cookies(&self) {
        let url = format!("{}/cookie", self.session);
        let answer = self.client.delete(url).send().await.expect("it answers");
        assert!(answer.status().is_success());
    }

    pub async fn look(&self) -> PlaybackStats {
        PlaybackStats(self.run("look()").await)
    }

    /// Waits until the result of a script passes, up to the timeout.
    pub async fn until(
        &self,
        seconds: u64,
        what: &str,
        is: impl Fn(&PlaybackStats) -> bool,
    ) -> PlaybackStats {
        let seconds = seconds.max(PATIENCE);
        let mut seen = self.look().await;
        for _ in 0..seconds * 10 {
            if is(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            seen = self.look().await;
        }
        panic!("no {what} within {seconds} s: {seen:#?}");
    }

    /// Waits until an expression of the page is true, up to the timeout.
    pub async fn until_true(&self, seconds: u64, expression: &str) {
        let seconds = seconds.max(PATIENCE);
        for _ in 0..seconds * 10 {
            if self.run(expression).await == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not within {seconds} s: {expression}");
    }

    pub async fn close(self) {
        let _ = self.client.delete(&self.session).send().await;
    }
}

impl Drop for Chromium {
    /// A failed test leaves no browser behind either.
    fn drop(&mut self) {
        let group = self.driver.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group {
            // SAFETY: takes two integers; the group is the one spawned above,
            // whose leader has not been waited for, so its id is still its own.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
}

/// Chromedriver process and its port. It picks a free port for IPv4 and then
/// needs the same for IPv6, which may be taken: it exits then, and another one
/// is started.
async fn driver() -> (Child, String) {
    for _ in 0..10 {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // In a process group with its browser, which Drop ends.
            .process_group(0)
            .spawn()
            .expect("chromedriver is installed");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        while let Some(line) = lines.next_line().await.expect("readable") {
            if let Some((_, port)) = line.rsplit_once("successfully on port ") {
                return (driver, port.trim_end_matches('.').to_owned());
            }
        }
        driver.wait().await.expect("it has ended");
    }
    panic!("chromedriver found no port");
}

async fn post(client: &reqwest::Client, url: &str, body: &Value) -> Value {
    let answer = client
        .post(url)
        .json(body)
        .send()
        .await
        .expect("chromedriver answers");
    let answer: Value = answer.json().await.expect("JSON");
    let value = answer["value"].clone();
    assert!(value.get("error").is_none(), "{url}: {value:#}");
    value
}

impl PlaybackStats {
    pub fn video(&self, what: &str) -> f64 {
        self.0["video"][what].as_f64().unwrap_or(0.0)
    }

    pub fn audio(&self, what: &str) -> f64 {
        self.0["audio"][what].as_f64().unwrap_or(0.0)
    }
}
