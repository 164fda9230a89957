//! The generated code for `#[handlers]`.
//!
//! The impl block stays as it is. Beside it stands `impl<S> Handlers<S>` for its type: each handler is a closure that holds
//! the value in an `Arc`, and whose future extracts, calls and settles as that of a function does ([`Called`]).

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, parse_quote};

use crate::batch;
use crate::block::{Block, Method};
use crate::called::{Called, conditions};
use crate::expand::{local, said};

/// The block under the attribute, expanded, behind all that is wrong with it.
pub(crate) fn expand(block: &Block) -> TokenStream {
    let errors = block.errors.iter().map(syn::Error::to_compile_error);
    let item = &block.item;
    let handlers = match block.is_sound {
        true => handlers(block),
        false => stub(block),
    };
    quote! { #(#errors)* #item #handlers }
}

fn handlers(block: &Block) -> TokenStream {
    let generic = local("DotmsgState");
    let (parameters, state, conditions) = match block.state() {
        Some(given) => (quote!(), quote!(#given), quote!()),
        None => {
            // A method that may not be there has no conditions: see `take_misfits`.
            let signatures = block.methods.iter().map(|method| &method.signature);
            let conditions = conditions(signatures, &generic);
            (quote!(<#generic>), quote!(#generic), conditions)
        }
    };
    let [this, routes] = [local("this"), local("routes")];
    let each = block.methods.iter().map(|method| add(method, &state));
    let cfg = crate::expand::cfg(&block.item.attrs);
    let ty = &block.item.self_ty;
    // Shown when the value cannot be shared between threads.
    let place = Span::mixed_site().located_at(ty.span());
    let handlers = quote_spanned!(place=> ::dotmsg::__private::core::handler::Handlers);
    let shared = quote_spanned!(place=> #ty: ::core::marker::Send + ::core::marker::Sync);
    let conditions = match conditions.is_empty() {
        true => quote!(where #shared),
        false => quote!(#conditions #shared),
    };
    quote! {
        #(#cfg)*
        #[allow(trivial_bounds, clippy::unit_arg)]
        impl #parameters #handlers<#state> for #ty #conditions {
            fn add_to<DotmsgRoutes: ::dotmsg::__private::core::handler::Routes<#state>>(
                #this: ::std::sync::Arc<Self>,
                #routes: DotmsgRoutes,
            ) -> DotmsgRoutes {
                #(#each)*
                #routes
            }
        }
    }
}

/// Adds one method to the routes.
fn add(method: &Method, state_type: &TokenStream) -> TokenStream {
    let Method {
        attribute,
        signature,
        cfg,
    } = method;
    let name = &signature.ident;
    let said = said(attribute, signature);
    let [this, routes, state] = [local("this"), local("routes"), local("state")];
    let called = Called {
        signature,
        path: quote!(Self::#name),
        receiver: Some(quote!(&#this)),
    };
    let needs = called.needs(state_type);
    let cloned = quote!(let #this = ::core::clone::Clone::clone(&#this););
    let delivery = quote!(::dotmsg::__private::core::delivery::Delivery);
    let (add, taken, body) = match called.takes_batches() {
        false => {
            let taken = local("delivery");
            ("add", quote!(#taken: #delivery), called.body(state_type))
        }
        true => {
            let taken = local("deliveries");
            let body = batch::body(&called, state_type);
            (
                "add_batch",
                quote!(#taken: ::std::vec::Vec<#delivery>),
                body,
            )
        }
    };
    let add = Ident::new(add, name.span());
    let arguments = quote!(#taken, #state: ::std::sync::Arc<#state_type>);
    // Shown when the future is not `Send`.
    let added = quote_spanned! {name.span()=>
        ::dotmsg::__private::core::handler::Routes::#add(
            #routes,
            #said,
            #needs,
            move |#arguments| { #cloned async move { #body } },
        )
    };
    quote! {
        #(#cfg)*
        let #routes = { #cloned #added };
    }
}

/// What stands for the handlers of a type that cannot have any: it can be given to an app as if it could.
fn stub(block: &Block) -> TokenStream {
    let item = &block.item;
    let generic: Ident = local("DotmsgState");
    let mut generics = item.generics.clone();
    generics.params.push(parse_quote!(#generic));
    let conditions = generics.make_where_clause();
    conditions.predicates.push(parse_quote! {
        Self: ::core::marker::Send + ::core::marker::Sync + 'static
    });
    let (parameters, _, conditions) = generics.split_for_impl();
    let cfg = crate::expand::cfg(&item.attrs);
    let ty = &item.self_ty;
    quote! {
        #(#cfg)*
        impl #parameters ::dotmsg::__private::core::handler::Handlers<#generic> for #ty #conditions {
            fn add_to<DotmsgRoutes: ::dotmsg::__private::core::handler::Routes<#generic>>(
                _: ::std::sync::Arc<Self>,
                routes: DotmsgRoutes,
            ) -> DotmsgRoutes {
                routes
            }
        }
    }
}
