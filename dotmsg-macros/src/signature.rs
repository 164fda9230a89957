//! What can be told from the signature alone, without types: each mistake at its own place.

use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, GenericParam, Path, PathArguments, Receiver, Result,
    Signature, Token, Type,
};

/// The most arguments a handler may have: registration is written out for each number up to this.
pub(crate) const MAX_ARGUMENTS: usize = 12;

/// Checks that a function can be a handler as far as its signature tells.
pub(crate) fn check(signature: &Signature) -> Result<()> {
    let mut errors = wrong_of_any(signature);
    if let Some(receiver) = signature.receiver() {
        errors.push(Error::new(
            receiver.span(),
            "a method is a handler within a block under `#[dotmsg::handlers]`: put that on the `impl`, and `#[handler(…)]` on the method",
        ));
    }
    if let Some(over) = signature.inputs.iter().nth(MAX_ARGUMENTS) {
        errors.push(Error::new(
            over.span(),
            format!("a handler has at most {MAX_ARGUMENTS} arguments"),
        ));
    }
    all_of(errors)
}

/// Checks the same of a method in a block under `#[handlers]`.
pub(crate) fn check_method(signature: &Signature) -> Result<()> {
    let mut errors = wrong_of_any(signature);
    match signature.receiver() {
        None => errors.push(Error::new(
            signature.ident.span(),
            "a handler of this block takes `&self`; a function that does not use the value stands outside of the `impl`, under `#[dotmsg::handler]`",
        )),
        Some(receiver) if !is_shared_self(receiver) => errors.push(Error::new(
            receiver.span(),
            "a handler takes `&self`: its calls run side by side and share the value; keep what changes in a `Mutex` or an atomic",
        )),
        Some(_) => {}
    }
    all_of(errors)
}

fn is_shared_self(receiver: &Receiver) -> bool {
    // `self: Arc<Self>` has a type that is written out.
    receiver.reference.is_some() && receiver.mutability.is_none() && receiver.colon_token.is_none()
}

fn wrong_of_any(signature: &Signature) -> Vec<Error> {
    let mut errors = Vec::new();
    if signature.asyncness.is_none() {
        errors.push(Error::new(
            signature.fn_token.span,
            "a handler is an `async fn`: write `async` before `fn`",
        ));
    }
    if let Some(word) = &signature.unsafety {
        errors.push(Error::new(word.span, "a handler cannot be `unsafe`"));
    }
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            errors.push(Error::new(
                parameter.span(),
                "a handler cannot be generic over types or constants: the attribute names one subscription, so write the type out",
            ));
        }
    }
    errors.extend(signature.inputs.iter().filter_map(conditional));
    errors.extend(misplaced_payloads(signature));
    errors
}

fn all_of(errors: Vec<Error>) -> Result<()> {
    errors
        .into_iter()
        .reduce(|mut all, error| {
            all.combine(error);
            all
        })
        .map_or(Ok(()), Err)
}

/// The error of an argument under `#[cfg]`: the attribute sees it whatever the condition comes to.
fn conditional(argument: &FnArg) -> Option<Error> {
    let condition = condition_of(argument)?;
    let message =
        "an argument of a handler cannot depend on a condition: put `#[cfg]` on two functions";
    Some(Error::new(condition.span(), message))
}

fn condition_of(argument: &FnArg) -> Option<&Attribute> {
    let FnArg::Typed(argument) = argument else {
        return None;
    };
    let mut attributes = argument.attrs.iter();
    attributes.find(|attribute| {
        let path = attribute.path();
        path.is_ident("cfg") || path.is_ident("cfg_attr")
    })
}

/// Payloads that are not last, as far as they are written with the names of the framework's own kinds. Others are found
/// by their types, with a longer message.
fn misplaced_payloads(signature: &Signature) -> Vec<Error> {
    let types: Vec<_> = signature.inputs.iter().filter_map(argument_type).collect();
    let Some((last, others)) = types.split_last() else {
        return Vec::new();
    };
    others
        .iter()
        .filter(|other| is_payload(other))
        .map(|other| {
            let message = if is_payload(last) {
                "a handler has only one payload, and it is the last argument: this is another one"
            } else {
                "the payload must be the last argument"
            };
            Error::new(other.span(), message)
        })
        .collect()
}

/// Whether the type is written with the name of one of the framework's own kinds of payload.
pub(crate) fn is_payload(argument: &Type) -> bool {
    let Type::Path(path) = argument else {
        return false;
    };
    let Some(last) = path.path.segments.last() else {
        return false;
    };
    match last.ident.to_string().as_str() {
        "Json" | "Bytes" => true,
        "Option" => only_argument(&path.path).is_some_and(is_payload),
        // Of a `Result<Json<T>, JsonRejection>` the first says which it is.
        "Result" => first_argument(&path.path).is_some_and(is_payload),
        _ => false,
    }
}

/// The type of an argument; `None` for `self`, and for one that may not be there.
pub(crate) fn argument_type(argument: &FnArg) -> Option<&Type> {
    match argument {
        FnArg::Typed(_) if condition_of(argument).is_some() => None,
        FnArg::Typed(argument) => Some(&argument.ty),
        FnArg::Receiver(_) => None,
    }
}

/// The `T` of a path that ends in `Name<T>`.
pub(crate) fn only_argument(path: &Path) -> Option<&Type> {
    match arguments_of(path)? {
        arguments if arguments.len() == 1 => first_argument(path),
        _ => None,
    }
}

/// The `T` of a path that ends in `Name<T, …>`.
fn first_argument(path: &Path) -> Option<&Type> {
    match arguments_of(path)?.first()? {
        GenericArgument::Type(argument) => Some(argument),
        _ => None,
    }
}

fn arguments_of(path: &Path) -> Option<&Punctuated<GenericArgument, Token![,]>> {
    match &path.segments.last()?.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_payload_is_seen_through_what_is_around_it() {
        let payloads: [Type; 6] = [
            parse_quote!(Json<u64>),
            parse_quote!(dotmsg::Bytes),
            parse_quote!(Option<Json<Order<'_>>>),
            parse_quote!(Result<Json<u64>, JsonRejection>),
            parse_quote!(std::result::Result<Option<Json<u64>>, JsonRejection>),
            parse_quote!(Option<Result<Json<u64>, JsonRejection>>),
        ];
        assert!(payloads.iter().all(is_payload));
        let parts: [Type; 4] = [
            parse_quote!(Key<Json>),
            parse_quote!(Result<Key<u64>, KeyRejection>),
            parse_quote!(Result),
            parse_quote!(State<Bytes>),
        ];
        assert!(!parts.iter().any(is_payload));
    }
}
