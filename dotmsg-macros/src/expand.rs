//! The generated code.
//!
//! `async fn bill(State(r): State<Rates>, Json(o): Json<Order>) -> R { … }` becomes
//!
//! 1. `fn bill(argument0: …, argument1: …) -> Described<impl Future<Output = R> + Send, bill>`, which calls an inner
//!    `async fn bill` with the original tokens. It must be a function: in an `async move` block an unused argument would
//!    drop before the body runs.
//! 2. `enum bill {}` in the *type* namespace, with `impl Meta` (what the attribute says) and `impl<S> Invoke<S>`
//!    (extract, call, turn the return value into a result), all in one future, so that arguments may borrow. That part is
//!    [`Called`], which the methods of `#[handlers]` share.
//!
//! Whatever the compiler may complain about carries the span of the argument's type, trait and method names included:
//! otherwise each error shows again on the attribute.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute as RustAttribute, Ident, ItemFn, Lifetime, ReturnType, Signature, Type};

use crate::attribute::Attribute;
use crate::batch;
use crate::called::{Called, conditions};
use crate::signature::{MAX_ARGUMENTS, argument_type};

/// The function under the attribute, expanded.
pub(crate) fn expand(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let callable = callable(function);
    let meta = meta(attribute, function);
    let invoke = invoke(attribute, function);
    quote! { #callable #meta #invoke }
}

/// What stands for a function that cannot be a handler, so that only the true error shows: it can be called and registered as
/// if it could. The function itself is inside, for the compiler to look at.
pub(crate) fn stub(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let signature = &function.sig;
    let types = signature.inputs.iter().filter_map(argument_type);
    let types: Vec<_> = types.take(MAX_ARGUMENTS).collect();
    if types.len() < signature.inputs.len().min(MAX_ARGUMENTS) {
        // A method: beside it is no place for a type.
        return function.to_token_stream();
    }
    let name = &signature.ident;
    let vis = &function.vis;
    let cfg = cfg(&function.attrs);
    let arguments = arguments(types.len());
    let generics = &signature.generics;
    let conditions = &generics.where_clause;
    let output = match &signature.output {
        ReturnType::Type(_, output) if !matches!(**output, Type::ImplTrait(_)) => quote!(#output),
        _ => quote!(()),
    };
    let meta = meta(attribute, function);
    quote! {
        #(#cfg)*
        #[allow(clippy::too_many_arguments)]
        #vis fn #name #generics (
            #(#arguments: #types),*
        ) -> ::dotmsg::__private::core::handler::Described<::core::future::Pending<#output>, #name>
        #conditions
        {
            #[allow(dead_code)]
            #function

            ::dotmsg::__private::core::handler::Described::new(::core::future::pending())
        }

        #meta

        #(#cfg)*
        impl<S: 'static> ::dotmsg::__private::core::handler::Invoke<S> for #name {
            fn invoke(
                _: ::dotmsg::__private::core::delivery::Delivery,
                _: ::std::sync::Arc<S>,
            ) -> impl ::core::future::Future<Output = ::dotmsg::__private::core::handler::HandlerResult>
                + ::core::marker::Send
                + 'static {
                ::core::future::pending()
            }
        }
    }
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
    let arguments = arguments(types.len());
    let output = match &sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    // Shown when the future is not `Send`. Hygiene and edition stay the macro's own: see the crate's documentation.
    let future = quote_spanned! {Span::mixed_site().located_at(name.span())=>
        impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    quote! {
        #(#cfg)*
        #(#outer)*
        #[allow(clippy::too_many_arguments)]
        #vis fn #name #generics (
            #(#arguments: #types),*
        ) -> ::dotmsg::__private::core::handler::Described<#future, #name>
        #conditions
        {
            #(#inner)*
            #[allow(clippy::unused_async)]
            #sig #block

            ::dotmsg::__private::core::handler::Described::new(#name(#(#arguments),*))
        }
    }
}

/// The meta type and what the attribute says.
fn meta(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let vis = &function.vis;
    let cfg = cfg(&function.attrs);
    let said = said(attribute, &function.sig);
    quote! {
        #(#cfg)*
        #[doc(hidden)]
        #[allow(non_camel_case_types, missing_debug_implementations, clippy::empty_enums, clippy::empty_enum)]
        #vis enum #name {}

        #(#cfg)*
        impl ::dotmsg::__private::core::handler::Meta for #name {
            const META: ::dotmsg::__private::core::handler::HandlerMeta = #said;
        }
    }
}

/// What the attribute of a function says, as an expression.
pub(crate) fn said(attribute: &Attribute, signature: &Signature) -> TokenStream {
    let route = match &attribute.name {
        Some(given) => given.value(),
        None => unraw(&signature.ident),
    };
    let topic = attribute
        .topic
        .as_ref()
        .map_or_else(String::new, syn::LitStr::value);
    let batch = batch::assigned(attribute, signature);
    let assigned = assigned(attribute).into_iter().chain(batch);
    quote! {{
        #[allow(unused_mut)]
        let mut meta = ::dotmsg::__private::core::handler::HandlerMeta::new(#route, #topic);
        #(#assigned)*
        meta
    }}
}

fn assigned(attribute: &Attribute) -> Vec<TokenStream> {
    let some = |field: TokenStream, value: Option<TokenStream>| {
        value.map(|value| quote!(meta.#field = ::core::option::Option::Some(#value);))
    };
    let text = |value: &Option<syn::LitStr>| value.as_ref().map(|value| quote!(#value));
    let number = |value: &Option<syn::LitInt>| value.as_ref().map(digits);
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

/// A number written again from its digits: a literal may carry a suffix or the span of another macro.
pub(crate) fn digits(value: &syn::LitInt) -> TokenStream {
    let place = Span::mixed_site().located_at(value.span());
    syn::LitInt::new(value.base10_digits(), place).to_token_stream()
}

/// How the runtime calls the function.
fn invoke(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let cfg = cfg(&function.attrs);
    let generic = local("DotmsgState");
    let (parameters, state_type, conditions) = match &attribute.state {
        Some(given) => (quote!(), quote!(#given), quote!()),
        None => {
            let conditions = conditions([&function.sig], &generic);
            (quote!(<#generic>), quote!(#generic), conditions)
        }
    };
    let called = Called {
        signature: &function.sig,
        path: quote!(#name),
        receiver: None,
    };
    let needs = called.needs(&state_type);
    let calls = match called.takes_batches() {
        true => batch::invoke(&called, &state_type),
        false => invoke_one(&called, &state_type),
    };
    quote! {
        #(#cfg)*
        #[allow(clippy::unit_arg)]
        impl #parameters ::dotmsg::__private::core::handler::Invoke<#state_type> for #name #conditions {
            const NEEDS: ::dotmsg::__private::core::handler::Needs = #needs;

            #calls
        }
    }
}

fn invoke_one(called: &Called<'_>, state_type: &TokenStream) -> TokenStream {
    let [delivery, state] = [local("delivery"), local("state")];
    let body = called.body(state_type);
    quote! {
        fn invoke(
            #delivery: ::dotmsg::__private::core::delivery::Delivery,
            #state: ::std::sync::Arc<#state_type>,
        ) -> impl ::core::future::Future<Output = ::dotmsg::__private::core::handler::HandlerResult>
            + ::core::marker::Send
            + 'static {
            async move { #body }
        }
    }
}

/// The places of the first and the last token of a type.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) first: Span,
    pub(crate) last: Span,
}

impl Ends {
    pub(crate) fn of(ty: &Type) -> Self {
        let mut spans = ty.to_token_stream().into_iter().map(|token| token.span());
        let first = spans.next().unwrap_or_else(Span::call_site);
        Self {
            first,
            last: spans.last().unwrap_or(first),
        }
    }
}

/// The path of an item of a type's implementation of a trait: `trait_name` is one of the core's `handler`, `arguments` what
/// stands between its angle brackets.
///
/// It begins at the type's first token and ends at its last, so that the compiler takes it for the place of the type; with
/// one span for all of it, one mistake is reported at two places.
pub(crate) fn item_of(
    ty: &Type,
    trait_name: &str,
    arguments: &TokenStream,
    item: &str,
) -> TokenStream {
    let Ends { first, last } = Ends::of(ty);
    let open = quote_spanned!(first=> <);
    let [trait_name, item] = [trait_name, item].map(|name| Ident::new(name, last));
    quote_spanned! {last=>
        #open #ty as ::dotmsg::__private::core::handler::#trait_name<#arguments>>::#item
    }
}

/// A name of the generated code's own, that no name of the user's can meet.
pub(crate) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

pub(crate) fn arguments(count: usize) -> Vec<Ident> {
    (0..count)
        .map(|index| local(&format!("argument{index}")))
        .collect()
}

/// The type with every named lifetime elided: in `invoke` they are all the lifetime of the delivery in hand.
pub(crate) fn elided(mut argument: Type) -> Type {
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

/// The conditions under which an item is there.
pub(crate) fn cfg(attributes: &[RustAttribute]) -> Vec<&RustAttribute> {
    let attributes = attributes.iter();
    attributes
        .filter(|attr| attr.path().is_ident("cfg"))
        .collect()
}

/// Whether an attribute belongs to the function that users see; the others change the body.
fn is_outer(attribute: &RustAttribute) -> bool {
    let path = attribute.path();
    ["doc", "deprecated", "must_use"]
        .iter()
        .any(|name| path.is_ident(name))
}

pub(crate) fn unraw(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#")
        .map_or_else(|| name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
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
