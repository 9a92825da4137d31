//! Push service (RFC 8030) that verifies the sender's token (RFC 8292) and
//! decrypts each message as the browser would (RFC 8291), and the browser.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

/// Bytes before a point of P-256 in a public key as DER (RFC 5480).
const BEFORE_POINT: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Output of OpenSSL, which the server does not use; `None` if it fails.
fn openssl(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let ran = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output();
    let ran = ran.expect("openssl is installed");
    ran.status.success().then_some(ran.stdout)
}

/// Writes a file with a public key.
fn write_point(folder: &Path, name: &str, point: &[u8]) {
    let der = [BEFORE_POINT.as_slice(), point].concat();
    std::fs::write(folder.join(name), der).expect("written");
}

/// Keys of a browser's subscription.
#[derive(Clone)]
pub struct PushBrowser {
    folder: Arc<TempDir>,
    public: Vec<u8>,
    auth: [u8; 16],
}

impl PushBrowser {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let make = [
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            "own.pem",
        ];
        openssl(folder.path(), &make).expect("a key");
        let show = ["ec", "-in", "own.pem", "-pubout", "-outform", "DER"];
        let public = openssl(folder.path(), &show).expect("a public key");
        Self {
            folder: Arc::new(folder),
            public: public.strip_prefix(&BEFORE_POINT).expect("P-256").to_vec(),
            auth: rand::random(),
        }
    }

    /// `keys` as a browser gives them.
    pub fn keys(&self) -> Value {
        json!({
            "p256dh": URL_SAFE_NO_PAD.encode(&self.public),
            "auth": URL_SAFE_NO_PAD.encode(self.auth),
        })
    }

    /// Text of a message (RFC 8188, section 2; RFC 8291, section 3).
    fn decrypt(&self, body: &[u8]) -> Vec<u8> {
        let (salt, rest) = body.split_at(16);
        let (size, rest) = rest.split_at(4);
        let size = u32::from_be_bytes(size.try_into().expect("four bytes"));
        assert!(body.len() <= size as usize, "more than one record");
        let (point, record) = rest[1..].split_at(rest[0].into());
        let folder = self.folder.path();
        write_point(folder, "sender.der", point);
        let derive = [
            "pkeyutl",
            "-derive",
            "-inkey",
            "own.pem",
            "-peerform",
            "DER",
            "-peerkey",
            "sender.der",
        ];
        let shared = openssl(folder, &derive).expect("a shared secret");
        let info = [b"WebPush: info\0".as_slice(), &self.public, point].concat();
        let input = derived(&self.auth, &shared, &info);
        let key = derived(salt, &input, b"Content-Encoding: aes128gcm\0");
        let nonce = derived(salt, &input, b"Content-Encoding: nonce\0");
        let key = UnboundKey::new(&AES_128_GCM, &key[..16]).expect("a key");
        let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).expect("a nonce");
        let mut record = record.to_vec();
        let text = LessSafeKey::new(key).open_in_place(nonce, Aad::empty(), &mut record);
        let text = text.expect("decrypts");
        let end = text.iter().rposition(|byte| *byte != 0);
        let end = end.expect("a delimiter");
        assert_eq!(text[end], 2, "delimiter of the last record");
        text[..end].to_vec()
    }
}

/// First 32 bytes of HKDF-SHA-256 (RFC 5869).
fn derived(salt: &[u8], secret: &[u8], info: &[u8]) -> Vec<u8> {
    let mac = |key: &[u8], parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    };
    mac(&mac(salt, &[secret]), &[info, &[1]])
}

/// Message that was accepted.
#[derive(Debug, Clone)]
pub struct PushedMessage {
    headers: HeaderMap,
    /// Claims of the token, whose signature is valid.
    pub claims: Value,
    /// Key that signed it.
    pub public_key: String,
    pub text: Value,
}

impl PushedMessage {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}

#[derive(Default)]
struct PushInbox {
    browsers: HashMap<String, PushBrowser>,
    answers: VecDeque<(u16, Option<&'static str>)>,
    taken: Vec<PushedMessage>,
    refused: Vec<u16>,
}

#[derive(Clone)]
pub struct PushService {
    pub address: SocketAddr,
    inside: Arc<Mutex<PushInbox>>,
}

impl PushService {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let service = Self {
            address: listener.local_addr().expect("an address"),
            inside: Arc::default(),
        };
        let router = Router::new().fallback(receive).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    /// URL of a subscription of that name.
    pub fn endpoint(&self, name: &str) -> String {
        format!("http://{}/push/{name}", self.address)
    }

    /// Adds a subscription; others are answered with 404.
    pub fn knows(&self, name: &str, browser: &PushBrowser) {
        let mut inside = self.inside.lock().expect("not poisoned");
        inside
            .browsers
            .insert(format!("/push/{name}"), browser.clone());
    }

    /// Refuses the next messages, with that status and `Retry-After`.
    pub fn answers<const N: usize>(&self, next: [(u16, Option<&'static str>); N]) {
        let mut inside = self.inside.lock().expect("not poisoned");
        inside.answers.extend(next);
    }

    /// Messages accepted so far, once there are so many.
    pub async fn taken(&self, count: usize) -> Vec<PushedMessage> {
        super::eventually(&format!("{count} messages"), || {
            let inside = self.inside.lock().expect("not poisoned");
            (inside.taken.len() >= count).then(|| inside.taken.clone())
        })
        .await
    }

    /// Statuses of the refusals so far.
    pub fn refused(&self) -> Vec<u16> {
        self.inside.lock().expect("not poisoned").refused.clone()
    }

    /// Waits for so many refusals.
    pub async fn refusals(&self, count: usize) {
        super::eventually(&format!("{count} refusals"), || {
            (self.refused().len() >= count).then_some(())
        })
        .await;
    }
}

async fn receive(
    State(service): State<PushService>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inside = service.inside.lock().expect("not poisoned");
    if let Some((status, after)) = inside.answers.pop_front() {
        inside.refused.push(status);
        let status = StatusCode::from_u16(status).expect("a status");
        let after = after.map(|after| [("retry-after", after)]);
        return match after {
            Some(after) => (status, after, "refused").into_response(),
            None => (status, "refused").into_response(),
        };
    }
    let Some(browser) = inside.browsers.get(uri.path()).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Required by RFC 8030, section 5.2, and RFC 8291, section 4.
    let ttl = header("ttl").and_then(|ttl| ttl.parse::<u32>().ok());
    if ttl.is_none() || header("content-encoding") != Some("aes128gcm") || body.len() > 4096 {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let Some((claims, public_key)) = header("authorization").and_then(verified) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let text = browser.decrypt(&body);
    inside.taken.push(PushedMessage {
        text: serde_json::from_slice(&text).expect("JSON"),
        claims,
        public_key,
        headers,
    });
    StatusCode::CREATED.into_response()
}

/// Claims of a token with a valid signature, and the key.
fn verified(authorization: &str) -> Option<(Value, String)> {
    let (token, key) = authorization.strip_prefix("vapid t=")?.split_once(", k=")?;
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    if header["alg"] != "ES256" {
        return None;
    }
    let folder = tempfile::tempdir().ok()?;
    write_point(folder.path(), "key.der", &decode(key)?);
    std::fs::write(folder.path().join("signed"), signed).ok()?;
    let signature = der_signature(&decode(signature)?)?;
    std::fs::write(folder.path().join("signature"), signature).ok()?;
    let verify = [
        "dgst",
        "-sha256",
        "-keyform",
        "DER",
        "-verify",
        "key.der",
        "-signature",
        "signature",
        "signed",
    ];
    openssl(folder.path(), &verify)?;
    let claims = serde_json::from_slice(&decode(claims)?).ok()?;
    Some((claims, key.to_owned()))
}

/// Signature of a token (RFC 7518, section 3.4) as DER (RFC 3279, section
/// 2.2.3).
fn der_signature(fixed: &[u8]) -> Option<Vec<u8>> {
    if fixed.len() != 64 {
        return None;
    }
    let integers = fixed.chunks(32).flat_map(|number| {
        let first = number.iter().position(|byte| *byte != 0).unwrap_or(31);
        let mut digits = number[first..].to_vec();
        // A first bit would be the sign.
        if digits[0] & 0x80 != 0 {
            digits.insert(0, 0);
        }
        [vec![2, digits.len() as u8], digits].concat()
    });
    let integers: Vec<u8> = integers.collect();
    Some([vec![0x30, integers.len() as u8], integers].concat())
}
