//! Lost connections, a restarted server, expired sessions.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::common::chromium::Chromium;
use crate::common::serve::{Setup, TestServer};
use crate::console::fixture::{NOBODY, js, opened, press, quiet, report, reported};

const TOKEN: &str = "t0ken-of-the-console-4d3c2b1a";

/// Proxy that cuts each connection after so long, and refuses new ones on
/// command. Its page's origin differs from the server's only by the port, which
/// the server must accept.
async fn cutter(server: SocketAddr, every: Duration) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, cutting) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut browser, _)) = listener.accept().await {
            let mut cutting = cutting.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let over = async {
                    // The receiver is gone when the test has ended.
                    let _ = cutting.wait_for(|cutting| *cutting).await;
                    tokio::time::sleep(every).await;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut browser, &mut server) => {}
                    () = over => {}
                }
            });
        }
    });
    (address, cut)
}

async fn shows(browser: &Chromium, title: &str) {
    let title = js(title);
    let there = format!(
        "[...document.querySelectorAll('#findings h3')].filter((one) => one.textContent === {title}).length === 1"
    );
    browser.until_true(20, &there).await;
}

#[tokio::test]
async fn events_that_are_cut_every_few_seconds_are_made_up_for() {
    let server = quiet().await;
    let (address, cut) = cutter(server.http, Duration::from_secs(2)).await;
    let browser = Chromium::start().await;
    browser.open(&format!("http://{address}/")).await;
    browser
        .until_true(10, "performance.getEntriesByName('usable').length > 0")
        .await;
    browser
        .run("(window.lost = 0, new MutationObserver(() => { window.lost += document.querySelector('#link').hidden ? 0 : 1 }).observe(document.querySelector('#link'), {attributes: true}))")
        .await;
    // Only now: a slow machine takes longer than that to load the page.
    cut.send_replace(true);
    for number in 0..40 {
        report(&server, &reported(number, &format!("Event {number}"))).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Missed events are fetched in one request, which a slow machine may take
    // longer than that for.
    cut.send_replace(false);
    let all = "[...Array(40).keys()].every((number) => \
        [...document.querySelectorAll('#findings h3')].filter((one) => one.textContent === `Event ${number}`).length === 1)";
    browser.until_true(30, all).await;
    assert!(
        browser.run("window.lost").await.as_u64().unwrap() > 0,
        "it was cut, and said so"
    );
    browser.close().await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let http = format!("127.0.0.1:{port}");
    let setup = Setup::new().agents(NOBODY).env("WATCHTOWER_HTTP", &http);
    let mut server = setup.start().await;
    report(&server, &reported(1, "Before the restart")).await;
    let browser = opened(&server, "/").await;
    shows(&browser, "Before the restart").await;

    server.signal("-KILL");
    server.wait().await;
    browser
        .until_true(
            20,
            "document.querySelector('#link').textContent.includes('Reconnecting')",
        )
        .await;
    // Actions attempted meanwhile report why they fail.
    press(&browser, "6").await;
    let unreachable =
        "document.querySelector('#report').textContent.includes('Server unreachable')";
    browser.until_true(10, unreachable).await;

    let server = restarted(server, &http).await;
    report(&server, &reported(2, "While nobody listened")).await;
    press(&browser, "1").await;
    shows(&browser, "While nobody listened").await;
    browser
        .until_true(
            20,
            "document.querySelector('#link').hidden && document.querySelector('#said').hidden",
        )
        .await;
    report(&server, &reported(3, "After the restart")).await;
    shows(&browser, "After the restart").await;
    browser.close().await;
}

#[tokio::test]
async fn pages_that_were_left_hold_no_connection() {
    let server = quiet().await;
    let browser = opened(&server, "/").await;
    // A browser opens at most six connections to one server.
    for view in [
        "live",
        "incidents",
        "panel",
        "search",
        "history",
        "handover",
        "setup",
    ]
    .repeat(2)
    {
        browser
            .open(&server.http_url(&format!("/?view={view}")))
            .await;
        browser
            .until_true(10, "performance.getEntriesByName('usable').length > 0")
            .await;
    }
    // Back to a page that the browser may have cached.
    browser.run("history.back()").await;
    browser
        .until_true(10, "document.title === 'Watchtower: Handover'")
        .await;
    report(&server, &reported(1, "Seen from there")).await;
    press(&browser, "1").await;
    shows(&browser, "Seen from there").await;
    browser.close().await;
}

#[tokio::test]
async fn a_hidden_tab_gives_its_connection_back_and_catches_up() {
    let server = quiet().await;
    let browser = opened(&server, "/").await;
    report(&server, &reported(1, "While it was seen")).await;
    shows(&browser, "While it was seen").await;
    // A headless tab is never hidden, and half a minute is long.
    let turned = |hidden: bool| {
        format!(
            "(Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}}), \
             document.dispatchEvent(new Event('visibilitychange')))"
        )
    };
    browser
        .run(
            "(() => { const {close} = EventSource.prototype; \
             EventSource.prototype.close = function () { window.left = true; close.call(this); }; \
             const wait = setTimeout; window.setTimeout = (work, length) => wait(work, length / 60); })()",
        )
        .await;
    browser.run(&turned(true)).await;
    browser.until_true(10, "window.left").await;
    report(&server, &reported(2, "While it was not")).await;
    browser.run(&turned(false)).await;
    shows(&browser, "While it was not").await;
    report(&server, &reported(3, "Seen again")).await;
    shows(&browser, "Seen again").await;
    browser.close().await;
}

/// Restarts in the same folder and on the same port.
async fn restarted(before: TestServer, http: &str) -> TestServer {
    let mut command = crate::common::serve::command("serve", before.folder.path());
    command.env("WATCHTOWER_HTTP", http);
    let mut setup = Setup::of(command);
    setup.folder = before.folder;
    setup.start().await
}

#[tokio::test]
async fn signing_in_leads_where_the_link_led_and_a_stale_session_back_to_the_form() {
    let server = Setup::new()
        .agents(NOBODY)
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .start()
        .await;
    let browser = opened(&server, "/?view=handover").await;
    let form = "document.querySelector('input[name=token]') !== null";
    assert_eq!(browser.run(form).await, true);
    let sign_in = async |token: &str| {
        let token = js(token);
        browser
            .run(&format!(
                "(document.querySelector('input[name=token]').value = {token}, document.querySelector('form').requestSubmit())"
            ))
            .await;
    };
    sign_in("not-the-token").await;
    let refused = "document.querySelector('[role=alert]')?.textContent === 'Invalid token'";
    browser.until_true(10, refused).await;
    browser.open(&server.http_url("/?view=handover")).await;
    sign_in(TOKEN).await;
    let there = "document.querySelector('#report h2')?.textContent === 'Handover'";
    browser.until_true(10, there).await;
    assert_eq!(
        browser.run("location.search").await,
        "?view=handover",
        "the link is kept"
    );
    let page = browser
        .run("document.documentElement.outerHTML + document.cookie + location.href")
        .await;
    assert!(!page.as_str().unwrap().contains(TOKEN));

    // The session expires while the page is open: its next request shows the
    // form.
    browser.forget_cookies().await;
    press(&browser, "5").await;
    browser.until_true(10, form).await;
    browser.close().await;
}
