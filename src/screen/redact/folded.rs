//! Text normalised for label search: lower case, no accents, and characters
//! that OCR confuses mapped to one.

use crate::text::same_shape;

/// Folded text, with the original position of each of its bytes.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) text: String,
    places: Vec<usize>,
}

impl Folded {
    pub(super) fn of(text: &str) -> Self {
        let mut folded = Self {
            text: String::with_capacity(text.len()),
            places: Vec::with_capacity(text.len() + 1),
        };
        for (at, c) in text.char_indices() {
            for c in c.to_lowercase().map(half_width) {
                for c in plain(c).chars() {
                    folded.push(same_shape(c), at);
                }
            }
        }
        folded.places.push(text.len());
        folded
    }

    /// Byte offset in the original of a byte of the folded text.
    pub(super) fn place(&self, at: usize) -> usize {
        self.places[at.min(self.places.len() - 1)]
    }

    fn push(&mut self, c: char, at: usize) {
        let pair = match (self.text.chars().next_back(), c) {
            (Some('r'), 'n') => Some('m'),
            (Some('v'), 'v') => Some('w'),
            _ => None,
        };
        if let Some(one) = pair {
            self.text.pop();
            self.text.push(one);
            return;
        }
        self.text.push(c);
        self.places.extend(std::iter::repeat_n(at, c.len_utf8()));
    }
}

/// ASCII equivalent of a full-width character, as East Asian input methods
/// write it.
fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        c => c,
    }
}

/// Lower-case letter without accents; empty for joiners and combining marks.
fn plain(c: char) -> String {
    let letter = match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ạ'..='ặ' => 'a',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => 'c',
        'ð' | 'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẹ'..='ệ' | 'ə' => 'e',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => 'g',
        'ĥ' | 'ħ' => 'h',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ỉ'..='ị' => 'i',
        'ķ' => 'k',
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => 'l',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ọ'..='ợ' => 'o',
        'ŕ' | 'ŗ' | 'ř' => 'r',
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' | 'ṣ' => 's',
        'ţ' | 'ť' | 'ț' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' | 'ụ'..='ự' => 'u',
        'ý' | 'ÿ' | 'ỳ'..='ỹ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ё' => 'е',
        'ά' => 'α',
        'έ' => 'ε',
        'ή' => 'η',
        'ί' => 'ι',
        'ό' => 'ο',
        'ύ' => 'υ',
        'ώ' => 'ω',
        'أ' | 'إ' | 'آ' => 'ا',
        'ي' | 'ى' => 'ی',
        'ك' => 'ک',
        'ة' => 'ه',
        'ß' => return "ss".to_owned(),
        'æ' => return "ae".to_owned(),
        'œ' => return "oe".to_owned(),
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{64b}'..='\u{652}' => {
            return String::new();
        }
        c => c,
    };
    String::from(letter)
}

/// Word of another alphabet as a model trained on Latin letters reads it, by
/// the shapes of its letters; `None` if a letter has no Latin look-alike.
pub(super) fn as_latin(word: &str) -> Option<String> {
    let latin = |c: char| {
        Some(match c {
            'а' | 'α' => "a",
            'б' => "6",
            'в' | 'ь' | 'ъ' | 'β' => "b",
            'г' => "r",
            'д' => "a",
            'е' | 'ε' => "e",
            'з' | 'э' => "3",
            'и' | 'й' | 'υ' => "u",
            'к' | 'κ' => "k",
            'л' | 'п' | 'η' | 'π' => "n",
            'м' => "m",
            'н' => "h",
            'о' | 'ο' | 'σ' => "o",
            'р' | 'ρ' => "p",
            'с' => "c",
            'т' | 'τ' => "t",
            'у' => "y",
            'х' => "x",
            'ц' => "u",
            'ч' => "4",
            'ш' | 'щ' | 'ω' => "w",
            'і' | 'ι' => "i",
            'ν' => "v",
            'δ' => "d",
            'λ' => "a",
            'ς' => "c",
            ' ' => " ",
            '-' => "-",
            _ => return None,
        })
    };
    let foreign = word
        .chars()
        .any(|c| matches!(c, 'α'..='ω' | 'а'..='я' | 'і'));
    foreign.then(|| word.chars().map(latin).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_and_shapes_are_folded_and_places_kept() {
        for (text, folded) in [
            ("Contraseña", "contrasena"),
            ("HASŁO", "haslo"),
            ("Şifre", "slfre"),
            ("Passw0rd", "password"),
            ("Mật khẩu", "mat khau"),
            ("ＡＰＩ　ｋｅｙ", "apl key"),
            ("Schlüssel", "schlussel"),
            ("Governed", "govemed"),
        ] {
            assert_eq!(Folded::of(text).text, folded, "{text}");
        }
        let text = "Größe: Hasło";
        let folded = Folded::of(text);
        let at = folded.text.find("haslo").expect("there");
        assert_eq!(&text[folded.place(at)..], "Hasło");
        assert_eq!(folded.place(folded.text.len()), text.len());
    }

    #[test]
    fn another_alphabet_has_a_look() {
        assert_eq!(as_latin("пароль").as_deref(), Some("naponb"));
        assert_eq!(as_latin("password"), None);
        assert_eq!(as_latin("密码"), None);
    }
}
