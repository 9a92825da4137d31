//! AMF0 values (the AMF0 specification of 2007), as far as RTMP needs them.
//!
//! Every command and data message of a peer passes through [`decode`], which
//! bounds nesting and count before the values are used. No string is ever
//! printed: a `publish` command carries the stream key.

use std::fmt;

/// Maximum nesting of objects and arrays; `connect` uses one level, metadata of
/// multitrack encoders three.
const MAX_DEPTH: usize = 32;
/// Maximum number of values and properties of one message; OBS' metadata has
/// about 20.
const MAX_VALUES: usize = 4096;

/// Type markers (section 2.1).
mod marker {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
    pub(super) const XML: u8 = 15;
    pub(super) const TYPED_OBJECT: u8 = 16;
}

/// AMF0 value. ECMA arrays and typed objects decode to objects, dates to
/// numbers, references and unsupported types to undefined.
#[derive(Clone, PartialEq)]
pub enum Value {
    Number(f64),
    Boolean(bool),
    String(String),
    /// Properties in the order sent; a name may occur twice.
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    Null,
    Undefined,
}

impl Value {
    pub fn string(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Properties of an object; empty for any other value.
    pub fn properties(&self) -> &[(String, Self)] {
        match self {
            Self::Object(properties) => properties,
            _ => &[],
        }
    }

    /// Property by name, case-insensitively (some encoders send `tcurl` for
    /// `tcUrl`).
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.properties()
            .iter()
            .find(|(label, _)| label.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Prints the types only: a string may be the stream key.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(_) => f.write_str("number"),
            Self::Boolean(_) => f.write_str("boolean"),
            Self::String(_) => f.write_str("string"),
            Self::Object(properties) => write!(f, "object of {}", properties.len()),
            Self::Array(values) => write!(f, "array of {}", values.len()),
            Self::Null => f.write_str("null"),
            Self::Undefined => f.write_str("undefined"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    #[error("AMF value shorter than its length")]
    Truncated,
    #[error("AMF values nest deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("more than {MAX_VALUES} AMF values in one message")]
    TooMany,
    #[error("AMF marker {0} is not one of AMF0")]
    UnknownMarker(u8),
}

/// Decodes all values of a message. Invalid UTF-8 is replaced, not rejected.
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut reader = AmfReader { bytes, values: 0 };
    let mut values = Vec::new();
    while !reader.bytes.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct AmfReader<'a> {
    bytes: &'a [u8],
    values: usize,
}

impl<'a> AmfReader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(AmfError::TooMany);
        }
        if depth > MAX_DEPTH {
            return Err(AmfError::TooDeep);
        }
        Ok(match self.byte()? {
            marker::NUMBER => Value::Number(self.number()?),
            marker::BOOLEAN => Value::Boolean(self.byte()? != 0),
            marker::STRING => Value::String(self.short_string()?),
            marker::OBJECT => self.object(depth)?,
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED => Value::Undefined,
            marker::REFERENCE => {
                self.take(2)?;
                Value::Undefined
            }
            marker::ECMA_ARRAY => {
                // The count is only a hint (section 2.10); encoders send 0.
                self.take(4)?;
                self.object(depth)?
            }
            marker::STRICT_ARRAY => {
                let count = self.length()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::Array(values)
            }
            marker::DATE => {
                let number = self.number()?;
                self.take(2)?;
                Value::Number(number)
            }
            marker::LONG_STRING | marker::XML => {
                let length = self.length()?;
                Value::String(text(self.take(length)?))
            }
            marker::TYPED_OBJECT => {
                self.short_string()?;
                self.object(depth)?
            }
            other => return Err(AmfError::UnknownMarker(other)),
        })
    }

    fn object(&mut self, depth: usize) -> Result<Value, AmfError> {
        let mut properties = Vec::new();
        loop {
            let name = self.short_string()?;
            if name.is_empty() && self.bytes.first() == Some(&marker::OBJECT_END) {
                self.take(1)?;
                return Ok(Value::Object(properties));
            }
            properties.push((name, self.value(depth + 1)?));
        }
    }

    fn number(&mut self) -> Result<f64, AmfError> {
        let mut field = [0; 8];
        field.copy_from_slice(self.take(8)?);
        Ok(f64::from_be_bytes(field))
    }

    fn length(&mut self) -> Result<usize, AmfError> {
        let field = self.take(4)?;
        Ok(u32::from_be_bytes([field[0], field[1], field[2], field[3]]) as usize)
    }

    fn short_string(&mut self) -> Result<String, AmfError> {
        let field = self.take(2)?;
        let length = u16::from_be_bytes([field[0], field[1]]);
        Ok(text(self.take(usize::from(length))?))
    }

    fn byte(&mut self) -> Result<u8, AmfError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], AmfError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(AmfError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Encodes a message of the server. Strings beyond 65,535 bytes are truncated.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        write(value, &mut bytes);
    }
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            bytes.push(marker::NUMBER);
            bytes.extend(number.to_be_bytes());
        }
        Value::Boolean(truth) => bytes.extend([marker::BOOLEAN, u8::from(*truth)]),
        Value::String(text) => {
            bytes.push(marker::STRING);
            write_text(text, bytes);
        }
        Value::Object(properties) => {
            bytes.push(marker::OBJECT);
            for (name, value) in properties {
                write_text(name, bytes);
                write(value, bytes);
            }
            bytes.extend([0, 0, marker::OBJECT_END]);
        }
        Value::Array(values) => {
            bytes.push(marker::STRICT_ARRAY);
            bytes.extend((values.len() as u32).to_be_bytes());
            for value in values {
                write(value, bytes);
            }
        }
        Value::Null => bytes.push(marker::NULL),
        Value::Undefined => bytes.push(marker::UNDEFINED),
    }
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&text.as_bytes()[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = [marker::STRICT_ARRAY, 0, 0, 0, 1].repeat(depth);
        bytes.push(marker::NULL);
        bytes
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(decode(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(decode(&nested(MAX_DEPTH + 1)), Err(AmfError::TooDeep));
        assert_eq!(decode(&nested(1_000_000)), Err(AmfError::TooDeep));
    }

    #[test]
    fn count_is_bounded_whatever_an_array_claims() {
        assert!(decode(&[marker::NULL; MAX_VALUES]).is_ok());
        assert_eq!(
            decode(&[marker::NULL; MAX_VALUES + 1]),
            Err(AmfError::TooMany)
        );
        let claim = [marker::STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode(&claim), Err(AmfError::Truncated));
    }

    #[test]
    fn quirks_are_read() {
        // An ECMA array with a count of 0, a date and a long string in it.
        let mut bytes = vec![marker::ECMA_ARRAY, 0, 0, 0, 0];
        bytes.extend([0, 1, b'd', marker::DATE]);
        bytes.extend(1.5_f64.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend([0, 1, b's', marker::LONG_STRING, 0, 0, 0, 2, b'h', b'i']);
        bytes.extend([0, 0, marker::OBJECT_END]);
        let values = decode(&bytes).expect("valid");
        assert_eq!(values.len(), 1);
        assert_eq!(values[0].get("D").and_then(Value::as_number), Some(1.5));
        assert_eq!(values[0].get("s").and_then(Value::as_str), Some("hi"));
    }

    #[test]
    fn debug_shows_no_text() {
        let value = Value::Object(vec![("a".to_owned(), Value::string("s3cret"))]);
        assert_eq!(
            format!("{value:?} {:?}", Value::string("s3cret")),
            "object of 1 string"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f64>()
                .prop_filter("NaN is not equal to itself", |n| !n.is_nan())
                .prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..6).prop_map(Value::Object),
                prop::collection::vec(inner, 0..6).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(values in prop::collection::vec(value(), 0..6)) {
            prop_assert_eq!(decode(&encode(&values)).expect("valid"), values);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_amf_like_bytes_panic(
            bytes in prop::collection::vec(prop_oneof![0_u8..17, Just(0), Just(1)], 0..400),
        ) {
            let _ = decode(&bytes);
        }
    }
}
