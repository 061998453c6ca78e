//! JSON documents as canonical bytes (RFC 8785).
//!
//! Every payload is brought into canonical form once, when it enters; from then on it is stored, compared, put into larger documents and
//! signed as bytes. Nothing here logs or shows a payload.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::{Value, value::RawValue};

mod canonical;
pub(crate) mod write {
    //! Parts of canonical documents, for whoever puts one together by hand.

    pub(crate) use super::canonical::{write_integer as integer, write_string as string};
}

pub use canonical::MAX_DEPTH;

/// A JSON document in canonical form. Cheap to clone. `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Bytes);

/// Bytes that are not a JSON document that we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at byte {offset}: {reason}")]
pub struct InvalidJson {
    /// Where reading stopped.
    pub offset: usize,
    /// What was wrong there; holds nothing of the document.
    pub reason: &'static str,
}

impl Json {
    /// `null`.
    pub const fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// `{}`.
    pub const fn empty_object() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// `[]`.
    pub const fn empty_array() -> Self {
        Self(Bytes::from_static(b"[]"))
    }

    /// Reads one document and brings it into canonical form, in one pass. Of a repeated key the last value counts, numbers become
    /// doubles, and half of a surrogate pair becomes U+FFFD (JavaScript can send such text).
    ///
    /// # Errors
    /// `InvalidJson` when it is not JSON or not UTF-8, deeper than [`MAX_DEPTH`], or holds a number beyond the range of a double.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJson> {
        canonical::canonicalize(text).map(|bytes| Self(Bytes::from(bytes)))
    }

    /// The canonical form of a value.
    pub fn from_value(value: &Value) -> Self {
        let mut out = Vec::new();
        canonical::write_value(&mut out, value);
        Self(Bytes::from(out))
    }

    /// Takes bytes that are known to be canonical: read back from storage, or put together from canonical parts.
    pub const fn from_canonical(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + 2);
        canonical::write_string(&mut out, text);
        Self(Bytes::from(out))
    }

    /// A whole number; beyond 2^53 the nearest double.
    pub fn integer(number: i64) -> Self {
        let mut out = Vec::with_capacity(20);
        canonical::write_integer(&mut out, number);
        Self(Bytes::from(out))
    }

    /// An object of these members, which may come in any order; of a repeated key the last value counts.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a Json)>) -> Self {
        let mut members: Vec<(&str, &Json)> = members.into_iter().collect();
        members.sort_by(|a, b| canonical::compare_keys(a.0, b.0));
        let mut out = Vec::with_capacity(
            2 + members
                .iter()
                .map(|(key, value)| key.len() + value.len() + 4)
                .sum::<usize>(),
        );
        out.push(b'{');
        for (index, (key, value)) in members.iter().enumerate() {
            if members.get(index + 1).is_some_and(|next| next.0 == *key) {
                continue;
            }
            if out.len() > 1 {
                out.push(b',');
            }
            canonical::write_string(&mut out, key);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        Self(Bytes::from(out))
    }

    /// An array of these documents.
    pub fn array<'a>(items: impl IntoIterator<Item = &'a Json>) -> Self {
        let mut out = vec![b'['];
        for item in items {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(item.as_bytes());
        }
        out.push(b']');
        Self(Bytes::from(out))
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("null")
    }

    /// The canonical bytes, shared.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no document is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.as_bytes() == b"null"
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        self.0.first() == Some(&b'[')
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// The document as a tree. Null for what [`Json::from_canonical`] was given wrongly.
    pub fn to_value(&self) -> Value {
        serde_json::from_slice(&self.0).unwrap_or(Value::Null)
    }

    /// The text of a string, `None` for anything else.
    pub fn to_text(&self) -> Option<String> {
        if self.0.first() != Some(&b'"') {
            return None;
        }
        serde_json::from_slice(&self.0).ok()
    }

    /// The value of a member of an object, without copying it. `None` when it is absent or this is not an object.
    pub fn member(&self, key: &str) -> Option<Json> {
        let range = canonical::find_member(&self.0, key)?;
        Some(Self(self.0.slice(range)))
    }

    /// The members of an object in canonical order, without copying their values; nothing for anything else.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'_, str>, Json)> {
        canonical::Members::of(&self.0)
            .map(|(key, value)| (canonical::key_text(&self.0[key]), Self(self.0.slice(value))))
    }

    /// The items of an array, without copying them; nothing for anything else.
    pub fn items(&self) -> impl Iterator<Item = Json> {
        canonical::Items::of(&self.0).map(|value| Self(self.0.slice(value)))
    }

    /// For putting the document into something that serde writes.
    pub fn raw(&self) -> &RawValue {
        serde_json::from_slice(&self.0).unwrap_or(RawValue::NULL)
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::null()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw().serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
