//! Secrets found by the syntax of commands, statements and configuration files.

/// Kind and pattern of each; the group `value` is the secret.
pub(super) const PATTERNS: [(&str, &str); 14] = [
    // crypt(3): $6$salt$hash, as in /etc/shadow, htpasswd and user tables.
    (
        "password hash",
        r"(?P<value>\$(?:apr1|argon2[a-z]*|pbkdf2[a-z0-9-]*|scrypt|bcrypt|[a-z]|[0-9][a-z]?|[a-z0-9]{1,2})\$[0-9A-Za-z./$=,+-]{8,})",
    ),
    // .pgpass: host:port:database:user:x
    (
        "password",
        r"(?i)(?:^|\s)(?:[a-z][\w.-]*|\*):(?:[0-9]{4,5}|\*):(?:[a-z][\w-]*|\*):(?:[a-z][\w.-]*|\*):(?P<value>[^\s:]{4,})(?:\s{2}|$)",
    ),
    // .netrc, and other lines with both login and password.
    (
        "password",
        r#"(?i)\b(?:login|user|username|account|connect) \S+ (?:password|passwd|pass|pw) ["']?(?P<value>[^\s"']{3,})"#,
    ),
    // smbclient -U user%x, rpcclient, mount -o password=x (a setting)
    ("password", r"\s-U\s?[\w.\\@-]+%(?P<value>[^\s]{3,})"),
    // net user ana x /add
    (
        "password",
        r"(?i)\bnet1?\s+user\s+\S+\s+(?P<value>[^\s/*][^\s]{3,})(?:\s+/|\s*$)",
    ),
    // echo user:x | chpasswd, echo x | passwd --stdin
    (
        "password",
        r#"(?:echo|printf)\s+(?:-[ne]\s+)?["']?[\w.-]+:(?P<value>[^\s"'|]{3,})["']?\s*\|\s*(?:sudo\s+)?chpasswd"#,
    ),
    (
        "password",
        r#"(?:echo|printf)\s+(?:-[ne]\s+)?["']?(?P<value>[^\s"'|]{3,})["']?\s*\|\s*(?:sudo\s+)?(?:passwd\b|cryptsetup|docker\s+login|podman\s+login|su\b|sudo\s+-S)"#,
    ),
    // SQL: IDENTIFIED BY 'x', PASSWORD 'x'
    (
        "password",
        r#"(?i)\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?["'](?P<value>[^"']{3,})"#,
    ),
    (
        "password",
        r#"(?i)\bpassword\s+(?:for\s+\S+\s+)?["'](?P<value>[^"'\s]{3,})["']"#,
    ),
    (
        "password",
        r#"(?i)\bsecure-?string\s+(?:-string\s+)?["'](?P<value>[^"']{3,})["']"#,
    ),
    ("password", r"\bwpa_passphrase\s+\S+\s+(?P<value>\S{8,63})"),
    // Session cookies.
    (
        "session cookie",
        r"(?i)\bcookie:\s*[^=;\s]{1,40}=(?P<value>[^;\s]{8,})",
    ),
    (
        "session cookie",
        r"(?i)\b(?:[a-z]*sess(?:ion)?(?:_?id)?|sid|connect\.sid|remember_token|csrf_?token|xsrf-token)=(?P<value>[^;\s&]{10,})",
    ),
    // Environment variables named as a secret by their last part, as in DB_PSK.
    (
        "password or token",
        r#"\b[A-Z][A-Z0-9]*_(?:AUTH|PW|PASSPHRASE|CREDS?|CREDENTIALS?|PSK|PEPPER|SALT|IV|SEED|PRIVATE)\s?=\s?["']?(?P<value>[^\s"',;&/][^\s"',;&]{3,})"#,
    ),
];
