//! A call of a handler by the runtime, as code: what is extracted and how, what it asks of the route, what becomes of what is
//! returned. Functions and methods share it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, ReturnType, Signature, Type};

use crate::batch;
use crate::expand::{Ends, arguments, elided, item_of, local};
use crate::signature::{argument_type, is_payload, only_argument};

/// The return value as a result, whose error is of the class that its type says. It is asked for first: the conversion
/// takes the value, and knows of no class.
fn settled(output: &ReturnType, returned: &Ident) -> TokenStream {
    let into_returned = function_of_output(output, "IntoReturned", "into_returned");
    classified(output, returned, &quote!(#into_returned(#returned)))
}

/// `result`, made of the return value, with its error of the class that its type says.
pub(crate) fn classified(
    output: &ReturnType,
    returned: &Ident,
    result: &TokenStream,
) -> TokenStream {
    match output {
        ReturnType::Type(_, output) if !matches!(**output, Type::ImplTrait(_)) => {
            let said = local("said");
            quote! {
                let #said = ::dotmsg::__private::core::handler::ClassOf(&#returned).said();
                ::dotmsg::__private::core::handler::Said::put(#said, #result)
            }
        }
        _ => quote!(#result),
    }
}

/// What the app's state must be for handlers of these signatures.
pub(crate) fn conditions<'a>(
    signatures: impl IntoIterator<Item = &'a Signature>,
    state: &Ident,
) -> TokenStream {
    let types = signatures.into_iter().flat_map(argument_types);
    let parts = types.filter_map(|argument| sub_state(&argument, state));
    quote! {
        where
            #state: ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#parts,)*
    }
}

/// A function or method that the runtime calls.
pub(crate) struct Called<'a> {
    pub(crate) signature: &'a Signature,
    pub(crate) path: TokenStream,
    /// What a method is called on.
    pub(crate) receiver: Option<TokenStream>,
}

impl Called<'_> {
    /// Extracts the arguments from `delivery` and `state` ([`local`] names), calls, and turns the return value into a result.
    pub(crate) fn body(&self, state_type: &TokenStream) -> TokenStream {
        let types = argument_types(self.signature);
        let arguments = arguments(types.len());
        let extract = types
            .iter()
            .zip(&arguments)
            .enumerate()
            .map(|(index, (ty, argument))| {
                let from = extraction(ty, index + 1 == types.len(), state_type).function();
                extract(argument, ty, &from, &local("delivery"))
            });
        let returned = local("returned");
        let settled = settled(&self.signature.output, &returned);
        let call = self.call(&arguments);
        quote! {
            #(#extract)*
            let #returned = #call.await;
            #settled
        }
    }

    /// The call itself.
    pub(crate) fn call(&self, arguments: &[Ident]) -> TokenStream {
        let Self { path, receiver, .. } = self;
        let receiver = receiver.iter();
        quote!(#path(#(#receiver,)* #(#arguments),*))
    }

    /// Whether it is called with batches.
    pub(crate) fn takes_batches(&self) -> bool {
        batch::is_batch(self.signature)
    }

    /// What the arguments ask of the route, as an expression.
    pub(crate) fn needs(&self, state_type: &TokenStream) -> TokenStream {
        if self.takes_batches() {
            return batch::needs(self.signature, state_type);
        }
        let types = argument_types(self.signature);
        let each = types.iter().enumerate().map(|(index, ty)| {
            let needs = extraction(ty, index + 1 == types.len(), state_type).needs();
            quote!(.and(#needs))
        });
        quote!(::dotmsg::__private::core::handler::Needs::NONE #(#each)*)
    }
}

/// The types of the arguments, as they may be written in the generated code.
pub(crate) fn argument_types(signature: &Signature) -> Vec<Type> {
    let types = signature.inputs.iter().filter_map(argument_type);
    types.map(|argument| elided(argument.clone())).collect()
}

/// Takes an argument out of what was delivered, or returns why it cannot be.
pub(crate) fn extract(
    argument: &Ident,
    ty: &Type,
    from: &TokenStream,
    delivered: &Ident,
) -> TokenStream {
    let [state, value, rejection] = [local("state"), local("value"), local("rejection")];
    quote_spanned! {Ends::of(ty).first=>
        let #argument = match #from(&#delivered, &#state) {
            ::core::result::Result::Ok(#value) => #value,
            ::core::result::Result::Err(#rejection) => {
                return ::core::result::Result::Err(::core::convert::Into::into(#rejection));
            }
        };
    }
}

/// The path of a function that takes the return value, with the place of its type.
pub(crate) fn function_of_output(
    output: &ReturnType,
    trait_name: &str,
    function: &str,
) -> TokenStream {
    match output {
        // An opaque type cannot be named again; nothing returned cannot be wrong.
        ReturnType::Type(_, output) if !matches!(**output, Type::ImplTrait(_)) => {
            item_of(&elided((**output).clone()), trait_name, &quote!(), function)
        }
        _ => {
            let [trait_name, function] = [trait_name, function].map(local);
            quote!(::dotmsg::__private::core::handler::#trait_name::#function)
        }
    }
}

/// How an argument of this type is extracted.
fn extraction<'a>(ty: &'a Type, is_last: bool, state: &TokenStream) -> Extraction<'a> {
    let (trait_name, arguments, function) = if !is_last || is_state(ty) {
        ("FromDelivery", quote!('_, #state), "from_delivery")
    } else if is_payload(ty) {
        ("FromPayload", quote!('_, #state), "from_payload")
    } else {
        ("FromLast", quote!('_, #state, _), "from_last")
    };
    Extraction {
        ty,
        trait_name,
        arguments,
        function,
    }
}

/// A type as an extractor: by which trait, and by which function of it.
struct Extraction<'a> {
    ty: &'a Type,
    trait_name: &'static str,
    arguments: TokenStream,
    function: &'static str,
}

impl Extraction<'_> {
    /// The path of the function.
    fn function(&self) -> TokenStream {
        self.item(self.function)
    }

    /// The path of its constant.
    fn needs(&self) -> TokenStream {
        self.item("NEEDS")
    }

    fn item(&self, name: &str) -> TokenStream {
        item_of(self.ty, self.trait_name, &self.arguments, name)
    }
}

/// What a `State<T>` demands of the state: only these bounds mention it, so that an argument that is no extractor is an
/// error at the argument, and a missing sub-state one where the handler is registered.
fn sub_state(argument: &Type, state: &Ident) -> Option<TokenStream> {
    let Type::Path(path) = argument else {
        return None;
    };
    if !is_state(argument) {
        return None;
    }
    let part = only_argument(&path.path)?;
    let span = part.span();
    Some(quote_spanned!(span=> #part: ::dotmsg::__private::core::handler::FromRef<#state>))
}

/// Whether the type is written as `State<T>`.
pub(crate) fn is_state(argument: &Type) -> bool {
    let Type::Path(path) = argument else {
        return false;
    };
    let last = path.path.segments.last();
    last.is_some_and(|last| last.ident == "State")
}
