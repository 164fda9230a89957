//! `#[derive(Classify)]`: the class of an error, written on its variants.
//!
//! What a variant does not say (class or kind) the enum says for it. A variant of which neither says the class is an
//! error: a new variant should not become a dead letter, or be tried for an hour, because nobody thought of it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Ident, Index, LitStr, Member};

use super::{alone, entries, finish, misplaced};
use crate::entry::Entry;
use crate::expand::{item_of, local};
use crate::value;

const KEYS: &[&str] = &["transient", "permanent", "inner", "kind"];

/// The implementation for an enum or a struct.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut errors = Vec::new();
    let arms = arms(input, &mut errors);
    let code = if errors.is_empty() {
        implementation(input, &arms)
    } else {
        stub(input)
    };
    finish(errors, code)
}

/// What stands for an implementation that cannot be made.
fn stub(input: &DeriveInput) -> TokenStream {
    let body = quote! {
        fn class(&self) -> ::dotmsg::__private::core::handler::ErrorClass {
            ::dotmsg::__private::core::handler::ErrorClass::Transient
        }
    };
    wrapped(input, &body)
}

fn wrapped(input: &DeriveInput, body: &TokenStream) -> TokenStream {
    let name = &input.ident;
    let (parameters, arguments, conditions) = input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #parameters ::dotmsg::__private::core::handler::Classify for #name #arguments #conditions {
            #body
        }
    }
}

fn implementation(input: &DeriveInput, arms: &[Arm<'_>]) -> TokenStream {
    let classes = arms.iter().map(Arm::class);
    let kinds = arms.iter().map(Arm::kind);
    let body = quote! {
        fn class(&self) -> ::dotmsg::__private::core::handler::ErrorClass {
            match *self { #(#classes)* }
        }

        fn kind(&self) -> ::core::option::Option<&'static str> {
            match *self { #(#kinds)* }
        }
    };
    wrapped(input, &body)
}

/// A variant or the struct.
#[derive(Clone, Copy)]
struct Case<'a> {
    name: &'a Ident,
    fields: &'a Fields,
    is_variant: bool,
}

/// A case, and what is said of it.
struct Arm<'a> {
    path: TokenStream,
    class: Class<'a>,
    kind: Option<LitStr>,
}

/// Where the class comes from.
enum Class<'a> {
    Transient,
    Permanent,
    Inner(Member, &'a Field),
}

fn arms<'a>(input: &'a DeriveInput, errors: &mut Vec<Error>) -> Vec<Arm<'a>> {
    let mut own = Said::by(&input.attrs, errors);
    match &input.data {
        Data::Struct(data) => {
            let case = Case {
                name: &input.ident,
                fields: &data.fields,
                is_variant: false,
            };
            let arm = case.arm(own, &Said::default(), errors);
            arm.into_iter().collect()
        }
        Data::Enum(data) => {
            own.asks_no_field(errors);
            let variants = data.variants.iter().filter_map(|variant| {
                let case = Case {
                    name: &variant.ident,
                    fields: &variant.fields,
                    is_variant: true,
                };
                case.arm(Said::by(&variant.attrs, errors), &own, errors)
            });
            variants.collect()
        }
        Data::Union(_) => {
            let message = "`Classify` is derived for enums and structs";
            errors.push(Error::new(input.ident.span(), message));
            Vec::new()
        }
    }
}

/// What one attribute says.
#[derive(Default)]
struct Said {
    class: Option<(Word, Ident)>,
    kind: Option<LitStr>,
    /// Something that is no good: an error already, so that what is missing is not one more.
    is_wrong: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Transient,
    Permanent,
    Inner,
}

impl Said {
    fn by(attributes: &[Attribute], errors: &mut Vec<Error>) -> Self {
        let mut said = Self::default();
        let errors_before = errors.len();
        for entry in entries(attributes, "classify", errors) {
            errors.extend(said.take(&entry).err());
        }
        said.is_wrong = errors.len() > errors_before;
        said
    }

    fn take(&mut self, entry: &Entry) -> syn::Result<()> {
        match entry.key.to_string().as_str() {
            "transient" => self.take_class(Word::Transient, entry),
            "permanent" => self.take_class(Word::Permanent, entry),
            "inner" => self.take_class(Word::Inner, entry),
            "kind" => {
                self.kind = Some(value::text(entry)?);
                Ok(())
            }
            _ => Err(value::unknown_key(entry, "`#[classify(…)]`", KEYS)),
        }
    }

    fn take_class(&mut self, word: Word, entry: &Entry) -> syn::Result<()> {
        alone(entry)?;
        match &self.class {
            Some((first, given)) if *first != word => {
                let message = format!("the class is `{given}` already: write one of the two");
                return Err(Error::new(entry.key.span(), message));
            }
            _ => self.class = Some((word, entry.key.clone())),
        }
        Ok(())
    }

    /// Checks what is said on an enum.
    fn asks_no_field(&mut self, errors: &mut Vec<Error>) {
        if let Some((Word::Inner, word)) = &self.class {
            let message = "an enum has no field to ask: write `inner` on a variant that has one";
            errors.push(Error::new(word.span(), message));
            self.is_wrong = true;
        }
    }
}

impl<'a> Case<'a> {
    /// With what is said of it; what is not said there, `outer` says.
    fn arm(self, said: Said, outer: &Said, errors: &mut Vec<Error>) -> Option<Arm<'a>> {
        let place = "`#[classify(…)]` stands on the variant or the struct, not on a field";
        errors.extend(misplaced(self.fields, "classify", place));
        let class = match said.class.as_ref().or(outer.class.as_ref()) {
            _ if said.is_wrong || outer.is_wrong => return None,
            Some((Word::Transient, _)) => Ok(Class::Transient),
            Some((Word::Permanent, _)) => Ok(Class::Permanent),
            Some((Word::Inner, word)) => self.inner(word),
            None => Err(self.unsaid()),
        };
        let class = class.map_err(|error| errors.push(error)).ok()?;
        let outer_kind = match class {
            Class::Inner(..) => None,
            Class::Transient | Class::Permanent => outer.kind.clone(),
        };
        Some(Arm {
            path: self.path(),
            class,
            kind: said.kind.or(outer_kind),
        })
    }

    fn path(self) -> TokenStream {
        let name = self.name;
        match self.is_variant {
            true => quote!(Self::#name),
            false => quote!(Self),
        }
    }

    fn unsaid(self) -> Error {
        let name = self.name;
        let words = match self.fields.len() {
            1 => {
                "`#[classify(transient)]`, `#[classify(permanent)]` or, to ask its field, `#[classify(inner)]`"
            }
            _ => "`#[classify(transient)]` or `#[classify(permanent)]`",
        };
        let message = match self.is_variant {
            true => format!(
                "the variant `{name}` has no class: write {words} on it; `transient` or `permanent` on the enum is for all variants that say none"
            ),
            false => format!("`{name}` has no class: write {words} on it"),
        };
        Error::new(name.span(), message)
    }

    fn inner(self, word: &Ident) -> syn::Result<Class<'a>> {
        let mut fields = self.fields.iter();
        let has = match (fields.next(), fields.next()) {
            (Some(field), None) => {
                let first = || Member::Unnamed(Index::from(0));
                let member = field.ident.clone().map_or_else(first, Member::Named);
                return Ok(Class::Inner(member, field));
            }
            (Some(_), Some(_)) => "more than one field",
            (None, _) => "no field",
        };
        let name = self.name;
        let message = format!(
            "`inner` asks the only field, and `{name}` has {has}: write `transient` or `permanent`"
        );
        Err(Error::new(word.span(), message))
    }
}

impl Arm<'_> {
    fn class(&self) -> TokenStream {
        let path = &self.path;
        let word = match &self.class {
            Class::Transient => quote!(Transient),
            Class::Permanent => quote!(Permanent),
            Class::Inner(member, field) => return self.asked(member, field, "class"),
        };
        quote!(#path { .. } => ::dotmsg::__private::core::handler::ErrorClass::#word,)
    }

    fn kind(&self) -> TokenStream {
        let path = &self.path;
        match (&self.kind, &self.class) {
            (Some(kind), _) => quote!(#path { .. } => ::core::option::Option::Some(#kind),),
            (None, Class::Inner(member, field)) => self.asked(member, field, "kind"),
            (None, _) => quote!(#path { .. } => ::core::option::Option::None,),
        }
    }

    /// The field is asked, at the place of its type.
    fn asked(&self, member: &Member, field: &Field, what: &str) -> TokenStream {
        let path = &self.path;
        let function = item_of(&field.ty, "Classify", &quote!(), what);
        let inner = local("inner");
        quote!(#path { #member: ref #inner } => #function(#inner),)
    }
}
