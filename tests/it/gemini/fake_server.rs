//! Strictness of the fake server, on which the other tests rely.

use serde_json::{Value, json};

use super::KEY;
use crate::common::gemini::{FakeGemini, fixture};

/// Otherwise the empty lists of faults above would prove nothing.
#[tokio::test]
async fn the_fake_server_rejects_invalid_requests() {
    let server = FakeGemini::start().await;
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("{}/v1beta/models/m:generateContent", server.base_url());
    let ask = async |query: &str, key: &str, change: fn(&mut Value)| {
        let mut body = fixture("req-19-proposed-responseSchema")["body"].clone();
        body["contents"][0]["parts"] = json!([{"text": "x"}]);
        change(&mut body);
        let request = client.post(format!("{url}{query}")).body(body.to_string());
        let response = request.header("x-goog-api-key", key).send().await.unwrap();
        (response.status().as_u16(), server.faults().len())
    };
    assert_eq!(ask("", KEY, |_| ()).await, (200, 0));
    assert_eq!(ask("", "", |_| ()).await, (403, 1));
    assert_eq!(ask(&format!("?key={KEY}"), KEY, |_| ()).await, (400, 3));
    assert_eq!(ask("", KEY, |body| body["foo"] = json!(1)).await, (400, 4));
    let (status, faults) = ask("", KEY, |body| {
        body["generationConfig"]["responseSchema"]["default"] = json!(1);
    })
    .await;
    assert_eq!((status, faults), (400, 5));
    let (status, faults) = ask("", KEY, |body| {
        let data = json!({"mimeType": "image/jpeg", "data": "AAAA"});
        body["contents"][0]["parts"] = json!([{"inlineData": data}]);
    })
    .await;
    assert_eq!((status, faults), (400, 6));
    assert_eq!(
        ask("", KEY, |body| body["store"] = json!(KEY)).await,
        (400, 8)
    );
    server.let_in_only("another");
    assert_eq!(ask("", KEY, |_| ()).await, (400, 8));
}
