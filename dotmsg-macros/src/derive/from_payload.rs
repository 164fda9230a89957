//! `#[derive(FromPayload)]`: payloads of several types in one topic, one variant for each.
//!
//! The name of the type is read from a header or a field, and the payload is extracted as what the variant of that name
//! holds. Each extraction has the place of that type, so that what is no payload is an error there.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, Lifetime, LifetimeParam,
    LitStr, Type, TypeParam, Variant,
};

use super::{alone, entries, finish, misplaced};
use crate::entry::{Entry, Value};
use crate::expand::{Ends, item_of, local, unraw};
use crate::value;

/// The implementation for an enum.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut errors = Vec::new();
    let place = Place::of(input, &mut errors);
    let cases = cases(input, &mut errors);
    errors.extend(parameters(&input.generics));
    let code = implementation(input, &place, |implemented| match &place.source {
        Some(source) if errors.is_empty() => Items {
            needs: needs(&cases, implemented),
            body: body(source, &cases, implemented),
        },
        // Never run: the errors are told.
        _ => Items {
            needs: quote!(),
            body: quote!(::core::panic!("it does not compile")),
        },
    });
    finish(errors, code)
}

/// What the implementation is made of.
struct Items {
    needs: TokenStream,
    body: TokenStream,
}

/// The implementation, for one state or for all. `items` is given the trait's arguments.
fn implementation(
    input: &DeriveInput,
    place: &Place,
    items: impl FnOnce(&TokenStream) -> Items,
) -> TokenStream {
    let name = &input.ident;
    let (_, arguments, conditions) = input.generics.split_for_impl();
    let mut generics = input.generics.clone();
    let lifetime = match input.generics.lifetimes().next() {
        Some(lifetime) => lifetime.lifetime.clone(),
        None => {
            let lifetime = Lifetime::new("'delivery", Span::mixed_site());
            let parameter = LifetimeParam::new(lifetime.clone());
            generics.params.insert(0, GenericParam::Lifetime(parameter));
            lifetime
        }
    };
    let state = match &place.state {
        Some(state) => quote!(#state),
        None => {
            let any = local("DotmsgState");
            let parameter = TypeParam::from(any.clone());
            generics.params.push(GenericParam::Type(parameter));
            quote!(#any)
        }
    };
    let Items { needs, body } = items(&quote!(#lifetime, #state));
    let (parameters, _, _) = generics.split_for_impl();
    let [delivery, app] = [local("delivery"), local("state")];
    quote! {
        #[automatically_derived]
        impl #parameters ::dotmsg::__private::core::handler::FromPayload<#lifetime, #state>
            for #name #arguments #conditions
        {
            type Rejection = ::dotmsg::__private::core::handler::HandlerError;

            #needs

            fn from_payload(
                #delivery: &#lifetime ::dotmsg::__private::core::delivery::Delivery,
                #app: &#lifetime #state,
            ) -> ::core::result::Result<Self, Self::Rejection> {
                #body
            }
        }
    }
}

/// What the payloads ask of the route.
fn needs(cases: &[Case<'_>], implemented: &TokenStream) -> TokenStream {
    let needs = cases.iter().map(|case| case.item(implemented, "NEEDS"));
    quote! {
        const NEEDS: ::dotmsg::__private::core::handler::Needs =
            ::dotmsg::__private::core::handler::Needs::NONE #(.and(#needs))*;
    }
}

fn body(source: &TokenStream, cases: &[Case<'_>], implemented: &TokenStream) -> TokenStream {
    let [delivery, place, found] = [local("delivery"), local("place"), local("found")];
    let named = cases.iter().filter_map(|case| {
        let name = case.name.as_ref()?;
        let extract = case.extract(implemented);
        Some(quote!(::core::option::Option::Some(#name) => #extract))
    });
    let other = match cases.iter().find(|case| case.name.is_none()) {
        Some(other) => other.extract(implemented),
        None => quote!(::core::result::Result::Err(#place.unknown::<Self>(#delivery))),
    };
    quote! {
        let #place = #source;
        let #found = #place.read(#delivery);
        match ::core::option::Option::as_deref(&#found) {
            #(#named,)*
            _ => #other,
        }
    }
}

/// What is said on the enum.
#[derive(Default)]
struct Place {
    source: Option<TokenStream>,
    state: Option<Type>,
}

impl Place {
    fn of(input: &DeriveInput, errors: &mut Vec<Error>) -> Self {
        let mut place = Self::default();
        let errors_before = errors.len();
        for entry in entries(&input.attrs, "payload", errors) {
            errors.extend(place.take(&entry).err());
        }
        if place.source.is_none() && errors.len() == errors_before {
            let name = &input.ident;
            let message = format!(
                "`{name}` does not say where the name of a payload's type stands: write `#[payload(header = \"type\")]` on it, or `#[payload(field = \"type\")]` for a text field of the JSON"
            );
            errors.push(Error::new(name.span(), message));
        }
        place
    }

    fn take(&mut self, entry: &Entry) -> syn::Result<()> {
        match entry.key.to_string().as_str() {
            "header" => self.take_source(entry, quote!(Header)),
            "field" => self.take_source(entry, quote!(Field)),
            "state" => match &entry.value {
                Value::Type(state) => {
                    self.state = Some((**state).clone());
                    Ok(())
                }
                _ => Err(value::wrong(entry, "a type", "AppState")),
            },
            _ => {
                let keys = &["header", "field", "state"];
                Err(value::unknown_key(
                    entry,
                    "`#[payload(…)]` of an enum",
                    keys,
                ))
            }
        }
    }

    fn take_source(&mut self, entry: &Entry, kind: TokenStream) -> syn::Result<()> {
        let name = value::text(entry)?;
        if self.source.is_some() {
            let message =
                "the name of the type stands in one place: write `header` or `field`, not both";
            return Err(Error::new(entry.key.span(), message));
        }
        self.source = Some(quote!(::dotmsg::__private::core::handler::TypeName::#kind(#name)));
        Ok(())
    }
}

/// A variant: the payload that it holds, and the name of its type.
struct Case<'a> {
    variant: &'a Ident,
    payload: &'a Type,
    /// `None` for the one that takes all others.
    name: Option<LitStr>,
}

impl Case<'_> {
    /// The path of an item of the payload's implementation, with the place of its type.
    fn item(&self, implemented: &TokenStream, item: &str) -> TokenStream {
        item_of(self.payload, "FromPayload", implemented, item)
    }

    fn extract(&self, implemented: &TokenStream) -> TokenStream {
        let variant = &self.variant;
        let first = Ends::of(self.payload).first;
        let function = self.item(implemented, "from_payload");
        let [delivery, state] = [local("delivery"), local("state")];
        let [value, rejection] = [local("value"), local("rejection")];
        quote_spanned! {first=>
            match #function(#delivery, #state) {
                ::core::result::Result::Ok(#value) => ::core::result::Result::Ok(Self::#variant(#value)),
                ::core::result::Result::Err(#rejection) => {
                    ::core::result::Result::Err(::core::convert::Into::into(#rejection))
                }
            }
        }
    }
}

/// The variants that can be, and what is wrong with the others.
fn cases<'a>(input: &'a DeriveInput, errors: &mut Vec<Error>) -> Vec<Case<'a>> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        let message = format!(
            "`FromPayload` is derived for enums, with a variant for each type of payload in a topic; for one type take `Json<{name}>`, or write `impl FromPayload for {name}` by hand"
        );
        errors.push(Error::new(name.span(), message));
        return Vec::new();
    };
    if data.variants.is_empty() {
        let message = format!("`{name}` has no variant: write one for each type of payload");
        errors.push(Error::new(name.span(), message));
    }
    let mut cases: Vec<Case<'a>> = Vec::new();
    for variant in &data.variants {
        let place = "`#[payload(…)]` stands on the enum or on a variant, not on a field";
        errors.extend(misplaced(&variant.fields, "payload", place));
        let said = Said::by(variant, errors);
        match said.case(variant, &cases) {
            Ok(case) => cases.push(case),
            Err(error) => errors.push(error),
        }
    }
    cases
}

/// What is said on a variant.
#[derive(Default)]
struct Said {
    name: Option<LitStr>,
    other: Option<Ident>,
}

impl Said {
    fn by(variant: &Variant, errors: &mut Vec<Error>) -> Self {
        let mut said = Self::default();
        for entry in entries(&variant.attrs, "payload", errors) {
            errors.extend(said.take(&entry).err());
        }
        said
    }

    fn take(&mut self, entry: &Entry) -> syn::Result<()> {
        match entry.key.to_string().as_str() {
            "name" => self.name = Some(value::text(entry)?),
            "other" => {
                alone(entry)?;
                self.other = Some(entry.key.clone());
            }
            _ => {
                let keys = &["name", "other"];
                let place = "`#[payload(…)]` of a variant";
                return Err(value::unknown_key(entry, place, keys));
            }
        }
        Ok(())
    }

    fn case<'a>(self, variant: &'a Variant, before: &[Case<'_>]) -> syn::Result<Case<'a>> {
        let payload = payload(variant)?;
        let variant = &variant.ident;
        let name = match (self.name, self.other) {
            (Some(_), Some(other)) => {
                let message = "this variant takes what has no name of the others: write `name` or `other`, not both";
                return Err(Error::new(other.span(), message));
            }
            (None, Some(other)) => {
                if let Some(first) = before.iter().find(|case| case.name.is_none()) {
                    let message = format!(
                        "`{}` takes all others already: only one variant has `other`",
                        first.variant
                    );
                    return Err(Error::new(other.span(), message));
                }
                None
            }
            (Some(name), None) => Some(name),
            (None, None) => Some(LitStr::new(&unraw(variant), variant.span())),
        };
        if let Some(name) = &name {
            let same = |case: &&Case<'_>| {
                case.name
                    .as_ref()
                    .is_some_and(|other| other.value() == name.value())
            };
            if let Some(first) = before.iter().find(same) {
                let message = format!(
                    "`{}` is the name of `{}` already: give each variant one of its own, `#[payload(name = \"…\")]`",
                    name.value(),
                    first.variant
                );
                return Err(Error::new(name.span(), message));
            }
        }
        Ok(Case {
            variant,
            payload,
            name,
        })
    }
}

/// The only field of a variant.
fn payload(variant: &Variant) -> syn::Result<&Type> {
    if let Fields::Unnamed(fields) = &variant.fields
        && fields.unnamed.len() == 1
    {
        return Ok(&fields.unnamed[0].ty);
    }
    let name = &variant.ident;
    let message = format!(
        "a variant holds one payload and nothing else: write `{name}(Json<…>)`, or `{name}(Option<Bytes>)` to leave it undecoded"
    );
    Err(Error::new(name.span(), message))
}

/// The errors of parameters: one lifetime is that of the delivery, and nothing else can be told from a delivery.
fn parameters(generics: &Generics) -> Vec<Error> {
    let mut lifetimes = 0;
    let wrong = generics.params.iter().filter_map(|parameter| {
        let message = match parameter {
            GenericParam::Lifetime(_) => {
                lifetimes += 1;
                if lifetimes == 1 {
                    return None;
                }
                "the enum borrows from the delivery only: one lifetime is enough"
            }
            GenericParam::Type(_) | GenericParam::Const(_) => {
                "the enum cannot be generic over types or constants: its variants say what there is in the topic, so write the types out"
            }
        };
        Some(Error::new(parameter.span(), message))
    });
    wrong.collect()
}
