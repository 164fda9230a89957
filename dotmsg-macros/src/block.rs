//! The impl block under `#[handlers]`: which of its methods are handlers, and what is wrong with it.
//!
//! All that is wrong is reported at once. What is left of a block with mistakes is expanded as if it had none, so that
//! nothing else that uses it is an error of its own.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute as RustAttribute, Error, GenericParam, Ident, ImplItem, ImplItemFn, ItemImpl,
    Lifetime, Meta, Signature, Type, parse_quote,
};

use crate::attribute::{self, Attribute};
use crate::batch;
use crate::called::is_state;
use crate::expand::cfg;
use crate::signature::{self, argument_type};

/// A method that is a handler.
pub(crate) struct Method {
    pub(crate) attribute: Attribute,
    pub(crate) signature: Signature,
    /// The conditions under which it is there.
    pub(crate) cfg: Vec<RustAttribute>,
}

/// A block, taken apart.
pub(crate) struct Block {
    /// The block without the attributes that are ours.
    pub(crate) item: ItemImpl,
    /// Its type can have handlers, whatever is wrong with its methods.
    pub(crate) is_sound: bool,
    pub(crate) methods: Vec<Method>,
    pub(crate) errors: Vec<Error>,
}

impl Block {
    /// Takes a block apart; `arguments` are those of its attribute.
    pub(crate) fn read(arguments: TokenStream, mut item: ItemImpl) -> Self {
        let mut errors = Vec::new();
        if !arguments.is_empty() {
            errors.push(Error::new_spanned(
                arguments,
                "`#[handlers]` takes nothing: topic, group and the rest stand in `#[handler(…)]` on each method",
            ));
        }
        let wrong = wrong_block(&item);
        let is_sound = wrong.is_empty();
        errors.extend(wrong);
        let mut methods = Vec::new();
        let mut any = false;
        for item in &mut item.items {
            let ours = take_ours(item);
            any |= !ours.is_empty();
            match (item, ours.split_first()) {
                (_, None) => {}
                (ImplItem::Fn(method), Some((ours, again))) => {
                    errors.extend(again.iter().map(twice));
                    methods.extend(read_method(method, ours, &mut errors));
                }
                (_, Some((ours, _))) => {
                    let message =
                        "`#[handler]` stands on a method: an `async fn` that takes `&self`";
                    errors.push(Error::new(place(ours), message));
                }
            }
        }
        if !any {
            errors.push(Error::new(
                item.self_ty.span(),
                "no method of this block is a handler: put `#[handler(topic = \"…\", group = \"…\")]` on those that are",
            ));
        }
        errors.extend(take_misfits(&mut methods));
        Self {
            item,
            is_sound,
            methods,
            errors,
        }
    }

    /// The app's type of state, where a method says it.
    pub(crate) fn state(&self) -> Option<&Type> {
        let mut methods = self.methods.iter();
        methods.find_map(|method| method.attribute.state.as_ref())
    }
}

/// The error of an item that is none; `None` when it is not even that.
pub(crate) fn not_a_block(tokens: &TokenStream) -> Option<Error> {
    let item: syn::Item = syn::parse2(tokens.clone()).ok()?;
    Some(Error::new(
        item.span(),
        "`#[handlers]` stands on an `impl` block, with `#[handler(topic = \"…\")]` on methods in there; a function takes `#[dotmsg::handler]`",
    ))
}

/// What is wrong with the block itself.
fn wrong_block(item: &ItemImpl) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some((_, of, _)) = &item.trait_ {
        let message = format!(
            "`#[handlers]` stands on the methods of a type, not on those of a trait: write `impl {} {{ … }}`",
            text(&item.self_ty)
        );
        errors.push(Error::new(of.span(), message));
    }
    for parameter in &item.generics.params {
        errors.push(match parameter {
            GenericParam::Lifetime(lifetime) => borrows(&lifetime.lifetime),
            _ => Error::new(
                parameter.span(),
                "a block of handlers cannot be generic: each of its attributes names one subscription, so write the type out, as in `impl Billing<Postgres>`",
            ),
        });
    }
    if item.generics.params.is_empty() {
        errors.extend(lifetimes(&item.self_ty).iter().map(borrows));
    }
    errors
}

fn borrows(lifetime: &Lifetime) -> Error {
    Error::new(
        lifetime.span(),
        "a value with handlers borrows nothing, because it lives as long as the app: let it own what it holds, or share it by an `Arc`",
    )
}

/// The lifetimes that a type is written with, `'static` left out.
fn lifetimes(ty: &Type) -> Vec<Lifetime> {
    struct Found(Vec<Lifetime>);
    impl VisitMut for Found {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                self.0.push(lifetime.clone());
            }
        }
    }
    let mut found = Found(Vec::new());
    visit_mut::visit_type_mut(&mut found, &mut ty.clone());
    found.0
}

/// Takes `#[handler]` off an item of the block, as often as it stands there.
fn take_ours(item: &mut ImplItem) -> Vec<RustAttribute> {
    let attributes = match item {
        ImplItem::Fn(item) => &mut item.attrs,
        ImplItem::Const(item) => &mut item.attrs,
        ImplItem::Type(item) => &mut item.attrs,
        ImplItem::Macro(item) => &mut item.attrs,
        _ => return Vec::new(),
    };
    let (ours, others) = attributes.drain(..).partition(is_handler);
    *attributes = others;
    ours
}

/// `handler` or `dotmsg::handler`.
fn is_handler(attribute: &RustAttribute) -> bool {
    let segments = attribute.path().segments.iter();
    let names: Vec<&Ident> = segments.map(|segment| &segment.ident).collect();
    match names[..] {
        [name] => name == "handler",
        [of, name] => of == "dotmsg" && name == "handler",
        _ => false,
    }
}

/// Reads a method that is a handler; `None` when it cannot be one.
fn read_method(
    method: &mut ImplItemFn,
    ours: &RustAttribute,
    errors: &mut Vec<Error>,
) -> Option<Method> {
    let tokens = match &ours.meta {
        Meta::Path(_) => TokenStream::new(),
        Meta::List(list) => list.tokens.clone(),
        Meta::NameValue(_) => {
            let message = "write `#[handler(topic = \"…\", group = \"…\")]`";
            errors.push(Error::new(place(ours), message));
            return None;
        }
    };
    let (attribute, wrong) = attribute::parse(tokens, place(ours));
    errors.extend(wrong);
    if let Err(wrong) = signature::check_method(&method.sig) {
        errors.push(wrong);
        return None;
    }
    let wrong = batch::check(&attribute, &method.sig);
    if !wrong.is_empty() {
        errors.extend(wrong);
        return None;
    }
    let cfg: Vec<RustAttribute> = cfg(&method.attrs).into_iter().cloned().collect();
    // What a handler has to be is no matter of taste.
    method.attrs.push(parse_quote! {
        #[allow(clippy::too_many_arguments, clippy::unused_async, clippy::unused_self)]
    });
    Some(Method {
        attribute,
        signature: method.sig.clone(),
        cfg,
    })
}

fn twice(again: &RustAttribute) -> Error {
    Error::new(
        place(again),
        "`#[handler]` stands on this method already: a handler has one subscription, so write a second method that calls this one",
    )
}

/// Leaves out the methods whose state does not fit to the others': the block has one.
fn take_misfits(methods: &mut Vec<Method>) -> Vec<Error> {
    let mut states = methods
        .iter()
        .filter_map(|method| method.attribute.state.clone());
    let state = states.next();
    let mut errors = Vec::new();
    methods.retain(|method| {
        let wrong = match &state {
            Some(state) => other_state(method, state),
            None => conditional_state(method),
        };
        let fits = wrong.is_none();
        errors.extend(wrong);
        fits
    });
    errors
}

fn other_state(method: &Method, first: &Type) -> Option<Error> {
    let state = method.attribute.state.as_ref()?;
    let message = format!(
        "an app has one state, and another method of this block says `state = {}`",
        text(first)
    );
    (text(state) != text(first)).then(|| Error::new(state.span(), message))
}

/// A sub-state is a condition of the whole block, also where its method is not there.
fn conditional_state(method: &Method) -> Option<Error> {
    let mut types = method.signature.inputs.iter().filter_map(argument_type);
    let argument = types.find(|argument| is_state(argument))?;
    let message = "a method under `#[cfg]` takes `State<T>` only of a state that its attribute names: write `#[handler(state = AppState, …)]`";
    (!method.cfg.is_empty()).then(|| Error::new(argument.span(), message))
}

/// Where an error about the attribute belongs.
fn place(attribute: &RustAttribute) -> Span {
    attribute.path().span()
}

/// A type as it is written, nearly: tokens without the spaces between them.
fn text(ty: &Type) -> String {
    let text = ty.to_token_stream().to_string();
    text.replace(" :: ", "::")
        .replace(" <", "<")
        .replace("< ", "<")
        .replace(" >", ">")
}
