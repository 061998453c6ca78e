//! Trusted documents: texts that the server knows, by the SHA-256 of their bytes, and who may send others.
//!
//! A client may name a known document by its id instead of sending it. Nothing is learned from requests: what is known is given at start.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    Request, ServerError, ValidationResult, Variables,
    async_trait::async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation},
    parser::{parse_query, types::BaseType},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::graphql::{
    builder,
    document::{Parameters, Refusal},
    limits,
};

/// How the id of a document begins.
const PREFIX: &str = "sha256:";
/// What Apollo's tools write into their manifests.
const APOLLO: &str = "apollo-persisted-query-manifest";

/// Who may send documents that are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DocumentMode {
    /// Everybody.
    #[default]
    Open,
    /// Programs; web pages (whatever sends an `Origin` header) may not.
    KnownForBrowsers,
    /// Nobody.
    KnownOnly,
}

/// The documents that a server knows. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    mode: DocumentMode,
    texts: HashMap<[u8; 32], String>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// It has neither form.
    #[error(
        "is neither a JSON object from ids to documents nor a manifest in Apollo's format: {0}"
    )]
    Form(String),
    /// An id is not the hash of its document.
    #[error(
        "names a document `{0}`, but its SHA-256 is {1}; generate the manifest with SHA-256 as hash"
    )]
    Id(String, String),
    /// A document cannot be used.
    #[error("holds the document `{0}`, which is not acceptable: {1}")]
    Document(String, String),
}

/// The forms of manifests that tools write.
#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    Apollo {
        format: String,
        operations: Vec<Operation>,
    },
    Map(HashMap<String, String>),
}

#[derive(Deserialize)]
struct Operation {
    id: String,
    body: String,
}

impl Documents {
    /// No documents yet.
    pub fn new(mode: DocumentMode) -> Self {
        Self {
            mode,
            texts: HashMap::new(),
        }
    }

    /// Makes one document known.
    pub fn add(&mut self, text: &str) {
        self.texts.insert(hash(text), text.to_owned());
    }

    /// Makes all documents of a manifest known: a JSON object from id to text as GraphQL Code Generator and Relay write it, or Apollo's
    /// format. An id is the SHA-256 of the text in hexadecimal digits, with or without `sha256:`. Returns how many there are.
    ///
    /// # Errors
    /// For a manifest that is not wholly usable; nothing of it is known then.
    pub fn add_manifest(&mut self, json: &[u8]) -> Result<usize, BadManifest> {
        let form = |error: &dyn std::fmt::Display| BadManifest::Form(error.to_string());
        let manifest = serde_json::from_slice(json).map_err(|error| form(&error))?;
        let entries: Vec<(String, String)> = match manifest {
            Manifest::Apollo { format, operations } if format == APOLLO => operations
                .into_iter()
                .map(|operation| (operation.id, operation.body))
                .collect(),
            Manifest::Apollo { format, .. } => {
                return Err(form(&format!("the format `{format}` is unknown")));
            }
            Manifest::Map(map) => map.into_iter().collect(),
        };
        for (id, text) in &entries {
            let digits = id.strip_prefix(PREFIX).unwrap_or(id);
            let hash = hex::encode(hash(text));
            if !digits.eq_ignore_ascii_case(&hash) {
                return Err(BadManifest::Id(id.clone(), hash));
            }
            if text.len() > limits::DOCUMENT_BYTES {
                let reason = format!("it has more than {} bytes", limits::DOCUMENT_BYTES);
                return Err(BadManifest::Document(id.clone(), reason));
            }
            if let Err(error) = parse_query(text) {
                return Err(BadManifest::Document(id.clone(), error.to_string()));
            }
        }
        let count = entries.len();
        for (_, text) in entries {
            self.add(&text);
        }
        Ok(count)
    }

    /// What the schema has against the documents that are known, one sentence for each that does not fit, in the order of their ids.
    pub async fn misfits(&self) -> Vec<String> {
        let schema = builder().extension(OnlyValidate).finish();
        let mut texts: Vec<_> = self.texts.iter().collect();
        texts.sort();
        let mut misfits = Vec::new();
        for (hash, text) in texts {
            let request = Request::new(text).variables(some_variables(text));
            let errors = schema.execute(request).await.errors;
            if let Some(error) = errors.first().filter(|error| error.message != FITS) {
                misfits.push(format!("{PREFIX}{}: {}", hex::encode(hash), error.message));
            }
        }
        misfits
    }

    /// Whether this caller may send what is not known, introspection included.
    pub(crate) fn admits_any(&self, is_browser: bool) -> bool {
        match self.mode {
            DocumentMode::Open => true,
            DocumentMode::KnownForBrowsers => !is_browser,
            DocumentMode::KnownOnly => false,
        }
    }

    /// Puts the text in the place of an id, and refuses what this caller may not send. A known text is as good as its id.
    pub(crate) fn resolve(
        &self,
        mut parameters: Parameters,
        is_browser: bool,
    ) -> Result<Parameters, Refusal> {
        match (parameters.document_id.take(), &parameters.query) {
            (Some(_), Some(_)) => Err(Refusal::bad(
                "`documentId` and `query` are both given; send one of them",
            )),
            (Some(id), None) => {
                let text = self.find(&id).ok_or_else(|| {
                    Refusal::new(
                        StatusCode::NOT_FOUND,
                        "DOCUMENT_NOT_FOUND",
                        "no document has this id; ids are `sha256:` and 64 hexadecimal digits",
                    )
                })?;
                parameters.query = Some(text.to_owned());
                Ok(parameters)
            }
            (None, Some(text)) if !self.admits_any(is_browser) && !self.knows(text) => {
                Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    "DOCUMENT_NOT_ALLOWED",
                    "this server takes known documents only",
                ))
            }
            (None, _) => Ok(parameters),
        }
    }

    fn find(&self, id: &str) -> Option<&str> {
        let mut hash = [0; 32];
        hex::decode_to_slice(id.strip_prefix(PREFIX)?, &mut hash).ok()?;
        self.texts.get(&hash).map(String::as_str)
    }

    fn knows(&self, text: &str) -> bool {
        text.len() <= limits::DOCUMENT_BYTES && self.texts.contains_key(&hash(text))
    }
}

/// Values for the variables that the complexity of a document can hang on, which is counted during its validation: numbers and lists.
fn some_variables(text: &str) -> Variables {
    let document = parse_query(text);
    let definitions = document.iter().flat_map(|document| {
        let operations = document.operations.iter();
        operations.flat_map(|(_, operation)| &operation.node.variable_definitions)
    });
    let mut variables = serde_json::Map::new();
    for definition in definitions {
        let value = match &definition.node.var_type.node.base {
            BaseType::List(_) => json!([]),
            BaseType::Named(name) if name == "Int" => json!(1),
            BaseType::Named(_) => continue,
        };
        variables.insert(definition.node.name.node.to_string(), value);
    }
    Variables::from_json(variables.into())
}

/// Ends every operation after its validation.
struct OnlyValidate;

/// The error that does so.
const FITS: &str = "the document fits";

impl ExtensionFactory for OnlyValidate {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for OnlyValidate {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(ctx).await?;
        Err(vec![ServerError::new(FITS, None)])
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::graphql::document::parameters;

    const KNOWN: &str = "{ server { version } }";

    fn outcome(documents: &Documents, body: Value, is_browser: bool) -> Result<(), &'static str> {
        let parameters = parameters(body).map_err(|refusal| refusal.code)?;
        let resolved = documents.resolve(parameters, is_browser);
        let resolved = resolved.map_err(|refusal| refusal.code)?;
        assert!(resolved.query.is_some());
        Ok(())
    }

    #[test]
    fn mode_says_who_may_send_what_is_not_known() {
        let id = format!("sha256:{}", hex::encode(hash(KNOWN)));
        let known = [json!({"query": KNOWN}), json!({"documentId": id})];
        for (mode, program, browser) in [
            (DocumentMode::Open, true, true),
            (DocumentMode::KnownForBrowsers, true, false),
            (DocumentMode::KnownOnly, false, false),
        ] {
            let mut documents = Documents::new(mode);
            documents.add(KNOWN);
            for (is_browser, may) in [(false, program), (true, browser)] {
                for body in known.clone() {
                    assert_eq!(outcome(&documents, body, is_browser), Ok(()), "{mode:?}");
                }
                let other = outcome(&documents, json!({"query": "{ __typename }"}), is_browser);
                let expected = if may {
                    Ok(())
                } else {
                    Err("DOCUMENT_NOT_ALLOWED")
                };
                assert_eq!(other, expected, "{mode:?}");
                for id in ["sha256:00", "", &id[7..], &id.replace(':', "-")] {
                    let unknown = outcome(&documents, json!({"documentId": id}), is_browser);
                    assert_eq!(unknown, Err("DOCUMENT_NOT_FOUND"), "{id}");
                }
                let both = json!({"documentId": id, "query": KNOWN});
                let both = outcome(&documents, both, is_browser);
                assert_eq!(both, Err("BAD_USER_INPUT"));
            }
        }
    }

    #[test]
    fn manifests_of_common_tools_are_read_and_wrong_ones_refused_whole() {
        let id = hex::encode(hash(KNOWN));
        let apollo = json!({"format": APOLLO, "version": 1,
            "operations": [{"id": id, "name": "A", "type": "query", "body": KNOWN}]});
        let with_prefix = json!({format!("sha256:{id}"): KNOWN});
        for manifest in [json!({&id: KNOWN}), with_prefix, apollo] {
            let mut documents = Documents::new(DocumentMode::KnownOnly);
            let count = documents.add_manifest(manifest.to_string().as_bytes());
            assert_eq!(count.unwrap(), 1);
            assert!(documents.knows(KNOWN));
        }
        let broken = "{ a";
        for manifest in [
            json!([]),
            json!({&id: 1}),
            json!({"format": "other", "operations": []}),
            json!({"0123": KNOWN, &id: KNOWN}),
            json!({&id: KNOWN, hex::encode(hash(broken)): broken}),
        ] {
            let mut documents = Documents::default();
            let refused = documents.add_manifest(manifest.to_string().as_bytes());
            assert!(refused.is_err() && documents.texts.is_empty(), "{manifest}");
        }
    }
}
