//! Analysts added, changed, paused and removed, and a shift handed over: with a
//! mouse alone, with the keyboard alone, and on a touch screen.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use watchtower::domain::finding::Finding;
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;

use crate::common::chromium::Chromium;
use crate::common::serve::{Setup, TestServer};
use crate::console::accessible;
use crate::console::fixture::{js, noticed, opened, report, reported};

const FILE: &str = "\
[model]
provider = \"offline\" # kept

[[agent]]
name = \"Alpha\"
personality = \"calm\"
focus = \"banners\"

[[agent]]
name = \"Beta\"
personality = \"brisk\"
focus = \"queues\"
";

async fn crew(path: &str) -> (TestServer, Chromium) {
    let server = Setup::new().agents(FILE).start().await;
    let browser = opened(&server, "/").await;
    browser
        .run("localStorage.setItem('watchtower.who', 'Ann')")
        .await;
    browser.open(&server.http_url(path)).await;
    (server, browser)
}

fn file(server: &TestServer) -> String {
    std::fs::read_to_string(server.folder.path().join("agents.toml")).unwrap()
}

/// Enabled analysts, once they are these.
async fn until_enabled(server: &TestServer, expected: &[&str]) {
    server
        .until(&format!("{expected:?} are enabled"), async |server| {
            let page = server.json("/api/agents").await;
            let items = page["items"].as_array()?.iter();
            let enabled = items.filter(|item| item["enabled"] == true);
            let names: Vec<_> = enabled.map(|item| item["name"].as_str().unwrap()).collect();
            (names == expected).then_some(())
        })
        .await;
}

/// Fills in fields of the open form.
async fn fill(browser: &Chromium, fields: &[(&str, &str)]) {
    browser
        .until_true(5, "document.querySelector('#analyst[open] form') !== null")
        .await;
    for (name, value) in fields {
        let (name, value) = (js(&format!("#analyst [name={name}]")), js(value));
        browser
            .run(&format!("(document.querySelector({name}).value = {value})"))
            .await;
    }
}

fn button(act: &str, name: &str) -> String {
    format!("#columns section[aria-label={name}] [data-act={act}]")
}

#[tokio::test]
async fn analysts_are_managed_with_a_mouse_alone() {
    let (server, browser) = crew("/").await;
    browser.click("#views [data-view=panel]").await;
    browser.click(&button("pause", "Alpha")).await;
    until_enabled(&server, &["Beta"]).await;
    noticed(&browser, "Analyst Alpha paused, in force since ").await;
    assert_eq!(
        file(&server),
        FILE.replace("\"banners\"\n", "\"banners\"\nenabled = false\n")
    );
    browser.click("#undo").await;
    until_enabled(&server, &["Alpha", "Beta"]).await;

    browser.click("#add-analyst").await;
    let open = "document.querySelector('#analyst[open] form') !== null";
    browser.until_true(5, open).await;
    let run =
        "axe.run('#analyst', {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})";
    let source = accessible::axe();
    let faults = browser
        .script(&format!(
            "{source}; return {run}.then(({{violations}}) => violations.map(({{id, nodes}}) => [id, nodes[0].html]))"
        ))
        .await;
    assert_eq!(faults, json!([]));
    let hostile = [
        ("name", "Gamma"),
        ("personality", "<img src=x onerror=alert(1)>"),
        ("focus", "keys \"and\" 'locks'"),
        ("indicators", "first one\n  second, with a comma \n\n"),
        ("interval", "soon"),
    ];
    fill(&browser, &hostile).await;
    browser.click("#save-analyst").await;
    // What the check says is shown in the form, which stays.
    let fault =
        "document.querySelector('#analyst .faults')?.textContent.includes('agents[2].interval')";
    browser.until_true(10, fault).await;
    fill(&browser, &[("interval", "20s")]).await;
    browser.click("#save-analyst").await;
    until_enabled(&server, &["Alpha", "Beta", "Gamma"]).await;
    let gamma = &server.json("/api/agent-settings").await["items"][2];
    assert_eq!(
        (
            &gamma["indicators"],
            &gamma["personality"],
            &gamma["interval"]
        ),
        (
            &json!(["first one", "second, with a comma"]),
            &json!(hostile[1].1),
            &json!("20s")
        )
    );
    noticed(&browser, "Analyst Gamma added").await;

    // Another one changed the file meanwhile: both versions are shown.
    browser.click(&button("edit", "Gamma")).await;
    fill(&browser, &[("focus", "mine")]).await;
    let theirs = file(&server).replace("20s", "30s");
    std::fs::write(server.folder.path().join("agents.toml"), &theirs).unwrap();
    browser.click("#save-analyst").await;
    let versions = "[...document.querySelectorAll('#analyst[open] .versions pre')].map((one) => one.textContent)";
    browser
        .until_true(10, &format!("{versions}.length === 2"))
        .await;
    let shown = browser.run(versions).await;
    let text = |nth: usize| shown[nth].as_str().unwrap().to_owned();
    assert!(
        text(0).contains("30s") && !text(0).contains("mine"),
        "{shown}"
    );
    assert!(
        text(1).contains("20s") && text(1).contains("mine"),
        "{shown}"
    );
    assert_eq!(file(&server), theirs);
    browser.click("#analyst menu li:last-child button").await;

    browser.click(&button("remove", "Gamma")).await;
    browser.click("#ask button[value=ok]").await;
    until_enabled(&server, &["Alpha", "Beta"]).await;
    let changes = "document.querySelector('#configuration').innerText";
    browser
        .until_true(
            10,
            &format!("{changes}.includes('Ann analyst Gamma removed')"),
        )
        .await;
    browser.close().await;
}

#[tokio::test]
async fn analyst_is_paused_and_shift_handed_over_with_the_keyboard_alone() {
    let (server, browser) = crew("/?view=panel").await;
    report(&server, &reported(1, "Slow [login](http://evil.example)")).await;
    let there = format!(
        "document.querySelector({}) !== null",
        js(&button("edit", "Alpha"))
    );
    browser.until_true(10, &there).await;
    // By the palette.
    browser.strike("k", true).await;
    let active = "document.activeElement.id === 'command'";
    browser.until_true(5, active).await;
    for letter in ["p", "a", "u", "s", "e"] {
        browser.strike(letter, false).await;
    }
    let option = "document.querySelector('#commandlist [aria-selected=true]')?.textContent === 'Pause analyst Alpha'";
    browser.until_true(5, option).await;
    browser.strike("Enter", false).await;
    until_enabled(&server, &["Beta"]).await;
    noticed(&browser, "Analyst Alpha paused").await;
    browser.strike("u", false).await;
    until_enabled(&server, &["Alpha", "Beta"]).await;

    browser.strike("6", false).await;
    let listed = "document.querySelector('#report')?.textContent.includes('Open (1)')";
    browser.until_true(10, listed).await;
    browser
        .run("document.querySelector('#handing textarea').focus()")
        .await;
    for letter in ["a", "l", "l", "q", "u", "i", "e", "t"] {
        browser.strike(letter, false).await;
    }
    browser.strike("Tab", false).await;
    assert_eq!(browser.run("document.activeElement.id").await, "hand-over");
    browser.strike("Enter", false).await;
    let made = server
        .until("the shift is handed over", async |server| {
            let list = server.json("/api/handovers").await;
            list["items"].get(0).cloned()
        })
        .await;
    assert_eq!(
        (&made["by"], &made["message"], &made["taken_by"]),
        (&json!("Ann"), &json!("allquiet"), &Value::Null)
    );
    let open = "document.querySelector('#handovers li[data-open=true] button') !== null";
    browser.until_true(10, open).await;
    assert_eq!(
        browser
            .run("document.querySelector('#handing textarea').value")
            .await,
        ""
    );
    // The next shift, on the same screen.
    browser
        .run("(localStorage.setItem('watchtower.who', 'Bob'), document.querySelector('#handovers button').focus())")
        .await;
    browser.strike("Enter", false).await;
    let signed = "document.querySelector('#report').innerText.includes('taken over by Bob')";
    browser.until_true(10, signed).await;

    // The file and the paper have whole addresses.
    let saved = "(async () => { const kept = []; const make = URL.createObjectURL; \
        URL.createObjectURL = (blob) => { kept.push(blob); return make(blob); }; \
        document.querySelector('#save').click(); return kept[0].text(); })()";
    let text = browser.run(saved).await;
    let text = text.as_str().unwrap();
    let base = server.http_url("/?view=incidents&incident=");
    let title = "Slow \\[login\\]\\(http://evil\\.example\\)";
    assert!(
        text.contains(&format!("- high: [{title}]({base}")),
        "{text}"
    );
    assert!(text.contains("### high"), "{text}");
    assert!(text.contains("taken over by Bob"), "{text}");
    let printed = "document.querySelector('#report .printed').textContent";
    let printed = browser.run(printed).await;
    assert!(printed.as_str().unwrap().contains(&base), "{printed}");
    browser
        .run("(document.querySelector('#grouping').value = 'stream', document.querySelector('#grouping').dispatchEvent(new Event('change')))")
        .await;
    let grouped = "[...document.querySelectorAll('#report h4')].map((one) => one.textContent)";
    assert_eq!(browser.run(grouped).await, json!(["team (1)", "team (1)"]));
    browser.close().await;
}

#[tokio::test]
async fn analyst_is_muted_and_shift_handed_over_on_a_touch_screen() {
    let (server, browser) = crew("/").await;
    browser.touch_screen(390, 844).await;
    browser.tap("#views [data-view=panel]").await;
    browser.tap(&button("edit", "Beta")).await;
    fill(&browser, &[("focus", "queues and caches")]).await;
    let wide = "document.querySelector('#analyst').scrollWidth <= 390";
    assert_eq!(browser.run(wide).await, true);
    browser.tap("#save-analyst").await;
    server
        .until("the new focus", async |server| {
            let settings = server.json("/api/agent-settings").await;
            (settings["items"][1]["focus"] == "queues and caches").then_some(())
        })
        .await;
    browser.tap(&button("pause", "Beta")).await;
    until_enabled(&server, &["Alpha"]).await;
    let width = "document.documentElement.scrollWidth";
    assert_eq!(browser.run(width).await, 390);

    browser.tap("#views [data-view=handover]").await;
    browser.tap("#handing textarea").await;
    browser
        .run("(document.querySelector('#handing textarea').value = 'Beta is muted')")
        .await;
    browser.tap("#hand-over").await;
    browser.tap("#handovers li button").await;
    let taken = server
        .until("it is taken over", async |server| {
            let list = server.json("/api/handovers").await;
            let first = list["items"].get(0)?.clone();
            first["taken_by"].is_string().then_some(first)
        })
        .await;
    assert_eq!(
        (&taken["message"], &taken["taken_by"]),
        (&json!("Beta is muted"), &json!("Ann"))
    );
    // The report says what was changed meanwhile.
    let changed = "document.querySelector('#report').innerText.includes('Ann analyst Beta paused')";
    browser
        .run("document.querySelector('#views [data-view=handover]').click()")
        .await;
    browser.until_true(10, changed).await;
    assert_eq!(browser.run(width).await, 390);
    browser.close().await;
}

#[tokio::test]
async fn analysts_are_those_of_the_range() {
    let setup = Setup::new().agents(FILE);
    let folder = setup.folder.path();
    let (record, writer) = Record::open(
        &folder.join("data"),
        &folder.join("logs"),
        &[],
        &StoreSettings::default(),
    )
    .unwrap();
    for (number, (title, age)) in [("Old banner", 30), ("New banner", 2)]
        .into_iter()
        .enumerate()
    {
        let mut finding: Finding = serde_json::from_value(reported(number, title)).unwrap();
        finding.agent = "Alpha".to_owned();
        finding.observed_at = Timestamp::now() - SignedDuration::from_mins(age);
        record.publish(finding).await.unwrap();
    }
    drop(record);
    tokio::task::spawn_blocking(move || writer.join().unwrap())
        .await
        .unwrap();
    let server = setup.start().await;
    let browser = opened(&server, "/?view=panel").await;
    let listed = "[...document.querySelectorAll('#columns section[aria-label=Alpha] ol a')].map((one) => one.textContent).join()";
    let counted = "document.querySelector('#columns section[aria-label=Alpha]').innerText";
    let shows = async |titles: &str, incidents: &str| {
        browser
            .until_true(
                10,
                &format!(
                    "{listed} === {} && {counted}.includes({})",
                    js(titles),
                    js(incidents)
                ),
            )
            .await;
    };
    shows("New banner,Old banner", "2 incidents").await;
    browser.click("#range").await;
    browser.click("#ranges [data-range='10m']").await;
    shows("New banner", "1 incident,").await;
    let words = "document.querySelector('#precision').innerText.includes('last 10 minutes')";
    browser.until_true(5, words).await;
    browser.run("history.back()").await;
    shows("New banner,Old banner", "2 incidents").await;
    browser.close().await;
}

#[tokio::test]
async fn file_that_is_read_only_is_edited_by_hand() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, browser) = crew("/?view=search").await;
    let path = server.folder.path().join("agents.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    // As on a page over plain HTTP from another machine.
    browser
        .run("(Object.defineProperty(navigator, 'clipboard', { value: undefined }), true)")
        .await;
    browser.click("#views [data-view=panel]").await;
    browser.click(&button("pause", "Alpha")).await;
    let text = "document.querySelector('#analyst[open] #paste')?.textContent";
    let expected = "[[agent]]\nname = \"Alpha\"\npersonality = \"calm\"\nfocus = \"banners\"\nenabled = false\n";
    browser
        .until_true(10, &format!("{text} === {}", js(expected)))
        .await;
    browser.click("#analyst .copy").await;
    let copied = "document.querySelector('#analyst .copy')?.textContent === 'Copied'";
    browser.until_true(5, copied).await;
    assert_eq!(file(&server), FILE);
    until_enabled(&server, &["Alpha", "Beta"]).await;
    browser.close().await;
}
