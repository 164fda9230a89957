//! Handlers: what a service author writes, and what the runtime calls.
//!
//! This is `dotmsg_core::handler` with the derives beside the traits that they implement.

#[doc(inline)]
pub use dotmsg_core::handler::*;

/// Makes each field of the app's state a part that handlers can take as [`State<T>`](State).
///
/// For every field there is an `impl FromRef<Service> for T` that clones it, so what is large is in an `Arc`. A field with
/// `#[from_ref(skip)]` is left out. Two fields of one type are an error, because a handler names only the type: leave one
/// out, or give it a type of its own.
///
/// ```
/// use dotmsg::{FromRef, Json, State};
/// use std::sync::Arc;
///
/// struct Rates {
///     per_cent: u64,
/// }
///
/// #[derive(Clone)]
/// struct Limit(u64);
///
/// #[derive(FromRef)]
/// struct Service {
///     rates: Arc<Rates>,
///     limit: Limit,
///     #[from_ref(skip)]
///     name: String,
/// }
///
/// #[dotmsg::handler(topic = "orders", group = "billing")]
/// async fn bill(State(rates): State<Arc<Rates>>, State(limit): State<Limit>, Json(cents): Json<u64>) {
///     assert!(cents * rates.per_cent / 100 <= limit.0);
/// }
///
/// # let service = Service { rates: Arc::new(Rates { per_cent: 19 }), limit: Limit(7), name: "x".into() };
/// # let config = dotmsg::Config::new();
/// # println!("{}", service.name);
/// let app = dotmsg::App::with_config(config).state(service).handler(bill);
/// # drop(app);
/// ```
///
/// Structs with parameters, enums and unions are refused.
pub use dotmsg_macros::FromRef;
