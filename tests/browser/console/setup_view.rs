//! Settings page in a browser: faults of the machine, dead letters, signing
//! out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;

use crate::common::serve::Setup;
use crate::console::fixture::{NOBODY, opened, report, reported};

/// Webhook receiver that rejects one event until it recovers; its address.
async fn hook(well: Arc<AtomicBool>) -> String {
    let judge = move |body: String| async move {
        match body.contains("Poison") && !well.load(Ordering::SeqCst) {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::OK,
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(judge);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn a_dead_letter_is_read_and_sent_again() {
    let well = Arc::new(AtomicBool::new(false));
    let address = hook(Arc::clone(&well)).await;
    let server = Setup::new()
        .agents(NOBODY)
        .settings(&format!(
            "[sinks.hook]\nkind = 'webhook'\naddress = '{address}'\n"
        ))
        .start()
        .await;
    for (number, title) in ["Fire", "Poison <b>&", "Water", "Smoke"].iter().enumerate() {
        report(&server, &reported(number, title)).await;
    }
    let dead = async || server.json("/api/sinks").await["items"][0]["dead"].as_u64();
    while dead().await != Some(1) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let browser = opened(&server, "/?view=setup").await;
    let list = "document.querySelector('#setup details.dead')";
    browser.until_true(10, &format!("{list} !== null")).await;
    browser.run(&format!("{list}.open = true")).await;
    let shown = |text: &str| format!("{list}.textContent.includes('{text}')");
    browser.until_true(10, &shown("Poison <b>&")).await;
    browser.until_true(10, &shown("HTTP 400")).await;
    well.store(true, Ordering::SeqCst);
    browser
        .run(&format!("{list}.querySelector('li button').click()"))
        .await;
    browser.until_true(10, &shown("Queued for delivery")).await;
    while dead().await != Some(0) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_record_stamped_ahead_of_the_clock_is_reported_on_the_page() {
    let server = Setup::new().agents(NOBODY).start().await;
    report(&server, &reported(0, "Fire")).await;
    let browser = opened(&server, "/?view=setup").await;
    let shown = "document.querySelector('#health [role=alert]')?.textContent ?? ''";
    let loaded = "document.querySelector('#health h2') !== null";
    browser.until_true(10, loaded).await;
    assert_eq!(browser.run(shown).await, "");
    let file = server.folder.path().join("data/watchtower.db");
    let db = rusqlite::Connection::open(file).unwrap();
    let ahead = "UPDATE findings SET stored_at = stored_at + 172800000000000";
    db.execute(ahead, []).unwrap();
    browser.open(&server.http_url("/?view=setup")).await;
    browser
        .until_true(10, &format!("({shown}).includes('NTP')"))
        .await;
}

#[tokio::test]
async fn after_signing_out_a_user_has_to_sign_in_again() {
    let server = Setup::new()
        .agents(NOBODY)
        .env("WATCHTOWER_CONSOLE_TOKEN", "t0ken-of-the-console-1234")
        .start()
        .await;
    let browser = opened(&server, "/?view=setup").await;
    browser
        .run(
            "(document.querySelector('input[type=password]').value = 't0ken-of-the-console-1234', \
             document.querySelector('form').requestSubmit())",
        )
        .await;
    let out = "document.querySelector('#setup form[action=\"/logout\"] button')";
    browser.until_true(10, &format!("{out} !== null")).await;
    browser.run(&format!("{out}.click()")).await;
    browser
        .until_true(
            10,
            "document.querySelector('input[type=password]') !== null",
        )
        .await;
    browser.open(&server.http_url("/?view=setup")).await;
    browser
        .until_true(
            10,
            "document.querySelector('input[type=password]') !== null",
        )
        .await;
}
