//! Facts about the answer of an app, kept with the attempt that it ended: who answered, how fast and how much. Nothing is decided by them.

use std::time::Duration;

use crate::{limits, wire::introspection::sdk_of};

/// Which form of bytes follows.
const FORM: u8 = 1;

/// The headers that are kept, where an answer has them. The place of a name is what is stored: names are added at the end, and none goes.
/// None of these carries a secret.
const HEADERS: [&str; 22] = [
    "content-type",
    "server",
    "via",
    "retry-after",
    "x-inngest-req-version",
    "x-inngest-framework",
    "x-inngest-platform",
    "x-inngest-no-retry",
    "x-request-id",
    "x-powered-by",
    "x-cache",
    "x-served-by",
    "cf-ray",
    "cf-cache-status",
    "x-vercel-id",
    "x-vercel-error",
    "x-amzn-requestid",
    "x-amzn-errortype",
    "x-amz-cf-id",
    "x-nf-request-id",
    "fly-request-id",
    "x-cloud-trace-context",
];

/// Facts about one answer of an app over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdkResponse {
    /// The HTTP status.
    pub status: u16,
    /// Time from the start of the request to the last byte of the answer, redirects included, in ms.
    pub duration_ms: u32,
    /// Size of the body in bytes, decompressed.
    pub size_bytes: u32,
    sdk: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl SdkResponse {
    /// Takes of the headers what is kept. `header` gives the text of the one of this name, which is in lower case. Long texts are cut to
    /// [`limits::RESPONSE_HEADER_BYTES`], and what goes beyond [`limits::RESPONSE_HEADERS_BYTES`] in all is left out.
    pub fn new<'a>(
        status: u16,
        took: Duration,
        size: usize,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Self {
        let text = |name: &str| {
            let text = header(name)?.trim();
            let end = text.floor_char_boundary(limits::RESPONSE_HEADER_BYTES);
            Some(text[..end].to_owned()).filter(|text| !text.is_empty())
        };
        let mut room = limits::RESPONSE_HEADERS_BYTES;
        let mut headers = Vec::new();
        for name in HEADERS {
            let Some(text) = text(name) else { continue };
            // Two bytes more tell its name and its length.
            let Some(left) = room.checked_sub(text.len() + 2) else {
                continue;
            };
            room = left;
            headers.push((name, text));
        }
        Self {
            status,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            size_bytes: u32::try_from(size).unwrap_or(u32::MAX),
            sdk: text(crate::wire::headers::SDK),
            headers,
        }
    }

    /// The same without headers, as it is kept where everything went well.
    #[must_use]
    pub fn without_headers(&self) -> Self {
        Self {
            headers: Vec::new(),
            sdk: self.sdk.clone(),
            ..*self
        }
    }

    /// The headers that are kept, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(name, text)| (*name, text.as_str()))
    }

    /// The language of the SDK, for example `js`; none when no SDK has named itself.
    pub fn sdk_language(&self) -> Option<String> {
        sdk_of(self.sdk.as_deref()).0
    }

    /// The version of the SDK.
    pub fn sdk_version(&self) -> Option<String> {
        sdk_of(self.sdk.as_deref()).1
    }

    /// The stored form: at most 512 bytes, and about 30 without headers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sdk = self.sdk.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(12 + sdk.len());
        bytes.push(FORM);
        bytes.extend(self.status.to_be_bytes());
        bytes.extend(self.duration_ms.to_be_bytes());
        bytes.extend(self.size_bytes.to_be_bytes());
        put_text(&mut bytes, sdk);
        for (place, name) in (0u8..).zip(HEADERS) {
            if let Some((_, text)) = self.headers.iter().find(|(own, _)| *own == name) {
                bytes.push(place);
                put_text(&mut bytes, text);
            }
        }
        bytes
    }

    /// Reads the stored form. None when it is not one of this version's; headers that only a later version knows are left out.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[form], rest) = bytes.split_first_chunk()?;
        if form != FORM {
            return None;
        }
        let (status, rest) = rest.split_first_chunk()?;
        let (duration, rest) = rest.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (sdk, mut rest) = take_text(rest)?;
        let mut headers: Vec<(&'static str, String)> = Vec::new();
        while let Some((&place, after)) = rest.split_first() {
            let (text, after) = take_text(after)?;
            if let Some(name) = HEADERS.get(usize::from(place)) {
                headers.push((name, text));
            }
            rest = after;
        }
        Some(Self {
            status: u16::from_be_bytes(*status),
            duration_ms: u32::from_be_bytes(*duration),
            size_bytes: u32::from_be_bytes(*size),
            sdk: Some(sdk).filter(|sdk| !sdk.is_empty()),
            headers,
        })
    }
}

/// Texts are short: [`limits::RESPONSE_HEADER_BYTES`] fits into a byte.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(u8::try_from(text.len()).unwrap_or_default());
    bytes.extend_from_slice(text.as_bytes());
}

fn take_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(length))?;
    Some((std::str::from_utf8(text).ok()?.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn response(headers: &[(&str, &str)]) -> SdkResponse {
        let headers: HashMap<&str, &str> = headers.iter().copied().collect();
        let took = Duration::from_millis(1_500);
        SdkResponse::new(502, took, 70_000, |name| headers.get(name).copied())
    }

    #[test]
    fn stored_form_is_the_same_for_good() {
        let plain = response(&[("x-inngest-sdk", "inngest-js:v4.24.0")]);
        let stored =
            b"\x01\x01\xf6\x00\x00\x05\xdc\x00\x01\x11\x70\x12inngest-js:v4.24.0".as_slice();
        let nameless = b"\x01\x01\xf6\x00\x00\x05\xdc\x00\x01\x11\x70\x00".as_slice();
        let proxied = [nameless, b"\x01\x05nginx\x0c\x04abcd"].concat();
        for (response, stored) in [
            (plain, stored),
            (response(&[]), nameless),
            (
                response(&[("cf-ray", "abcd"), ("server", " nginx ")]),
                &proxied,
            ),
        ] {
            assert_eq!(response.to_bytes(), stored);
            assert_eq!(SdkResponse::from_bytes(stored), Some(response));
        }
    }

    #[test]
    fn what_another_version_has_stored_is_read_as_far_as_it_is_known() {
        let mut stored = response(&[("server", "nginx")]).to_bytes();
        stored.extend(b"\xff\x01x");
        let read = SdkResponse::from_bytes(&stored).unwrap();
        assert_eq!(read, response(&[("server", "nginx")]));
        for broken in [&stored[..stored.len() - 1], b"\x02", b"", b"\x01\x00"] {
            assert_eq!(SdkResponse::from_bytes(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn secrets_and_what_is_not_listed_are_left_out_and_texts_are_cut() {
        let long = "é".repeat(200);
        let kept = response(&[
            ("set-cookie", "session=1"),
            ("authorization", "Bearer 1"),
            ("x-inngest-signature", "s=1"),
            ("x-request-id", &long),
            ("server", ""),
        ]);
        let headers: Vec<(&str, &str)> = kept.headers().collect();
        let cut = &long[..limits::RESPONSE_HEADER_BYTES];
        assert_eq!(headers, [("x-request-id", cut)]);
        assert_eq!(kept.without_headers(), response(&[]));
    }

    #[test]
    fn sdk_is_told_by_its_header_as_apps_tell_it() {
        for (header, language, version) in [
            ("inngest-js:v4.24.0", Some("js"), Some("4.24.0")),
            ("inngest-py:v0.5.19", Some("py"), Some("0.5.19")),
            ("go", Some("go"), None),
            ("", None, None),
        ] {
            let response = response(&[("x-inngest-sdk", header)]);
            let told = (response.sdk_language(), response.sdk_version());
            assert_eq!(
                (told.0.as_deref(), told.1.as_deref()),
                (language, version),
                "{header}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_answer_survives_being_stored_in_512_bytes(
            status: u16, took in 0u64..1 << 40, size in 0usize..1 << 40, sdk in ".{0,120}", texts in prop::collection::vec(".{0,120}", HEADERS.len())
        ) {
            let header = |name: &str| match HEADERS.iter().position(|known| *known == name) {
                Some(place) => texts.get(place).map(String::as_str),
                None => Some(sdk.as_str()),
            };
            let response = SdkResponse::new(status, Duration::from_millis(took), size, header);
            let stored = response.to_bytes();
            prop_assert!(stored.len() <= 512);
            prop_assert_eq!(SdkResponse::from_bytes(&stored), Some(response));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64), is_ours: bool) {
            if is_ours && !bytes.is_empty() {
                bytes[0] = FORM;
            }
            let _ = SdkResponse::from_bytes(&bytes);
        }
    }
}
