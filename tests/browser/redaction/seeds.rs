//! Realistic secrets without any use, generated at each run from one seed: none
//! is in the repository, where a scanner would report it.

/// SplitMix64 (Steele, Lea, Flood 2014), reproducible on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn letters(&mut self, alphabet: &str, count: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..count).map(|_| *self.pick(&alphabet)).collect()
    }
}

const DIGITS: &str = "0123456789";
const HEX: &str = "0123456789abcdef";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const MIXED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Punctuation of passwords that needs no escaping in a shell or a URL.
const MARKS: &str = "!*+-_=~.";

/// Context of a secret: text before and after it in a shell, in a file, in a
/// sentence; and the label of its cell in a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) shell: (&'static str, &'static str),
    pub(crate) file: (&'static str, &'static str),
    pub(crate) sentence: (&'static str, &'static str),
    pub(crate) label: &'static str,
}

#[derive(Debug, Clone)]
pub(crate) struct Seed {
    pub(crate) id: usize,
    pub(crate) kind: &'static str,
    /// Several lines for a private key.
    pub(crate) value: String,
    pub(crate) setting: Setting,
}

type Make = fn(&mut Dice) -> String;

/// Every kind of secret with its generator and contexts.
const KINDS: [(&str, Make, &[Setting]); 17] = [
    (
        "AWS access key",
        |dice| format!("{}{}", ["AK", "IA"].concat(), dice.letters(UPPER, 16)),
        &[
            Setting {
                shell: ("export AWS_ACCESS_KEY_ID=", ""),
                file: ("aws_access_key_id = ", ""),
                sentence: ("the new deploy key is ", " since this morning"),
                label: "access key id",
            },
            Setting {
                shell: (
                    "aws iam delete-access-key --access-key-id ",
                    " --user-name ci",
                ),
                file: ("\"AccessKeyId\": \"", "\","),
                sentence: ("access denied for key ", " in eu-west-1"),
                label: "ci-deployer",
            },
        ],
    ),
    (
        "AWS secret key",
        |dice| dice.letters(BASE64, 40),
        &[
            Setting {
                shell: ("export AWS_SECRET_ACCESS_KEY=", ""),
                file: ("aws_secret_access_key = ", ""),
                sentence: ("aws secret access key: ", ""),
                label: "AWS secret access key",
            },
            Setting {
                shell: (
                    "aws configure set aws_secret_access_key ",
                    " --profile prod",
                ),
                file: ("\"SecretAccessKey\": \"", "\","),
                sentence: ("it prints SecretAccessKey=", " to the log"),
                label: "secret access key",
            },
        ],
    ),
    (
        "Google key",
        |dice| format!("{}{}", ["AI", "za"].concat(), dice.letters(BASE64_URL, 35)),
        &[Setting {
            shell: (
                "curl 'https://maps.example/geocode/json?address=Graz&key=",
                "'",
            ),
            file: ("googleMapsKey: \"", "\","),
            sentence: ("please use ", " for the maps on staging"),
            label: "maps browser key",
        }],
    ),
    (
        "Google token",
        |dice| {
            if dice.below(2) == 0 {
                format!(
                    "{}.a0{}",
                    ["ya", "29"].concat(),
                    dice.letters(BASE64_URL, 90)
                )
            } else {
                format!(
                    "{}{}",
                    ["GOC", "SPX-"].concat(),
                    dice.letters(BASE64_URL, 28)
                )
            }
        },
        &[Setting {
            shell: ("export CLOUDSDK_AUTH=", ""),
            file: ("\"client_secret\": \"", "\","),
            sentence: ("gcloud gave me ", " just now"),
            label: "oauth client",
        }],
    ),
    (
        "Azure storage key",
        |dice| format!("{}==", dice.letters(BASE64, 86)),
        &[Setting {
            shell: (
                "az storage blob list -c logs --account-name fernhill --account-key ",
                "",
            ),
            file: (
                "AccountName=fernhill;AccountKey=",
                ";EndpointSuffix=core.windows.example",
            ),
            sentence: ("storage key 1 is ", ""),
            label: "key1",
        }],
    ),
    (
        "Azure client secret",
        |dice| {
            let (start, rest) = (dice.letters(MIXED, 3), dice.letters(MIXED, 34));
            format!("{start}8Q~{rest}")
        },
        &[Setting {
            shell: ("export AZURE_CLIENT_SECRET=", ""),
            file: ("client_secret = \"", "\""),
            sentence: ("the app registration has ", " until March"),
            label: "billing-app",
        }],
    ),
    (
        "GitHub token",
        |dice| {
            if dice.below(3) == 0 {
                let (head, tail) = (dice.letters(MIXED, 22), dice.letters(MIXED, 59));
                format!("{}_{head}_{tail}", ["github", "_pat"].concat())
            } else {
                format!("{}{}", ["gh", "p_"].concat(), dice.letters(MIXED, 36))
            }
        },
        &[
            Setting {
                shell: ("git clone https://", "@git.example/fernhill/orders.git"),
                file: ("GITHUB_TOKEN: ", ""),
                sentence: ("pushed with ", " as the bot"),
                label: "release bot",
            },
            Setting {
                shell: ("echo ", " | gh auth login --with-token"),
                file: ("//npm.example/:_authToken=", ""),
                sentence: ("remote: invalid credentials for ", " (expired)"),
                label: "GITHUB_TOKEN",
            },
        ],
    ),
    (
        "GitLab token",
        |dice| {
            format!(
                "{}{}",
                ["gl", "pat-"].concat(),
                dice.letters(BASE64_URL, 20)
            )
        },
        &[Setting {
            shell: (
                "curl --header 'PRIVATE-TOKEN: ",
                "' https://gitlab.example/api/v4/projects",
            ),
            file: ("CI_API_TOKEN: ", ""),
            sentence: ("my runner uses ", " and it works"),
            label: "runner",
        }],
    ),
    (
        "Slack token",
        |dice| {
            let (team, bot) = (dice.letters(DIGITS, 12), dice.letters(DIGITS, 13));
            format!(
                "{}-{team}-{bot}-{}",
                ["xo", "xb"].concat(),
                dice.letters(MIXED, 24)
            )
        },
        &[Setting {
            shell: ("export SLACK_BOT_TOKEN=", ""),
            file: ("slack_token: '", "'"),
            sentence: ("bot token ", " is in the vault now"),
            label: "alert bot",
        }],
    ),
    (
        "Slack webhook",
        |dice| {
            let (team, hook) = (dice.letters(UPPER, 8), dice.letters(UPPER, 10));
            format!("T{team}/B{hook}/{}", dice.letters(MIXED, 24))
        },
        &[Setting {
            shell: ("curl -d @alert.json https://hooks.slack.com/services/", ""),
            file: ("webhook: https://hooks.slack.com/services/", ""),
            sentence: ("post it to https://hooks.slack.com/services/", " please"),
            label: "https://hooks.slack.com/services/",
        }],
    ),
    (
        "OpenAI key",
        |dice| match dice.below(2) {
            0 => format!("{}-{}", ["s", "k"].concat(), dice.letters(MIXED, 48)),
            _ => format!(
                "{}-proj-{}",
                ["s", "k"].concat(),
                dice.letters(BASE64_URL, 74)
            ),
        },
        &[Setting {
            shell: ("export OPENAI_API_KEY=", ""),
            file: ("openai_key = '", "'"),
            sentence: ("Incorrect key provided: ", "."),
            label: "summaries",
        }],
    ),
    (
        "JSON web token",
        |dice| {
            let (claims, sign) = (dice.below(160) + 90, dice.below(2) * 43 + 43);
            let claims = dice.letters(BASE64_URL, claims);
            let header = ["ey", "JhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"].concat();
            format!(
                "{header}.{}{claims}.{}",
                ["ey", "J"].concat(),
                dice.letters(BASE64_URL, sign)
            )
        },
        &[
            Setting {
                shell: (
                    "curl -H 'Authorization: Bearer ",
                    "' https://api.example/orders",
                ),
                file: ("session: ", ""),
                sentence: ("my session is ", " if you want to try"),
                label: "id_token",
            },
            Setting {
                shell: ("export KUBE_TOKEN=", ""),
                file: ("    token: ", ""),
                sentence: ("kubectl create token gave ", ""),
                label: "argocd",
            },
        ],
    ),
    (
        "private key",
        |dice| {
            let lines = dice.below(5) + 4;
            let mut body: Vec<_> = (0..lines).map(|_| dice.letters(BASE64, 64)).collect();
            let rest = dice.below(40) + 16;
            body.push(format!("{}=", dice.letters(BASE64, rest)));
            body[0].replace_range(0..10, ["MIIEvQ", "IBAD"].concat().as_str());
            body.join("\n")
        },
        &[Setting {
            shell: (
                "-----BEGIN OPENSSH PRIVATE KEY-----",
                "-----END OPENSSH PRIVATE KEY-----",
            ),
            file: (
                "-----BEGIN RSA PRIVATE KEY-----",
                "-----END RSA PRIVATE KEY-----",
            ),
            sentence: ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"),
            label: "-----BEGIN EC PRIVATE KEY-----",
        }],
    ),
    (
        "password in a URL",
        password,
        &[
            Setting {
                shell: ("psql postgres://app:", "@db1.internal:5432/orders"),
                file: ("DATABASE_URL=postgres://orders:", "@db1.internal/orders"),
                sentence: ("it tries mysql://root:", "@10.0.4.17/shop and fails"),
                label: "postgres://reader:|@db2.internal/shop",
            },
            Setting {
                shell: ("redis-cli -u redis://:", "@cache.internal:6379 ping"),
                file: ("broker: amqp://worker:", "@mq.internal:5672/"),
                sentence: ("clone it from https://deploy:", "@git.example/infra.git"),
                label: "mongodb://audit:|@mongo.internal/logs",
            },
        ],
    ),
    (
        "password on a command line",
        password,
        &[
            Setting {
                shell: ("mysql -h db1 -u root -p", " orders < dump.sql"),
                file: (
                    "ExecStart=/usr/bin/mysqldump --password=",
                    " --all-databases",
                ),
                sentence: ("run curl -u admin:", " https://grafana.example/api/health"),
                label: "curl -u admin:",
            },
            Setting {
                shell: ("curl -u admin:", " https://grafana.example/api/health"),
                file: ("script: sshpass -p '", "' ssh ops@bastion"),
                sentence: ("ran: sshpass -p ", " ssh ops@bastion uptime"),
                label: "sshpass -p ",
            },
            Setting {
                shell: ("vault login -method=userpass username=ops password=", ""),
                file: ("command: redis-server --requirepass ", ""),
                sentence: ("CMD mysqldump -u backup --password=", " orders"),
                label: "--password ",
            },
            Setting {
                shell: ("PGPASSWORD=", " psql -h db1 -U app orders"),
                file: ("run: docker login -u ci -p ", " registry.example"),
                sentence: ("docker login -u ci -p ", " registry.example works"),
                label: "docker login -u ci -p ",
            },
        ],
    ),
    (
        "value of a setting",
        |dice| match dice.below(3) {
            0 => dice.letters(HEX, 40),
            1 => dice.letters(MIXED, 22),
            _ => password(dice),
        },
        &[
            Setting {
                shell: ("export DB_PASSWORD=", ""),
                file: ("DB_PASSWORD=", ""),
                sentence: ("the password: ", ""),
                label: "password",
            },
            Setting {
                shell: (
                    "kubectl create secret generic db --from-literal=password=",
                    "",
                ),
                file: ("spring.datasource.password=", ""),
                sentence: ("started with ADMIN_TOKEN=", " (please rotate)"),
                label: "api token",
            },
            Setting {
                shell: ("echo \"SECRET_KEY=", "\" >> .env"),
                file: ("    password: \"", "\""),
                sentence: ("wifi passphrase: ", ""),
                label: "DB_PASSWORD",
            },
            Setting {
                shell: ("export SMTP_PASS='", "'"),
                file: ("  \"api_key\": \"", "\","),
                sentence: ("config: api_key=", " region=eu"),
                label: "signing key",
            },
        ],
    ),
    (
        "card number",
        |dice| {
            let start = *dice.pick(&["4", "51", "54"]);
            let digits = with_check(&format!(
                "{start}{}",
                dice.letters(DIGITS, 15 - start.len())
            ));
            let gap = *dice.pick(&[" ", "-", ""]);
            let groups: Vec<_> = (0..4).map(|at| &digits[at * 4..at * 4 + 4]).collect();
            groups.join(gap)
        },
        &[Setting {
            shell: ("grep -rn '", "' /var/log/payments"),
            file: ("test_card: ", ""),
            sentence: ("card ", " was charged 49.90 EUR"),
            label: "card on file",
        }],
    ),
];

/// Password: words and a number as people choose it, or letters, digits and
/// punctuation as a generator does.
fn password(dice: &mut Dice) -> String {
    const WORDS: [&str; 10] = [
        "harbour", "Lantern", "copper", "Meadow", "violet", "Thunder", "pepper", "Glacier",
        "walnut", "Falcon",
    ];
    if dice.below(3) == 0 {
        let (one, other) = (*dice.pick(&WORDS), *dice.pick(&WORDS));
        return format!("{one}-{other}{}", dice.letters(DIGITS, 2));
    }
    let length = dice.below(7) + 10;
    let marks = [MIXED, MIXED, MARKS];
    (0..length)
        .map(|at| {
            let from = if at == 0 || at + 1 == length {
                MIXED
            } else {
                *dice.pick(&marks)
            };
            dice.letters(from, 1)
        })
        .collect()
}

/// Appends the check digit (ISO/IEC 7812-1, annex B).
fn with_check(digits: &str) -> String {
    let doubled = |at: usize, digit: u32| match (at % 2, digit * 2) {
        (1, _) => digit,
        (_, double) if double > 9 => double - 9,
        (_, double) => double,
    };
    let digit = |c: char| c.to_digit(10).unwrap_or_default();
    let sum: u32 = digits
        .chars()
        .rev()
        .map(digit)
        .enumerate()
        .map(|(at, d)| doubled(at, d))
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// Generates so many secrets, the kinds in turn.
pub(crate) fn seeds(count: usize, dice: &mut Dice) -> Vec<Seed> {
    (0..count)
        .map(|id| {
            let (kind, make, settings) = KINDS[id % KINDS.len()];
            let setting = settings[id / KINDS.len() % settings.len()];
            Seed {
                id,
                kind,
                value: make(dice),
                setting,
            }
        })
        .collect()
}

pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, _, _)| *kind)
}
