//! Words that name a secret, by language: the twenty most spoken ones and most
//! of Europe's.
//!
//! Written in normal spelling; `labels` normalises them for comparison.

/// Kind of value that a label announces, which determines its expected format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LabelKind {
    /// Chosen by a person: anything, even a plain word.
    Password,
    /// A few digits.
    Pin,
    /// Machine-generated: a token, a key, a salt.
    Key,
    /// Row of plain words.
    Phrase,
    /// Single-use code, sent or shown to be typed in.
    Code,
    /// URL that grants access by itself.
    Link,
    Card,
}

use LabelKind::{Card, Code, Key, Link, Password, Phrase, Pin};

/// Language, kind of the value, and its labels. A language marked with `~` adds
/// endings to them.
pub(super) const WORDS: &[(&str, LabelKind, &str)] = &[
    // All languages.
    (
        "en",
        Password,
        "password, pass word, passwd, passcode, pass code, passphrase, pass phrase, pwd, pw, psw, pass, pswd, credentials, credential",
    ),
    (
        "en",
        Pin,
        "pin, pin code, pin number, puk, puk code, cvv, cvc, cvv2, cvc2, card security code",
    ),
    (
        "en",
        Key,
        "secret, client secret, shared secret, app secret, secret key, secret value, secret access key, secret token, token, auth token, authentication token, access token, refresh token, bearer token, session token, id token, api token, bot token, api key, api secret, private key, access key, account key, shared access key, signing key, signing secret, encryption key, decryption key, master key, webhook secret, license key, licence key, product key, activation key, session id, session cookie, session key, salt, pepper, psk, pre shared key, network key, totp secret, totp seed, setup key, authenticator key, hmac key, hmac secret, secret key base, wpa key, wpa2 key, wpa3 key, wi fi key, wlan key, wep key, network security key",
    ),
    (
        "en",
        Phrase,
        "recovery phrase, seed phrase, secret phrase, secret recovery phrase, backup phrase, mnemonic, mnemonic phrase, mnemonic words, recovery words, seed words, wallet seed, recovery seed",
    ),
    (
        "en",
        Code,
        "otp, one time code, one time password, one time passcode, one time pin, verification code, security code, confirmation code, authentication code, authenticator code, auth code, authorization code, access code, login code, log in code, sign in code, signin code, two factor code, 2fa code, mfa code, sms code, backup code, recovery code, recovery key, reset code, unlock code, pairing code, device code, activation code, invite code, door code, gate code, entry code, alarm code, safe code, lock code, wi fi code, guest code, keypad code, use code, use the code, enter code, enter the code, enter this code, your code, this code, following code, code below",
    ),
    (
        "en",
        Link,
        "share link, sharing link, shared link, invite link, invitation link, reset link, password reset link, magic link, webhook url, webhook, connection string, database url, sas url, presigned url, dsn",
    ),
    (
        "en",
        Card,
        "card number, card no, credit card, credit card number, debit card, card on file, pan",
    ),
    // The other nineteen most spoken languages.
    ("zh", Password, "密码, 密碼, 口令, 通行码"),
    ("zh", Pin, "pin码, 安全码"),
    (
        "zh",
        Key,
        "密钥, 密鑰, 金鑰, 私钥, 私鑰, 令牌, 访问令牌, 访问密钥",
    ),
    (
        "zh",
        Phrase,
        "助记词, 助記詞, 恢复短语, 恢復短語, 恢复词, 種子詞, 种子短语",
    ),
    (
        "zh",
        Code,
        "验证码, 驗證碼, 校验码, 动态码, 動態密碼, 一次性密码, 恢复码, 恢复代码, 备用码, 提取码, 访问码, 激活码, 邀请码",
    ),
    (
        "zh",
        Link,
        "共享链接, 分享链接, 分享連結, 邀请链接, 重置链接",
    ),
    ("zh", Card, "卡号, 卡號, 银行卡号, 信用卡号"),
    ("hi", Password, "पासवर्ड, कूटशब्द, पासकोड"),
    ("hi", Pin, "पिन"),
    ("hi", Key, "टोकन, गुप्त कुंजी, एपीआई कुंजी, गोपनीय कुंजी"),
    ("hi", Phrase, "रिकवरी वाक्यांश, पुनर्प्राप्ति वाक्यांश, सीड वाक्यांश"),
    ("hi", Code, "सत्यापन कोड, ओटीपी, सुरक्षा कोड, बैकअप कोड"),
    (
        "es",
        Password,
        "contraseña, contrasenya, clave, clave de acceso, palabra de paso, contrasinal",
    ),
    ("es", Pin, "código pin, nip, número pin, número secreto"),
    (
        "es",
        Key,
        "secreto, clave secreta, clave api, clave de api, clave privada, clave de cifrado, token de acceso, llave secreta, llave privada",
    ),
    (
        "es",
        Phrase,
        "frase de recuperación, frase semilla, frase secreta, palabras de recuperación",
    ),
    (
        "es",
        Code,
        "código de verificación, código de seguridad, código de confirmación, código de acceso, código de un solo uso, código de recuperación, código de respaldo, contraseña de un solo uso, tu código, su código",
    ),
    (
        "es",
        Link,
        "enlace para compartir, enlace compartido, enlace de invitación",
    ),
    (
        "es",
        Card,
        "número de tarjeta, tarjeta de crédito, nº de tarjeta",
    ),
    (
        "ar",
        Password,
        "كلمة المرور, كلمة السر, رمز المرور, كلمة مرور, كلمة سر, الباسورد, باسورد",
    ),
    ("ar", Pin, "الرقم السري, رقم سري, رمز pin"),
    (
        "ar",
        Key,
        "المفتاح السري, مفتاح api, رمز الوصول, المفتاح الخاص, رمز الدخول",
    ),
    (
        "ar",
        Phrase,
        "عبارة الاسترداد, عبارة الاستعادة, العبارة السرية",
    ),
    (
        "ar",
        Code,
        "رمز التحقق, رمز الأمان, رمز التأكيد, كود التحقق, رموز الاسترداد",
    ),
    (
        "fr",
        Password,
        "mot de passe, mots de passe, mdp, phrase de passe, phrase secrète d'accès",
    ),
    (
        "fr",
        Pin,
        "code pin, code secret, code confidentiel, cryptogramme",
    ),
    (
        "fr",
        Key,
        "clé secrète, clé api, clé d'api, clé privée, clé d'accès, clé de chiffrement, jeton, jeton d'accès, jeton secret, clef secrète, clef privée, clé de licence",
    ),
    (
        "fr",
        Phrase,
        "phrase de récupération, phrase secrète, phrase mnémonique, phrase de secours",
    ),
    (
        "fr",
        Code,
        "code de vérification, code de sécurité, code de confirmation, code d'accès, code à usage unique, code de récupération, code de secours, codes de secours, codes de récupération, mot de passe à usage unique, votre code, ton code",
    ),
    (
        "fr",
        Link,
        "lien de partage, lien d'invitation, lien partagé",
    ),
    (
        "fr",
        Card,
        "numéro de carte, carte bancaire, carte de crédit, n° de carte",
    ),
    ("bn", Password, "পাসওয়ার্ড, গোপন শব্দ, পাসকোড"),
    ("bn", Pin, "পিন"),
    ("bn", Key, "টোকেন, গোপন কী, এপিআই কী"),
    ("bn", Code, "যাচাইকরণ কোড, ওটিপি, নিরাপত্তা কোড"),
    (
        "pt",
        Password,
        "senha, palavra passe, palavra-chave de acesso, senha de acesso, código de acesso secreto",
    ),
    ("pt", Pin, "código pin, código secreto"),
    (
        "pt",
        Key,
        "segredo, chave secreta, chave de api, chave api, chave privada, chave de acesso, token de acesso",
    ),
    (
        "pt",
        Phrase,
        "frase de recuperação, frase semente, frase secreta, palavras de recuperação",
    ),
    (
        "pt",
        Code,
        "código de verificação, código de segurança, código de confirmação, código de acesso, código de uso único, código de recuperação, senha de uso único, seu código, teu código",
    ),
    (
        "pt",
        Link,
        "link de compartilhamento, link de partilha, link de convite",
    ),
    (
        "pt",
        Card,
        "número do cartão, cartão de crédito, nº do cartão",
    ),
    (
        "ru~",
        Password,
        "пароль, пароля, паролем, пасс, парольная фраза, кодовое слово",
    ),
    ("ru~", Pin, "пин, пин-код, пинкод"),
    (
        "ru~",
        Key,
        "секрет, секретный ключ, ключ api, api-ключ, токен, приватный ключ, закрытый ключ, ключ доступа",
    ),
    (
        "ru~",
        Phrase,
        "фраза восстановления, сид-фраза, секретная фраза, мнемоническая фраза",
    ),
    (
        "ru~",
        Code,
        "код подтверждения, код доступа, код безопасности, одноразовый код, одноразовый пароль, код восстановления, резервный код, резервные коды, ваш код, код проверки",
    ),
    ("ru~", Card, "номер карты, банковская карта"),
    (
        "id~",
        Password,
        "kata sandi, kata laluan, sandi, kata sandi baru",
    ),
    ("id~", Pin, "kode pin, nomor pin"),
    (
        "id",
        Key,
        "kunci rahasia, kunci api, kunci pribadi, rahasia, kunci privat",
    ),
    ("id~", Phrase, "frasa pemulihan, frasa rahasia, frasa benih"),
    (
        "id~",
        Code,
        "kode verifikasi, kode otp, kode keamanan, kode pemulihan, kode akses, kode konfirmasi, kod pengesahan",
    ),
    ("id~", Card, "nomor kartu"),
    ("ur", Password, "پاس ورڈ, خفیہ لفظ"),
    ("ur", Pin, "پن کوڈ"),
    ("ur", Key, "ٹوکن, خفیہ کلید"),
    ("ur", Code, "تصدیقی کوڈ, سیکیورٹی کوڈ"),
    (
        "de",
        Password,
        "passwort, passwörter, kennwort, kennwörter, losungswort, passwort-satz, zugangsdaten",
    ),
    (
        "de",
        Pin,
        "geheimzahl, pin-nummer, geheimnummer, kartenprüfnummer, prüfziffer",
    ),
    (
        "de",
        Key,
        "geheimnis, api-schlüssel, geheimer schlüssel, zugriffstoken, zugriffsschlüssel, zugangsschlüssel, privater schlüssel, geheimschlüssel, lizenzschlüssel, wlan-schlüssel, netzwerkschlüssel",
    ),
    (
        "de",
        Phrase,
        "wiederherstellungsphrase, wiederherstellungssatz, geheime phrase, seed-phrase, wiederherstellungswörter",
    ),
    (
        "de",
        Code,
        "einmalcode, einmalpasswort, einmalkennwort, bestätigungscode, sicherheitscode, zugangscode, verifizierungscode, wiederherstellungscode, wiederherstellungscodes, wiederherstellungsschlüssel, freischaltcode, anmeldecode, prüfcode, ihr code, dein code, tan, mobile tan",
    ),
    (
        "de",
        Link,
        "freigabelink, freigabe-link, einladungslink, link zum teilen, rücksetzlink",
    ),
    ("de", Card, "kartennummer, kreditkarte, kreditkartennummer"),
    (
        "ja",
        Password,
        "パスワード, パスフレーズ, パスコード, 合言葉, 合い言葉",
    ),
    ("ja", Pin, "暗証番号, pin番号, pinコード"),
    (
        "ja",
        Key,
        "秘密鍵, シークレット, シークレットキー, トークン, アクセストークン, apiキー, アクセスキー, 暗号鍵",
    ),
    (
        "ja",
        Phrase,
        "リカバリーフレーズ, シードフレーズ, 復元フレーズ, 復元用フレーズ, ニーモニック",
    ),
    (
        "ja",
        Code,
        "認証コード, 確認コード, ワンタイムパスワード, ワンタイムコード, バックアップコード, リカバリーコード, 復旧コード, セキュリティコード, 検証コード, 回復コード",
    ),
    ("ja", Link, "共有リンク, 招待リンク"),
    ("ja", Card, "カード番号"),
    ("mr", Password, "संकेतशब्द, परवलीचा शब्द"),
    ("mr", Code, "पडताळणी कोड"),
    ("te", Password, "పాస్‌వర్డ్, పాస్వర్డ్, సంకేతపదం"),
    ("te", Pin, "పిన్"),
    ("te", Code, "ధృవీకరణ కోడ్, ఓటీపీ"),
    ("tr~", Password, "parola, şifre, geçiş kodu"),
    ("tr~", Pin, "pin kodu"),
    (
        "tr~",
        Key,
        "gizli anahtar, api anahtarı, özel anahtar, belirteç, erişim anahtarı, erişim belirteci",
    ),
    (
        "tr~",
        Phrase,
        "kurtarma ifadesi, kurtarma cümlesi, gizli ifade",
    ),
    (
        "tr~",
        Code,
        "doğrulama kodu, güvenlik kodu, onay kodu, tek kullanımlık şifre, tek kullanımlık kod, kurtarma kodu, erişim kodu, yedek kod",
    ),
    ("tr~", Card, "kart numarası"),
    ("ta~", Password, "கடவுச்சொல், கடவுச்சொல்லை"),
    ("ta~", Code, "சரிபார்ப்புக் குறியீடு, சரிபார்ப்பு குறியீடு"),
    ("vi", Password, "mật khẩu, mật mã"),
    ("vi", Pin, "mã pin"),
    (
        "vi",
        Key,
        "khóa bí mật, khóa api, khoá api, mã thông báo, khóa riêng",
    ),
    ("vi", Phrase, "cụm từ khôi phục, cụm từ bí mật"),
    (
        "vi",
        Code,
        "mã xác minh, mã xác nhận, mã bảo mật, mã otp, mã xác thực, mã khôi phục",
    ),
    ("vi", Card, "số thẻ"),
    ("tl", Password, "salitang pampasok, kontrasenyas"),
    ("ko", Password, "비밀번호, 비밀 번호, 암호, 패스워드, 비번"),
    ("ko", Pin, "핀 번호, 핀번호, pin 번호"),
    (
        "ko",
        Key,
        "비밀 키, 비밀키, 토큰, api 키, 개인 키, 개인키, 액세스 키, 시크릿",
    ),
    ("ko", Phrase, "복구 구문, 시드 구문, 니모닉"),
    (
        "ko",
        Code,
        "인증번호, 인증 번호, 인증코드, 인증 코드, 확인 코드, 보안 코드, 복구 코드, 백업 코드, 일회용 비밀번호",
    ),
    ("ko", Card, "카드 번호, 카드번호"),
    ("sw", Password, "nenosiri, neno la siri, neno siri"),
    (
        "sw",
        Code,
        "msimbo wa uthibitishaji, nambari ya kuthibitisha",
    ),
    ("ha", Password, "kalmar sirri, kalmar wucewa, kalmar shiga"),
    ("jv", Password, "tembung sandhi, tembung sandi"),
    ("pa", Password, "ਪਾਸਵਰਡ, پاسورڈ"),
    ("gu", Password, "પાસવર્ડ"),
    (
        "fa",
        Password,
        "رمز عبور, گذرواژه, کلمه عبور, گذر واژه, رمز ورود",
    ),
    ("fa", Code, "کد تأیید, کد تایید, رمز یکبار مصرف"),
    ("th", Password, "รหัสผ่าน"),
    ("th", Pin, "รหัส pin, รหัสลับ"),
    ("th", Code, "รหัสยืนยัน, รหัส otp, รหัสกู้คืน"),
    // Other European languages.
    (
        "it",
        Password,
        "parola d'ordine, parola d'accesso, parola chiave di accesso",
    ),
    ("it", Pin, "codice pin, codice segreto"),
    (
        "it",
        Key,
        "segreto, chiave segreta, chiave api, chiave privata, chiave di accesso, token di accesso",
    ),
    ("it", Phrase, "frase di recupero, frase segreta, frase seme"),
    (
        "it",
        Code,
        "codice di verifica, codice di sicurezza, codice di accesso, codice di conferma, codice monouso, codice di recupero, il tuo codice",
    ),
    (
        "it",
        Card,
        "numero di carta, numero della carta, carta di credito",
    ),
    (
        "nl",
        Password,
        "wachtwoord, wachtwoorden, wagwoord, toegangswoord, wachtzin",
    ),
    ("nl", Pin, "pincode"),
    (
        "nl",
        Key,
        "geheime sleutel, api-sleutel, privésleutel, toegangssleutel, toegangstoken, geheim",
    ),
    ("nl", Phrase, "herstelzin, herstelfrase, geheime zin"),
    (
        "nl",
        Code,
        "verificatiecode, beveiligingscode, toegangscode, herstelcode, herstelcodes, eenmalige code, eenmalig wachtwoord, bevestigingscode, je code, uw code",
    ),
    ("nl", Card, "kaartnummer"),
    ("pl~", Password, "hasło, hasła, hasłem, hasto"),
    ("pl~", Pin, "kod pin, numer pin"),
    (
        "pl~",
        Key,
        "klucz api, klucz prywatny, tajny klucz, klucz tajny, sekret, klucz dostępu, token dostępu",
    ),
    ("pl~", Phrase, "fraza odzyskiwania, fraza seed, tajna fraza"),
    (
        "pl~",
        Code,
        "kod weryfikacyjny, kod dostępu, kod bezpieczeństwa, kod jednorazowy, hasło jednorazowe, kod odzyskiwania, kody zapasowe, twój kod, kod autoryzacyjny",
    ),
    ("pl~", Card, "numer karty"),
    ("cs~", Password, "heslo, hesla, heslem, přístupové heslo"),
    (
        "cs~",
        Key,
        "tajný klíč, api klíč, soukromý klíč, přístupový klíč, tajemství",
    ),
    (
        "cs~",
        Phrase,
        "obnovovací fráze, fráze pro obnovení, tajná fráze",
    ),
    (
        "cs~",
        Code,
        "ověřovací kód, jednorázový kód, přístupový kód, bezpečnostní kód, kód pro obnovení, potvrzovací kód, váš kód, overovací kód, bezpečnostný kód",
    ),
    ("cs~", Card, "číslo karty"),
    ("uk~", Password, "пароль, парольна фраза"),
    ("uk~", Key, "секретний ключ, ключ доступу, приватний ключ"),
    (
        "uk~",
        Code,
        "код підтвердження, одноразовий код, код безпеки",
    ),
    ("bg~", Password, "парола, лозинка"),
    ("sr", Password, "lozinka, šifra, zaporka, geslo"),
    (
        "sr",
        Code,
        "kod za potvrdu, verifikacijski kod, potvrditvena koda",
    ),
    ("ro~", Password, "parolă, parola"),
    (
        "ro~",
        Code,
        "cod de verificare, cod de securitate, codul tău",
    ),
    ("hu~", Password, "jelszó, jelszava, jelmondat"),
    ("hu~", Pin, "pin-kód"),
    ("hu~", Code, "ellenőrző kód, megerősítő kód, biztonsági kód"),
    ("hu~", Key, "titkos kulcs, api-kulcs, privát kulcs"),
    (
        "sv",
        Password,
        "lösenord, lösenordet, lösenfras, passord, adgangskode, adgangskoden, kodeord, kodeordet, lykilorð",
    ),
    ("sv", Pin, "pinkod, pin-kode, sifferkod"),
    (
        "sv",
        Key,
        "hemlig nyckel, api-nyckel, hemmelig nøgle, hemmelig nøkkel, api-nøgle, api-nøkkel, hemlighet",
    ),
    (
        "sv",
        Code,
        "verifieringskod, säkerhetskod, engångskod, engangskode, bekræftelseskode, bekreftelseskode, sikkerhedskode, sikkerhetskode, åtkomstkod, återställningskod",
    ),
    ("sv", Phrase, "återställningsfras, gendannelsesfrase"),
    ("fi~", Password, "salasana, tunnuslause, parool, salasõna"),
    ("fi~", Key, "salainen avain, api-avain, yksityinen avain"),
    (
        "fi~",
        Code,
        "vahvistuskoodi, kertakäyttökoodi, turvakoodi, palautuskoodi",
    ),
    ("lt~", Password, "slaptažodis, slaptažodį"),
    ("el~", Password, "κωδικός πρόσβασης, κωδικός, συνθηματικό"),
    ("el~", Code, "κωδικός επαλήθευσης, κωδικός μίας χρήσης"),
    ("he", Password, "סיסמה, סיסמא, ססמה"),
    ("he", Code, "קוד אימות, קוד אבטחה, קוד חד פעמי"),
    (
        "sq",
        Password,
        "fjalëkalimi, fjalëkalim, pasahitza, cyfrinair, parol, şifrə",
    ),
    ("am", Password, "የይለፍ ቃል, ọrọ aṣina, okwuntughe"),
];

/// Words that may stand between a label and its colon: connectives to its
/// owner, and attributes.
pub(super) const CONNECTORS: &str = "base, for, of, de, del, do, da, dos, du, des, di, della, d, der, die, das, des, von, vom, zu, zum, zur, für, pour, para, per, dla, do, pro, för, til, till, voor, van, bij, k, ko, на, для, к, от, temporary, temporaire, temporal, temporária, temporanea, provisoire, actuel, actual, actuelle, nouveau, nueva, nova, nuova, hash, digest, value, again, confirmation";

/// Words before a label that make it a button, a heading or a remark.
pub(super) const NO_LABEL_AFTER: &str = "forgot, forgotten, change, reset, no, without, invalid, wrong, incorrect, failed, bad, missing, weak, expired, lost, request, detected, leaked, exposed, hardcoded, hard-coded, rotate, manage, managed, delete, revoke, create, generate, regenerate, view, show, hide, copy, edit, update, save, remember, require, requires, required, unencrypted, stale, unused, vergessen, ändern, zurücksetzen, falsches, ungültiges, kein, olvidó, cambiar, restablecer, sin, oublié, changer, modifier, esqueci, alterar, mudar, забыли, изменить, сменить, zapomniałeś, zmień, wijzig, vergeten, rules, total, all, verify, scan, scanning, find, found, per, multiple, reused, common, compromised, breached, plaintext, cleartext, nicht, rotated, aged, active, inactive, count, number, many, more, top, by, using, via, with, uses, and, or, &, empty";
