//! One entry of the attribute: a key with a value, or with a list of entries.
//!
//! `syn`'s own meta items do not take a type as a value (`state = AppState<Db>`), hence a grammar of our own.

use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, Ident, Token, Type, parenthesized};

/// `key = value` or `key(entries)`.
pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(crate) value: Value,
}

/// What an entry gives its key.
pub(crate) enum Value {
    Expr(Expr),
    Type(Box<Type>),
    List(Vec<Entry>),
    /// Nothing: the key stands alone.
    Alone,
    /// A list behind a key that takes none.
    Missing,
}

impl Entry {
    /// Where an error about the value belongs.
    pub(crate) fn value_span(&self) -> proc_macro2::Span {
        match &self.value {
            Value::Expr(value) => value.span(),
            Value::Type(value) => value.span(),
            Value::List(_) | Value::Alone | Value::Missing => self.key.span(),
        }
    }
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // Also a keyword such as `type`: the error of an unknown key names the keys that there are.
        let key = input.call(Ident::parse_any)?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            if key == "state" {
                Value::Type(input.parse()?)
            } else {
                Value::Expr(input.parse()?)
            }
        } else if input.peek(syn::token::Paren) {
            let inner;
            parenthesized!(inner in input);
            if key == "retry" || key == "batch" {
                Value::List(list(&inner)?)
            } else {
                inner.parse::<proc_macro2::TokenStream>()?;
                Value::Missing
            }
        } else {
            Value::Alone
        };
        Ok(Self { key, value })
    }
}

/// Entries with commas between them.
pub(crate) fn list(input: ParseStream<'_>) -> syn::Result<Vec<Entry>> {
    let entries = Punctuated::<Entry, Token![,]>::parse_terminated(input)?;
    Ok(entries.into_iter().collect())
}
