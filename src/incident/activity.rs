//! What is going on, apart from the words it is told in: a failed login by any
//! name is `brute_force`.
//!
//! A phrase is matched against lower-case text in which everything but letters
//! and digits became one blank, at the start of a word. What the list does not
//! know is compared by its quotes and entities alone.

/// An activity, the phrases that tell it, the ATT&CK techniques that mean it.
type Entry = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const ENTRIES: &[Entry] = &[
    (
        "brute_force",
        &[
            "failed password",
            "failed login",
            "failed logon",
            "login failure",
            "logon failure",
            "brute force",
            "bruteforce",
            "password spray",
            "credential stuffing",
            "authentication fail",
            "failed auth",
            "invalid password",
            "accepted password",
            "password guess",
            "4625 ",
        ],
        &["T1110"],
    ),
    (
        "malicious_shell",
        &[
            "dev tcp",
            "reverse shell",
            "bind shell",
            "bash i ",
            "nc e ",
            "ncat e ",
            "meterpreter",
            "sh bash ",
            "sh sh ",
            "curl pipe",
            "piped to bash",
            "piped into bash",
            "download and execute",
            "remote script",
        ],
        &[],
    ),
    (
        "encoded_powershell",
        &[
            "encodedcommand",
            "encoded powershell",
            "powershell exe nop",
            "powershell nop",
            "powershell enc",
            "obfuscated powershell",
        ],
        &["T1059.001", "T1027"],
    ),
    (
        "privilege_escalation",
        &[
            "privilege escalation",
            "privesc",
            "became root",
            "command bin bash",
            "usermod ag sudo",
            "sudoers",
            "escalated",
            "escalation to root",
            "added to administrators",
            "domain admins",
            "root shell",
        ],
        &["T1548", "T1068"],
    ),
    (
        "log_tampering",
        &[
            "log cleared",
            "logs cleared",
            "cleared log",
            "wevtutil cl",
            "logging disabled",
            "audit log was",
            "history c ",
        ],
        &["T1070"],
    ),
    (
        "new_account",
        &[
            "useradd",
            "new user created",
            "account created",
            "new administrator",
            "user was created",
        ],
        &["T1136"],
    ),
    (
        "persistence",
        &[
            "scheduled task",
            "crontab",
            "new cron",
            "registry run key",
            "startup item",
            "web shell",
            "webshell",
        ],
        &["T1053", "T1505", "T1547"],
    ),
    (
        "lateral_movement",
        &["psexec", "lateral movement", "pass the hash", "wmiexec"],
        &["T1021", "T1550"],
    ),
    (
        "credential_dumping",
        &[
            "mimikatz",
            "lsass",
            "credential dump",
            "kerberoast",
            "ntds dit",
        ],
        &["T1003", "T1558"],
    ),
    (
        "exfiltration",
        &[
            "exfiltrat",
            "large outbound",
            "unusual egress",
            "data transfer to",
        ],
        &["T1041", "T1048", "T1567"],
    ),
    (
        "beaconing",
        &[
            "beacon",
            "command and control",
            "cobalt strike",
            "c2 server",
            "c2 traffic",
        ],
        &["T1071"],
    ),
    (
        "scanning",
        &[
            "port scan",
            "nmap",
            "masscan",
            "network scan",
            "vulnerability scan",
        ],
        &["T1046", "T1595"],
    ),
    (
        "impossible_travel",
        &[
            "impossible travel",
            "unusual country",
            "unusual location",
            "atypical travel",
            "unfamiliar sign in",
        ],
        &["T1078"],
    ),
    (
        "ransomware",
        &["ransom", "files encrypted", "vssadmin delete"],
        &["T1486", "T1490"],
    ),
    (
        "cryptomining",
        &["xmrig", "crypto min", "cryptomin", "coinminer"],
        &["T1496"],
    ),
    (
        "sql_injection",
        &["sql injection", "sqli", "union select", "or 1 1"],
        &[],
    ),
    (
        "cross_site_scripting",
        &["cross site scripting", "xss", "script alert"],
        &[],
    ),
    (
        "path_traversal",
        &["path traversal", "directory traversal", "etc passwd"],
        &[],
    ),
    (
        "denial_of_service",
        &["ddos", "denial of service", "syn flood"],
        &["T1498", "T1499"],
    ),
    (
        "phishing",
        &["phish", "credential harvest", "spoofed sender"],
        &["T1566"],
    ),
    (
        "malware_found",
        &["malware", "trojan", "quarantined", "threat detected"],
        &["T1204"],
    ),
    (
        "secret_exposed",
        &[
            "aws secret access key",
            "aws access key",
            "akia",
            "private key",
            "api key",
            "leaked",
            "exposed secret",
            "secret exposed",
            "secrets exposed",
            "credentials exposed",
            "credential exposed",
            "exposed credential",
            "hardcoded",
            "plain text password",
            "password in plain",
            "secret in plain",
            "secrets in plain",
            "access key shown",
            "environment dump",
            "token in plain",
        ],
        &["T1552"],
    ),
    (
        "personal_data",
        &[
            "personal data",
            "pii ",
            "social security",
            "credit card",
            "card number",
            "passport number",
        ],
        &[],
    ),
    (
        "public_storage",
        &[
            "public read",
            "public bucket",
            "bucket is public",
            "publicly accessible",
            "publicly readable",
            "bucket allows public",
            "world readable",
            "principal ",
        ],
        &["T1530"],
    ),
    ("missing_mfa", &["mfa ", "multi factor", "two factor"], &[]),
    (
        "open_port",
        &[
            "is open to",
            "open to the internet",
            "open to the world",
            "open to the whole",
            "exposed to the internet",
            "0 0 0 0 0",
        ],
        &[],
    ),
    (
        "broad_permissions",
        &[
            "administratoraccess",
            "wildcard",
            "overly permissive",
            "least privilege",
            "iam policy",
        ],
        &[],
    ),
    (
        "unencrypted",
        &[
            "unencrypted",
            "not encrypted",
            "encryption is off",
            "encryption disabled",
        ],
        &[],
    ),
    (
        "compliance_score",
        &["compliance score", "threatscore", "posture score"],
        &[],
    ),
    (
        "certificate",
        &[
            "certificate expir",
            "cert expir",
            "tls cert",
            "ssl cert",
            "certificate of",
        ],
        &[],
    ),
    (
        "known_vulnerability",
        &["cve ", "vulnerab", "exploit"],
        &["T1190", "T1195"],
    ),
    (
        "end_of_life",
        &["end of life", "eol ", "unsupported version"],
        &[],
    ),
    (
        "error_rate",
        &[
            "5xx",
            "error rate",
            "fault rate",
            "http 500",
            "server error",
        ],
        &[],
    ),
    ("error_budget", &["error budget", "burn rate", "slo "], &[]),
    (
        "latency",
        &["p99", "p95", "latency", "slow response", "response time"],
        &[],
    ),
    (
        "crash_loop",
        &[
            "crashloop",
            "crash loop",
            "back off restarting",
            "keeps restarting",
            "restart count",
        ],
        &[],
    ),
    (
        "out_of_memory",
        &[
            "oomkill",
            "oom kill",
            "out of memory",
            "runs out of memory",
            "exit code 137",
        ],
        &[],
    ),
    (
        "cpu_load",
        &[
            "high cpu",
            "cpu usage",
            "cpu at",
            "load average",
            "cpu throttl",
        ],
        &[],
    ),
    (
        "disk_space",
        &[
            "diskpressure",
            "disk pressure",
            "disk full",
            "no space left",
            "disk usage",
            "disk is",
        ],
        &[],
    ),
    ("backlog", &["queue depth", "backlog", "consumer lag"], &[]),
    ("image_pull", &["imagepullbackoff", "errimagepull"], &[]),
    (
        "node_down",
        &[
            "notready",
            "node not ready",
            "node down",
            "host unreachable",
        ],
        &[],
    ),
    (
        "failed_deployment",
        &[
            "deployment failed",
            "failed deployment",
            "rollback",
            "rolled back",
            "build failed",
            "migration failed",
        ],
        &[],
    ),
    (
        "failed_health_check",
        &["health check failed", "failed health check", "unhealthy"],
        &[],
    ),
    (
        "timeouts",
        &[
            "timed out",
            "timeout",
            "deadline exceeded",
            "connection refused",
        ],
        &[],
    ),
    (
        "token_usage",
        &[
            "tokens min",
            "token use",
            "token usage",
            "token consumption",
            "tokens per minute",
            "token spike",
        ],
        &[],
    ),
    (
        "prompt_injection",
        &[
            "ignore all previous",
            "ignore previous",
            "prompt injection",
            "ignore your instructions",
            "reveal your system prompt",
        ],
        &[],
    ),
    (
        "jailbreak",
        &[
            "jailbreak",
            "do anything now",
            "you are dan",
            "dan prompt",
            "developer mode",
        ],
        &[],
    ),
    (
        "model_extraction",
        &["model extraction", "near identical prompts"],
        &[],
    ),
    (
        "single_point_of_failure",
        &[
            "single point of failure",
            "no replica",
            "single az",
            "no standby",
            "no failover",
        ],
        &[],
    ),
    (
        "no_backup",
        &[
            "no backup",
            "backups configured",
            "without backup",
            "backup missing",
            "missing backup",
            "backup is missing",
        ],
        &[],
    ),
    (
        "single_replica",
        &[
            "single replica",
            "one replica",
            "only replica",
            "disruption budget",
        ],
        &[],
    ),
    (
        "no_limits",
        &[
            "without limits",
            "no limits",
            "resource limits",
            "liveness probe",
        ],
        &[],
    ),
];

/// The activity a text tells first; of two that begin at the same place, the
/// longer phrase.
pub(super) fn of_text(text: &str) -> Option<&'static str> {
    let text = words(text);
    let mut best: Option<(usize, usize, &str)> = None;
    for (name, phrases, _) in ENTRIES {
        for phrase in *phrases {
            let Some(at) = find(&text, phrase) else {
                continue;
            };
            let better = best.is_none_or(|(place, length, _)| {
                at < place || (at == place && phrase.len() > length)
            });
            if better {
                best = Some((at, phrase.len(), *name));
            }
        }
    }
    best.map(|(_, _, name)| name)
}

/// Whether the one who attacks is the one that is connected to: a shell, a
/// beacon and stolen data go out from the victim.
pub(super) fn goes_out(activity: &str) -> bool {
    [
        "malicious_shell",
        "exfiltration",
        "beaconing",
        "cryptomining",
        "phishing",
    ]
    .contains(&activity)
}

/// The activity an ATT&CK technique means, sub-techniques included.
pub(super) fn of_technique(technique: &str) -> Option<&'static str> {
    let parent = technique.split('.').next().unwrap_or(technique);
    let known = |wanted: &str| {
        let entry = ENTRIES.iter().find(|(_, _, ids)| ids.contains(&wanted));
        entry.map(|(name, _, _)| *name)
    };
    known(technique).or_else(|| known(parent))
}

/// Blank, word, blank, word, ..., blank.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 2);
    words.push(' ');
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            words.push(c);
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

/// Where a phrase stands at the start of a word.
fn find(text: &str, phrase: &str) -> Option<usize> {
    let starts = |at: &usize| text.as_bytes().get(at.wrapping_sub(1)) == Some(&b' ');
    text.match_indices(phrase).map(|(at, _)| at).find(starts)
}

#[cfg(test)]
mod tests;
