use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::pair::Files;
use super::watch::Watch;
use super::*;

/// A certificate for `tower.example` and its key, as PEM.
fn pair(until: (i32, u8, u8)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names = ["tower.example".to_owned(), "192.0.2.7".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn settings(folder: &Path) -> TlsSettings {
    TlsSettings {
        certificate: folder.join("fullchain.pem"),
        key: folder.join("privkey.pem"),
    }
}

fn write(settings: &TlsSettings, certificate: &str, key: &str) {
    fs::write(&settings.certificate, certificate).unwrap();
    fs::write(&settings.key, key).unwrap();
}

#[test]
fn pair_states_names_and_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let (certificate, key) = pair((4096, 1, 1));
    write(&settings, &certificate, &key);
    let tls = Tls::open(settings.clone()).unwrap();
    let certificate = tls.certificate();
    assert_eq!(certificate.names, ["tower.example", "192.0.2.7"]);
    assert!(certificate.days_left() > 365_000);
    assert!(!certificate.ends_soon());

    let (certificate, key) = pair((2021, 1, 1));
    write(&settings, &certificate, &key);
    let over = Tls::open(settings).unwrap();
    assert!(over.certificate().is_over());
    let text = over.certificate().to_string();
    assert_eq!(text, "for tower.example, 192.0.2.7, expired on 2021-01-01");
}

#[test]
fn fault_names_the_file_and_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let (certificate, key) = pair((4096, 1, 1));
    let (_, other) = pair((4096, 1, 1));
    let damaged = certificate.replace("MII", "AAA");
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let cut = &certificate[..certificate.len() / 2];
    let large = "#".repeat(2 << 20);
    let cases = [
        ("", "", "fullchain.pem: there is no PEM certificate in it"),
        (&key, &key, "fullchain.pem: there is no PEM certificate"),
        (cut, &key, "fullchain.pem: is damaged PEM"),
        (&damaged, &key, "fullchain.pem: its first certificate is"),
        (&large, &key, "fullchain.pem: is larger than 1048576 bytes"),
        (&certificate, "", "privkey.pem: there is no PEM private key"),
        (&certificate, &encrypted, "privkey.pem: is encrypted"),
        (&certificate, &other, "privkey.pem: is not the key of"),
    ];
    let missing = Tls::open(settings.clone()).unwrap_err().to_string();
    assert!(
        missing.ends_with("fullchain.pem: there is no such file"),
        "{missing}"
    );
    for (certificate, key, expected) in cases {
        write(&settings, certificate, key);
        let error = Tls::open(settings.clone()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, expected {expected}");
        assert!(error.starts_with("tls."), "{error}");
    }
}

#[test]
fn changed_files_are_reloaded_once_settled() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let (certificate, key) = pair((4096, 1, 1));
    write(&settings, &certificate, &key);
    let Tls { mut watch, .. } = Tls::open(settings.clone()).unwrap();
    let poll = |watch: &mut Watch| watch.poll(Files::read(&settings));
    assert!(poll(&mut watch).is_none(), "nothing has changed");

    // Files replaced one after the other: no error for the moment between.
    let (newer, its_key) = pair((4096, 1, 1));
    fs::write(&settings.certificate, &newer).unwrap();
    assert!(poll(&mut watch).is_none());
    fs::write(&settings.key, &its_key).unwrap();
    assert!(poll(&mut watch).is_none());
    assert!(poll(&mut watch).unwrap().is_ok());
    assert!(poll(&mut watch).is_none(), "reported once");

    // A half-finished replacement is reported once.
    fs::write(&settings.certificate, &certificate).unwrap();
    assert!(poll(&mut watch).is_none());
    let error = poll(&mut watch).unwrap().err().unwrap();
    assert!(error.to_string().contains("is not the key of"), "{error}");
    assert!(poll(&mut watch).is_none());
    fs::remove_file(&settings.key).unwrap();
    assert!(poll(&mut watch).is_none());
    let error = poll(&mut watch).unwrap().err().unwrap();
    assert!(error.to_string().contains("no such file"), "{error}");

    // The repaired pair is in use.
    write(&settings, &newer, &its_key);
    assert!(poll(&mut watch).is_none());
    assert!(poll(&mut watch).is_none());
}
