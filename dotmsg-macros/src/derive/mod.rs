//! The derives: a file each, and what they share.
//!
//! As with the attribute, every mistake is reported at once and at its place, and what can be implemented still is, so
//! that one mistake does not make every use of the type an error of its own.

pub(crate) mod classify;
pub(crate) mod from_payload;
pub(crate) mod from_ref;

use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Fields};

use crate::attribute::repeats;
use crate::entry::{self, Entry, Value};
use crate::value;

/// The entries of every `#[name(…)]` in these attributes. What is wrong with them goes to `errors`.
fn entries(attributes: &[Attribute], name: &str, errors: &mut Vec<Error>) -> Vec<Entry> {
    let mut all = Vec::new();
    for attribute in attributes {
        if attribute.path().is_ident(name) {
            match attribute.parse_args_with(entry::list) {
                Ok(entries) => all.extend(entries),
                Err(error) => errors.push(error),
            }
        }
    }
    errors.extend(repeats(&all));
    all
}

/// Checks that nothing follows the word.
fn alone(entry: &Entry) -> syn::Result<()> {
    match entry.value {
        Value::Alone => Ok(()),
        _ => Err(value::wrong_word(entry)),
    }
}

/// The errors of attributes of this name on fields, where nobody reads them.
fn misplaced(fields: &Fields, name: &str, message: &str) -> Vec<Error> {
    let attributes = fields.iter().flat_map(|field| &field.attrs);
    attributes
        .filter(|attribute| attribute.path().is_ident(name))
        .map(|attribute| Error::new(attribute.path().span(), message))
        .collect()
}

/// The errors, then the code.
fn finish(errors: Vec<Error>, code: TokenStream) -> TokenStream {
    let errors = errors.iter().map(Error::to_compile_error);
    errors.chain([code]).collect()
}
