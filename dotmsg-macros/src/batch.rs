//! Handlers of batches: the same function and meta type, but the runtime's call brings several deliveries.
//!
//! A handler takes batches when its last argument is written as `Batch<T>`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Ident, ItemFn, ReturnType, Type};

use crate::attribute::Attribute;
use crate::expand::{Ends, arguments, elided, local};
use crate::signature::{argument_type, only_argument};

/// Whether the function takes batches.
pub(crate) fn is_batch(function: &ItemFn) -> bool {
    let mut types = function.sig.inputs.iter().filter_map(argument_type);
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
pub(crate) fn check(attribute: &Attribute, function: &ItemFn) -> Vec<Error> {
    let types: Vec<_> = function
        .sig
        .inputs
        .iter()
        .filter_map(argument_type)
        .collect();
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
        && !is_batch(function)
    {
        let message = "`batch(…)` is for a handler whose last argument is a `Batch<T>`; this one takes one message at a time";
        errors.push(Error::new(place, message));
    }
    errors
}

/// What the attribute says of batches, as an assignment to the meta value.
pub(crate) fn assigned(attribute: &Attribute, function: &ItemFn) -> Option<TokenStream> {
    if !is_batch(function) {
        return None;
    }
    let some = |field: &str, value: Option<TokenStream>| {
        let field = Ident::new(field, proc_macro2::Span::call_site());
        value.map(|value| quote!(batch.#field = ::core::option::Option::Some(#value);))
    };
    let size = some(
        "size",
        attribute.batch_size.as_ref().map(crate::expand::digits),
    );
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
pub(crate) fn invoke(function: &ItemFn, state_type: &TokenStream) -> TokenStream {
    let [delivery, deliveries, state] = [local("delivery"), local("deliveries"), local("state")];
    let body = body(function, state_type);
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

fn body(function: &ItemFn, state_type: &TokenStream) -> TokenStream {
    let name = &function.sig.ident;
    let types: Vec<Type> = function
        .sig
        .inputs
        .iter()
        .filter_map(argument_type)
        .map(|argument| elided(argument.clone()))
        .collect();
    let arguments = arguments(types.len());
    let [deliveries, state] = [local("deliveries"), local("state")];
    let [value, rejection, extracted] = [local("value"), local("rejection"), local("extracted")];
    let parts = types.iter().zip(&arguments).take(types.len() - 1);
    let parts = parts.map(|(ty, argument)| {
        let Ends { first, last } = Ends::of(ty);
        let open = quote_spanned!(first=> <);
        let from = quote_spanned! {last=>
            #open #ty as ::dotmsg::__private::core::handler::FromBatch<'_, #state_type>>::from_batch
        };
        quote_spanned! {first=>
            let #argument = match #from(&#deliveries, &#state) {
                ::core::result::Result::Ok(#value) => #value,
                ::core::result::Result::Err(#rejection) => {
                    return ::core::result::Result::Err(::core::convert::Into::into(#rejection));
                }
            };
        }
    });
    let (batch, last) = match (types.last(), arguments.last()) {
        (Some(batch), Some(last)) => (batch, last),
        _ => unreachable!("its last argument is a batch"),
    };
    let from_member = from_member(batch, state_type);
    let [returned, answered] = [local("returned"), local("answered")];
    let into_answer = into_answer(function);
    let delivery = local("delivery");
    quote! {
        #(#parts)*
        let (#last, #extracted) = ::dotmsg::__private::core::handler::Batch::extract(
            &#deliveries,
            |#delivery| #from_member(#delivery, &#state),
        );
        if #extracted.is_empty() {
            return ::core::result::Result::Ok(#extracted.rejections());
        }
        let #returned = #name(#(#arguments),*).await;
        let #answered = #into_answer(#returned, #extracted.members());
        #extracted.answer(#answered)
    }
}

/// The path of the function that extracts what a batch is of, with the place of its type.
fn from_member(batch: &Type, state: &TokenStream) -> TokenStream {
    let member = match batch {
        Type::Path(path) => only_argument(&path.path),
        _ => None,
    };
    let Some(member) = member else {
        return quote!(::dotmsg::__private::core::handler::FromMember::from_member);
    };
    let Ends { first, last } = Ends::of(member);
    let open = quote_spanned!(first=> <);
    let from = quote_spanned!(last=> FromMember<'_, #state, _>>::from_member);
    quote_spanned!(last=> #open #member as ::dotmsg::__private::core::handler::#from)
}

/// The path of the function that turns the return value into the answer, with the place of its type.
fn into_answer(function: &ItemFn) -> TokenStream {
    let output = match &function.sig.output {
        ReturnType::Type(_, output) if !matches!(**output, Type::ImplTrait(_)) => {
            elided((**output).clone())
        }
        _ => return quote!(::dotmsg::__private::core::handler::IntoAnswer::into_answer),
    };
    let Ends { first, last } = Ends::of(&output);
    let open = quote_spanned!(first=> <);
    quote_spanned!(last=> #open #output as ::dotmsg::__private::core::handler::IntoAnswer>::into_answer)
}
