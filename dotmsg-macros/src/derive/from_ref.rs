//! `#[derive(FromRef)]`: the fields of the app's state as its sub-states.
//!
//! `struct Service { rates: Arc<Rates> }` gets `impl FromRef<Service> for Arc<Rates>`, which clones the field. Each
//! implementation has the place of the field's type, so that a type that cannot be cloned is an error there.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Ident, Index, Member};

use super::{alone, entries, finish};
use crate::expand::{Ends, local};
use crate::value;

/// The implementations for the fields of a struct.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut errors = Vec::new();
    for attribute in &input.attrs {
        if attribute.path().is_ident("from_ref") {
            let message = "`#[from_ref(…)]` stands on a field";
            errors.push(Error::new(attribute.path().span(), message));
        }
    }
    let parts = match fields(input) {
        Ok(fields) => parts(fields, &mut errors),
        Err(error) => {
            errors.push(error);
            Vec::new()
        }
    };
    let implementations = parts.iter().map(|part| part.implementation(&input.ident));
    finish(errors, implementations.collect())
}

fn fields(input: &DeriveInput) -> syn::Result<&Fields> {
    let name = &input.ident;
    if let Some(parameter) = input.generics.params.first() {
        let message = format!(
            "`FromRef` cannot be derived for a type with parameters: write `impl FromRef<{name}<…>> for …` by hand for each part"
        );
        return Err(Error::new(parameter.span(), message));
    }
    match &input.data {
        Data::Struct(data) if data.fields.is_empty() => {
            let message = format!("`{name}` has no field that a handler could take");
            Err(Error::new(name.span(), message))
        }
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(_) | Data::Union(_) => {
            let message = format!(
                "`FromRef` is derived for structs only: its fields are the parts that handlers take; make `{name}` a struct, or write `impl FromRef<{name}> for …` by hand"
            );
            Err(Error::new(name.span(), message))
        }
    }
}

/// A field that handlers can take.
struct Part<'a> {
    field: &'a syn::Field,
    member: Member,
}

/// The fields that are not left out, each type once.
fn parts<'a>(fields: &'a Fields, errors: &mut Vec<Error>) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if is_skipped(field, errors) {
            continue;
        }
        let member = match &field.ident {
            Some(name) => Member::Named(name.clone()),
            None => Member::Unnamed(Index::from(index)),
        };
        let same = |part: &&Part<'_>| tokens(part.field) == tokens(field);
        match parts.iter().find(same) {
            Some(first) => errors.push(repeated(field, &first.member)),
            None => parts.push(Part { field, member }),
        }
    }
    parts
}

/// The type of a field as it is written: types are compared only with a feature of `syn` that is dear to build.
fn tokens(field: &syn::Field) -> String {
    field.ty.to_token_stream().to_string()
}

fn is_skipped(field: &syn::Field, errors: &mut Vec<Error>) -> bool {
    let mut skipped = false;
    for entry in entries(&field.attrs, "from_ref", errors) {
        if entry.key == "skip" {
            errors.extend(alone(&entry).err());
            skipped = true;
        } else {
            errors.push(value::unknown_key(&entry, "`#[from_ref(…)]`", &["skip"]));
        }
    }
    skipped
}

fn repeated(field: &syn::Field, first: &Member) -> Error {
    let first = first.to_token_stream();
    let message = format!(
        "the field `{first}` has this type too, and a handler that takes it would get only one of them: put `#[from_ref(skip)]` on one, or give one a type of its own"
    );
    Error::new(field.ty.span(), message)
}

impl Part<'_> {
    fn implementation(&self, name: &Ident) -> TokenStream {
        let Self { field, member } = self;
        let ty = &field.ty;
        let state = local("state");
        let Ends { first, last } = Ends::of(ty);
        let open = quote_spanned!(first=> <);
        let clone = quote_spanned!(last=> #open #ty as ::core::clone::Clone>::clone);
        quote_spanned! {ty.span()=>
            #[automatically_derived]
            impl ::dotmsg::__private::core::handler::FromRef<#name> for #ty {
                fn from_ref(#state: &#name) -> Self {
                    #clone(&#state.#member)
                }
            }
        }
    }
}
