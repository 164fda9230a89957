//! The attribute and the derives of dotmsg. Use them through the facade crate `dotmsg`, which the generated code refers to.
//!
//! This crate is of edition 2024 whatever the user's is: the `impl Future` in the generated signature captures every
//! lifetime of the arguments because of that.

mod attribute;
mod batch;
mod block;
mod called;
mod derive;
mod entry;
mod expand;
mod methods;
mod signature;
mod value;

use proc_macro::TokenStream;

/// Makes a message handler of an async function, and says what it subscribes to.
///
/// The function stays as it is for whoever calls it: a unit test calls it with its arguments and awaits its return
/// value. Its arguments are extractors, parts in any order and the payload last, and may borrow from the delivery; its
/// return value says what is published and how the delivery is settled.
///
/// | Key | Value | When it is not said |
/// |---|---|---|
/// | `topic` | the topic, without the backend's prefix | required |
/// | `group` | the consumer group | the config names it |
/// | `name` | the route's name in the config: letters, digits, `-`, single `_` | the function's name |
/// | `backend` | the backend's name in the config | `main` |
/// | `concurrency` | handlers running at once, at least 1 | 256 |
/// | `ordering` | `"key"`, `"partition"`, `"none"` | `"key"` |
/// | `timeout` | a duration: the limit of one call | no limit |
/// | `retry(…)` | `tiers`: ascending durations; `order`: `"keep"`, `"relax"`; `attempts`: calls in a row | no tiers; 3 calls in a row, then the dead letter (1 call with tiers, or under `at_most_once`) |
/// | `delivery` | `"at_most_once"`, `"at_least_once"`, `"exactly_once"` | `"at_least_once"` |
/// | `start` | `"earliest"`, `"latest"`: where a new group starts | `"earliest"` |
/// | `batch(…)` | `size`: messages in a batch at most; `linger`: how long the first waits for more; for a handler whose last argument is a `Batch<T>` | 100, `"50ms"` |
/// | `state` | the app's type of state, for extractors that work with that one only | any state that has the parts |
///
/// Everything but `name` and `state` is a default that the config may override for the route of this name (`topic` too, so
/// that one function can be pointed elsewhere; the attribute must say one all the same).
#[proc_macro_attribute]
pub fn handler(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let place = proc_macro2::Span::call_site();
    let (attribute, mut errors) = attribute::parse(attribute.into(), place);
    let original = proc_macro2::TokenStream::from(item);
    let code = match syn::parse2::<syn::ItemFn>(original.clone()) {
        Ok(function) => match signature::check(&function.sig) {
            Ok(()) => {
                let wrong = batch::check(&attribute, &function.sig);
                match wrong.is_empty() {
                    true => expand::expand(&attribute, &function),
                    false => {
                        errors.extend(wrong);
                        expand::stub(&attribute, &function)
                    }
                }
            }
            Err(error) => {
                errors.push(error);
                expand::stub(&attribute, &function)
            }
        },
        Err(error) => {
            errors.push(error);
            original
        }
    };
    let errors = errors.iter().map(syn::Error::to_compile_error);
    errors
        .chain([code])
        .collect::<proc_macro2::TokenStream>()
        .into()
}

/// Makes message handlers of methods: `#[handler(…)]`, with the keys of [`macro@handler`], on each that is one.
///
/// The block stays as it is, so a unit test calls its methods. A handler is an `async fn` that takes `&self`, then extractors,
/// any number of them; everything else in the block is left alone. The route's name is the method's, unless `name` says
/// another. `App::handlers` takes the value, and shares it between the calls.
#[proc_macro_attribute]
pub fn handlers(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item);
    let code = match syn::parse2::<syn::ItemImpl>(original.clone()) {
        Ok(item) => methods::expand(&block::Block::read(arguments.into(), item)),
        Err(error) => {
            let error = block::not_a_block(&original)
                .unwrap_or(error)
                .to_compile_error();
            quote::quote! { #error #original }
        }
    };
    code.into()
}

/// Makes each field of the app's state a part that handlers can take as `State<T>`: `impl FromRef<Service> for T`, which
/// clones the field. `#[from_ref(skip)]` leaves a field out.
#[proc_macro_derive(FromRef, attributes(from_ref))]
pub fn from_ref(item: TokenStream) -> TokenStream {
    derived(item, derive::from_ref::expand)
}

/// Makes an error say its class and kind: `#[classify(transient)]`, `#[classify(permanent)]` or `#[classify(inner)]`, each
/// with `kind = "…"` if wanted, on a struct or on each variant of an enum.
#[proc_macro_derive(Classify, attributes(classify))]
pub fn classify(item: TokenStream) -> TokenStream {
    derived(item, derive::classify::expand)
}

/// Makes an enum a payload of several types, told apart by a name in a header (`#[payload(header = "…")]` on the enum) or in a
/// field of the JSON (`#[payload(field = "…")]`). Variants have `#[payload(name = "…")]`, one may have `#[payload(other)]`.
#[proc_macro_derive(FromPayload, attributes(payload))]
pub fn from_payload(item: TokenStream) -> TokenStream {
    derived(item, derive::from_payload::expand)
}

fn derived(
    item: TokenStream,
    expand: fn(&syn::DeriveInput) -> proc_macro2::TokenStream,
) -> TokenStream {
    match syn::parse(item) {
        Ok(input) => expand(&input).into(),
        Err(error) => error.to_compile_error().into(),
    }
}
