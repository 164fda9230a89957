//! Handlers of batches: the same function and meta type, but the runtime's call brings several deliveries.
//!
//! A handler takes batches when its last argument is written as `Batch<T>`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, Ident, Signature, Type};

use crate::attribute::Attribute;
use crate::called::{Called, argument_types, classified, extract, function_of_output};
use crate::expand::{arguments, digits, item_of, local};
use crate::signature::{argument_type, only_argument};

/// Whether the function takes batches.
pub(crate) fn is_batch(signature: &Signature) -> bool {
    let mut types = signature.inputs.iter().filter_map(argument_type);
    types.next_back().is_some_and(is_batch_type)
}

fn is_batch_type(argument: &Type) -> bool {
    let Type::Path(path) = argument else {
        return false;
    };
    path.path
        .segments
        .last()
        .is_some_and(|last| last.ident == "Batch")
}

/// What does not go together with batches, each at its own place.
pub(crate) fn check(attribute: &Attribute, signature: &Signature) -> Vec<Error> {
    let types: Vec<_> = signature.inputs.iter().filter_map(argument_type).collect();
    let others = types.split_last().map_or(&[][..], |(_, others)| others);
    let misplaced = others
        .iter()
        .filter(|other| is_batch_type(other))
        .map(|other| {
            Error::new(
                other.span(),
                "the batch must be the last argument, and there is only one",
            )
        });
    let mut errors: Vec<_> = misplaced.collect();
    if let Some(place) = attribute.batch
        && errors.is_empty()
        && !is_batch(signature)
    {
        let message = "`batch(…)` is for a handler whose last argument is a `Batch<T>`; this one takes one message at a time";
        errors.push(Error::new(place, message));
    }
    errors
}

/// What the attribute says of batches, as an assignment to the meta value.
pub(crate) fn assigned(attribute: &Attribute, signature: &Signature) -> Option<TokenStream> {
    if !is_batch(signature) {
        return None;
    }
    let some = |field: &str, value: Option<TokenStream>| {
        let field = Ident::new(field, proc_macro2::Span::call_site());
        value.map(|value| quote!(batch.#field = ::core::option::Option::Some(#value);))
    };
    let size = some("size", attribute.batch_size.as_ref().map(digits));
    let linger = some(
        "linger",
        attribute
            .batch_linger
            .as_ref()
            .map(|linger| quote!(#linger)),
    );
    Some(quote! {
        meta.batch = ::core::option::Option::Some({
            #[allow(unused_mut)]
            let mut batch = ::dotmsg::__private::core::handler::BatchMeta::NONE;
            #size
            #linger
            batch
        });
    })
}

/// How the runtime calls the function: the items of its `impl Invoke`.
pub(crate) fn invoke(called: &Called<'_>, state_type: &TokenStream) -> TokenStream {
    let [delivery, deliveries, state] = [local("delivery"), local("deliveries"), local("state")];
    let body = body(called, state_type);
    quote! {
        fn invoke(
            #delivery: ::dotmsg::__private::core::delivery::Delivery,
            #state: ::std::sync::Arc<#state_type>,
        ) -> impl ::core::future::Future<Output = ::dotmsg::__private::core::handler::HandlerResult>
            + ::core::marker::Send
            + 'static {
            ::dotmsg::__private::core::handler::batch_of_one::<Self, #state_type>(#delivery, #state)
        }

        fn invoke_batch(
            #deliveries: ::std::vec::Vec<::dotmsg::__private::core::delivery::Delivery>,
            #state: ::std::sync::Arc<#state_type>,
        ) -> impl ::core::future::Future<
            Output = ::core::result::Result<
                ::dotmsg::__private::core::handler::Answer,
                ::dotmsg::__private::core::handler::HandlerError,
            >,
        > + ::core::marker::Send + 'static {
            async move { #body }
        }
    }
}

/// Extracts the arguments from `deliveries` and `state` ([`local`] names), calls, and turns the return value into an answer.
pub(crate) fn body(called: &Called<'_>, state_type: &TokenStream) -> TokenStream {
    let signature = called.signature;
    let types = argument_types(signature);
    let arguments = arguments(types.len());
    let [deliveries, delivery, state] = [local("deliveries"), local("delivery"), local("state")];
    let [extracted, returned, answered] =
        [local("extracted"), local("returned"), local("answered")];
    let parts = types.iter().zip(&arguments).take(types.len() - 1);
    let parts = parts.map(|(ty, argument)| {
        let from = part(ty, state_type, "from_batch");
        extract(argument, ty, &from, &deliveries)
    });
    let last = arguments.last();
    let from_member = member(types.last(), state_type, "from_member");
    let into_answer = function_of_output(&signature.output, "IntoAnswer", "into_answer");
    let answer = quote!(#into_answer(#returned, #extracted.members()));
    let answer = classified(&signature.output, &returned, &answer);
    let call = called.call(&arguments);
    quote! {
        #(#parts)*
        let (#last, #extracted) = ::dotmsg::__private::core::handler::Batch::extract(
            &#deliveries,
            |#delivery| #from_member(#delivery, &#state),
        );
        if #extracted.is_empty() {
            return ::core::result::Result::Ok(#extracted.rejections());
        }
        let #returned = #call.await;
        let #answered = { #answer };
        #extracted.answer(#answered)
    }
}

/// What the arguments ask of the route, as an expression.
pub(crate) fn needs(signature: &Signature, state_type: &TokenStream) -> TokenStream {
    let types = argument_types(signature);
    let last = member(types.last(), state_type, "NEEDS");
    let parts = types.iter().take(types.len() - 1);
    let parts = parts.map(|ty| part(ty, state_type, "NEEDS"));
    quote!(#last #(.and(#parts))*)
}

/// The path of an item of a part's trait, with the place of its type.
fn part(ty: &Type, state: &TokenStream, item: &str) -> TokenStream {
    item_of(ty, "FromBatch", &quote!('_, #state), item)
}

/// The same for what the batch is of.
fn member(batch: Option<&Type>, state: &TokenStream, item: &str) -> TokenStream {
    let member = match batch {
        Some(Type::Path(path)) => only_argument(&path.path),
        _ => None,
    };
    let Some(member) = member else {
        let item = local(item);
        return quote!(::dotmsg::__private::core::handler::FromMember::#item);
    };
    item_of(member, "FromMember", &quote!('_, #state, _), item)
}
