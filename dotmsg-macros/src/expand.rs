//! The generated code.
//!
//! `async fn bill(State(r): State<Rates>, Json(o): Json<Order>) -> R { … }` becomes
//!
//! 1. `fn bill(argument0: …, argument1: …) -> Described<impl Future<Output = R> + Send, bill>`, which calls an inner
//!    `async fn bill` with the original tokens. It must be a function: in an `async move` block an unused argument would
//!    drop before the body runs.
//! 2. `enum bill {}` in the *type* namespace, with `impl Meta` (what the attribute says) and `impl<S> Invoke<S>`
//!    (extract, call, turn the return value into a result), all in one future, so that arguments may borrow.
//!
//! Whatever the compiler may complain about carries the span of the argument's type, trait and method names included:
//! otherwise each error shows again on the attribute.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute as RustAttribute, Ident, ItemFn, Lifetime, ReturnType, Type};

use crate::attribute::Attribute;
use crate::signature::{argument_type, only_argument};

/// The function under the attribute, expanded.
pub(crate) fn expand(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let callable = callable(function);
    let meta = meta(attribute, function);
    let invoke = invoke(attribute, function);
    quote! { #callable #meta #invoke }
}

/// The function that users call: same arguments, same output.
fn callable(function: &ItemFn) -> TokenStream {
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
    } = function;
    let (outer, inner): (Vec<_>, Vec<_>) = attrs.iter().partition(|attr| is_outer(attr));
    let cfg = inner.iter().filter(|attr| attr.path().is_ident("cfg"));
    let name = &sig.ident;
    let generics = &sig.generics;
    let conditions = &sig.generics.where_clause;
    let types: Vec<_> = sig.inputs.iter().filter_map(argument_type).collect();
    let arguments: Vec<_> = (0..types.len())
        .map(|index| format_ident!("argument{index}"))
        .collect();
    let output = match &sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    quote! {
        #(#cfg)*
        #(#outer)*
        #[allow(clippy::too_many_arguments)]
        #vis fn #name #generics (
            #(#arguments: #types),*
        ) -> ::dotmsg::__private::core::handler::Described<
            impl ::core::future::Future<Output = #output> + ::core::marker::Send,
            #name,
        >
        #conditions
        {
            #(#inner)*
            #sig #block

            ::dotmsg::__private::core::handler::Described::new(#name(#(#arguments),*))
        }
    }
}

/// The meta type and what the attribute says.
fn meta(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let vis = &function.vis;
    let cfg = cfg(function);
    let word = unraw(name);
    let topic = attribute
        .topic
        .as_ref()
        .map_or_else(String::new, syn::LitStr::value);
    let assigned = assigned(attribute);
    quote! {
        #(#cfg)*
        #[doc(hidden)]
        #[allow(non_camel_case_types, missing_debug_implementations, clippy::empty_enums, clippy::empty_enum)]
        #vis enum #name {}

        #(#cfg)*
        impl ::dotmsg::__private::core::handler::Meta for #name {
            const META: ::dotmsg::__private::core::handler::HandlerMeta = {
                #[allow(unused_mut)]
                let mut meta = ::dotmsg::__private::core::handler::HandlerMeta::new(#word, #topic);
                #(#assigned)*
                meta
            };
        }
    }
}

fn assigned(attribute: &Attribute) -> Vec<TokenStream> {
    let some = |field: TokenStream, value: Option<TokenStream>| {
        value.map(|value| quote!(meta.#field = ::core::option::Option::Some(#value);))
    };
    let text = |value: &Option<syn::LitStr>| value.as_ref().map(|value| quote!(#value));
    // Written again from its digits: a literal may carry a suffix or the span of another macro.
    let number = |value: &Option<syn::LitInt>| {
        value.as_ref().map(|value| {
            let digits = syn::LitInt::new(value.base10_digits(), value.span());
            quote!(#digits)
        })
    };
    let tiers = attribute.tiers.as_ref().map(|tiers| quote!(&[#(#tiers),*]));
    [
        some(quote!(group), text(&attribute.group)),
        some(quote!(backend), text(&attribute.backend)),
        some(quote!(concurrency), number(&attribute.concurrency)),
        some(quote!(ordering), text(&attribute.ordering)),
        some(quote!(timeout), text(&attribute.timeout)),
        some(quote!(delivery), text(&attribute.delivery)),
        some(quote!(start), text(&attribute.start)),
        some(quote!(retry.tiers), tiers),
        some(quote!(retry.order), text(&attribute.retry_order)),
        some(quote!(retry.attempts), number(&attribute.attempts)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How the runtime calls the function.
fn invoke(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let cfg = cfg(function);
    let types: Vec<Type> = function
        .sig
        .inputs
        .iter()
        .filter_map(argument_type)
        .map(|argument| elided(argument.clone()))
        .collect();
    let generic: Ident = format_ident!("DotmsgState", span = Span::mixed_site());
    let (parameters, state, conditions) = match &attribute.state {
        Some(state) => (quote!(), quote!(#state), quote!()),
        None => {
            let parts = types
                .iter()
                .filter_map(|argument| sub_state(argument, &generic));
            (
                quote!(<#generic>),
                quote!(#generic),
                quote! {
                    where
                        #generic: ::core::marker::Send + ::core::marker::Sync + 'static,
                        #(#parts,)*
                },
            )
        }
    };
    let body = body(function, &types, &state);
    quote! {
        #(#cfg)*
        #[allow(clippy::used_underscore_binding, clippy::unused_unit, clippy::unit_arg)]
        impl #parameters ::dotmsg::__private::core::handler::Invoke<#state> for #name #conditions {
            fn invoke(
                delivery: ::dotmsg::__private::core::delivery::Delivery,
                state: ::std::sync::Arc<#state>,
            ) -> impl ::core::future::Future<Output = ::dotmsg::__private::core::handler::HandlerResult>
                + ::core::marker::Send
                + 'static {
                async move { #body }
            }
        }
    }
}

fn body(function: &ItemFn, types: &[Type], state: &TokenStream) -> TokenStream {
    let name = &function.sig.ident;
    let arguments: Vec<_> = (0..types.len())
        .map(|index| format_ident!("argument{index}"))
        .collect();
    let extract = types.iter().zip(&arguments).enumerate().map(|(index, (ty, argument))| {
        let span = ty.span();
        if index + 1 < types.len() {
            quote_spanned! {span=>
                let #argument = match <#ty as ::dotmsg::__private::core::handler::FromDelivery<'_, #state>>::from_delivery(&delivery, &state) {
                    ::core::result::Result::Ok(argument) => argument,
                    ::core::result::Result::Err(rejection) => return ::core::result::Result::Err(::core::convert::Into::into(rejection)),
                };
            }
        } else {
            quote_spanned! {span=>
                let #argument = match <#ty as ::dotmsg::__private::core::handler::FromLast<'_, #state, _>>::from_last(&delivery, &state) {
                    ::core::result::Result::Ok(argument) => argument,
                    ::core::result::Result::Err(error) => return ::core::result::Result::Err(error),
                };
            }
        }
    });
    let output = match &function.sig.output {
        ReturnType::Default => name.span(),
        ReturnType::Type(_, output) => output.span(),
    };
    let finish = quote_spanned! {output=>
        ::dotmsg::__private::core::handler::IntoReturned::into_returned(returned)
    };
    quote! {
        #(#extract)*
        let returned = #name(#(#arguments),*).await;
        #finish
    }
}

/// What a `State<T>` demands of the state: only these bounds mention it, so that an argument that is no extractor is an
/// error at the argument, and a missing sub-state one where the handler is registered.
fn sub_state(argument: &Type, state: &Ident) -> Option<TokenStream> {
    let Type::Path(path) = argument else {
        return None;
    };
    if path.path.segments.last()?.ident != "State" {
        return None;
    }
    let part = only_argument(&path.path)?;
    let span = part.span();
    Some(quote_spanned!(span=> #part: ::dotmsg::__private::core::handler::FromRef<#state>))
}

/// The type with every named lifetime elided: in `invoke` they are all the lifetime of the delivery in hand.
fn elided(mut argument: Type) -> Type {
    struct Elide;
    impl VisitMut for Elide {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                *lifetime = Lifetime::new("'_", lifetime.span());
            }
        }

        // The lifetimes of a `for<'a> fn(&'a T)` are its own.
        fn visit_type_bare_fn_mut(&mut self, _: &mut syn::TypeBareFn) {}

        fn visit_type_mut(&mut self, argument: &mut Type) {
            visit_mut::visit_type_mut(self, argument);
        }
    }
    Elide.visit_type_mut(&mut argument);
    argument
}

fn cfg(function: &ItemFn) -> Vec<&RustAttribute> {
    let attrs = function.attrs.iter();
    attrs.filter(|attr| attr.path().is_ident("cfg")).collect()
}

/// Whether an attribute belongs to the function that users see; the others change the body.
fn is_outer(attribute: &RustAttribute) -> bool {
    let path = attribute.path();
    ["doc", "deprecated", "must_use"]
        .iter()
        .any(|name| path.is_ident(name))
}

fn unraw(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#")
        .map_or_else(|| name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;
    use syn::parse_quote;

    use super::*;

    #[test]
    fn named_lifetimes_are_elided_and_static_is_not() {
        let given: Type = parse_quote!(Json<OrderRef<'d, &'static str>>);
        let wanted: Type = parse_quote!(Json<OrderRef<'_, &'static str>>);
        assert_eq!(
            elided(given).to_token_stream().to_string(),
            wanted.to_token_stream().to_string()
        );
    }
}
