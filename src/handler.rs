//! Handlers: what a service author writes, and what the runtime calls.
//!
//! This is `dotmsg_core::handler` with the derives beside the traits that they implement.
//!
//! # Arguments
//!
//! Up to twelve: parts in any order, at most one payload, last. Under the attribute they may borrow from the delivery.
//!
//! | Argument | Gives | When it cannot be had |
//! |---|---|---|
//! | [`Json<T>`](Json) | the payload, decoded | dead letter of kind `decode` or `null_payload` |
//! | `Bytes`, `&[u8]` | the payload as it is | `null_payload` |
//! | `Option` of one of these | `None` for a null payload (a tombstone) | `decode` |
//! | an enum under `#[derive(`[`FromPayload`]`)]` | one of several payloads, by a name in a header or a field of the JSON | `unknown_type`, and those of its variants |
//! | [`Key<T>`](Key) | the key as text, bytes or a number; `Key<Option<T>>` when it may be null | `key`, `null_key` |
//! | [`&Headers`](crate::message::Headers) | all headers | |
//! | [`Position<'_>`](crate::delivery::Position) | where the record in hand lies | |
//! | [`Origin`] | where the message was first read | |
//! | [`Attempt`] | which call this is for this message, from 1 | |
//! | [`MessageId`] | header `dotmsg-id`, else `topic/partition/offset` of the origin | |
//! | [`Timestamp`](crate::clock::Timestamp) | when the producer made it | |
//! | [`Publisher`](crate::Publisher) | publishes to the route's backend at once | dead letter of kind `publisher` (in tests); refused under `exactly_once` |
//! | [`State<T>`](State) | the app's state or a part of it ([`FromRef`], which can be derived) | compile error |
//! | [`&Delivery`](crate::Delivery) | everything | |
//! | [`Batch<T>`](Batch) | many messages at once, last | each as it would alone |
//! | `Result<T, T::Rejection>` of any of these | the rejection, such as [`JsonRejection`] | given to the handler |
//!
//! Types of your own implement [`FromDelivery`] (a part) or [`FromPayload`].
//! A message that cannot be extracted goes to the dead-letter topic at once: it is neither dropped nor tried again.
//!
//! # Return values
//!
//! | Value | What happens |
//! |---|---|
//! | `()` | settled |
//! | [`Outgoing`], `Option`, `Vec`, array or pair of it | published and confirmed, then settled; ids derive from the parent's |
//! | [`Settlement`](crate::Settlement) | `Ack`, `Retry`, `DeadLetter` or `Discard`, as it says |
//! | `(Vec<Outgoing>, Settlement)` | published and confirmed, then as it says |
//! | `Result<_, E>` | one of these, or an error: see below |
//! | [`Each<R>`](Each) | of a handler of batches: one of these for each message |
//!
//! # Errors
//!
//! | Error | What happens |
//! |---|---|
//! | [`HandlerError::transient`] | tried again: in place, then in the tiers, then the dead letter |
//! | [`HandlerError::permanent`] | dead letter at once |
//! | an error whose type says its class ([`Classify`], which can be derived) | as it says: returned by a function under the attribute, by [`HandlerError::classified`], or by `?` when [`App::classify`](crate::app::App::classify) names its type |
//! | any other error, by `?` | transient, unless [`App::permanent`](crate::app::App::permanent) names its type |
//! | a panic | transient, kind `panic` |
//! | longer than `timeout` | transient, kind `timeout`; the future is dropped |
//!
//! A failing message delays its own key only: its followers wait until it is settled (`order = "keep"`) or go on
//! (`order = "relax"`).

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

/// Makes an error say its class, and perhaps its kind, on its variants.
///
/// | On a struct or a variant | The class is |
/// |---|---|
/// | `#[classify(transient)]` | transient: the message is tried again |
/// | `#[classify(permanent)]` | permanent: the message is a dead letter at once |
/// | `#[classify(inner)]` | that of the only field, whose type is [`Classify`] too; so is the kind |
///
/// `kind = "…"` beside it names the kind. On the enum itself `transient`, `permanent` and `kind` are for the variants that
/// say none; without that, every variant must say its class.
///
/// ```
/// use dotmsg::{App, Classify, HandlerError, Json};
/// use std::fmt;
///
/// #[derive(Debug, Classify)]
/// enum BillError {
///     #[classify(permanent, kind = "empty")]
///     Empty,
///     #[classify(transient)]
///     Database(std::io::Error),
///     #[classify(inner)]
///     Rates(RatesError),
/// }
///
/// #[derive(Debug, Classify)]
/// #[classify(permanent, kind = "no_rate")]
/// struct RatesError;
/// # impl fmt::Display for RatesError {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("no rate") }
/// # }
/// # impl std::error::Error for RatesError {}
///
/// impl fmt::Display for BillError {
///     // …
/// #   fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
/// #       match self {
/// #           Self::Empty => f.write_str("nothing ordered"),
/// #           Self::Database(error) => write!(f, "database: {error}"),
/// #           Self::Rates(error) => write!(f, "rates: {error}"),
/// #       }
/// #   }
/// }
///
/// impl std::error::Error for BillError {}
///
/// fn total(cents: &[u64]) -> Result<u64, BillError> {
///     match cents {
///         [] => Err(BillError::Empty),
///         [0, ..] => Err(BillError::Rates(RatesError)),
///         _ => Ok(cents.iter().sum()),
///     }
/// }
///
/// // 1. Under the attribute, as the error of what is returned.
/// #[dotmsg::handler(topic = "orders", group = "billing")]
/// async fn bill(Json(cents): Json<Vec<u64>>) -> Result<(), BillError> {
///     println!("{}", total(&cents)?);
///     Ok(())
/// }
///
/// // 2. Where one is turned into a `HandlerError`.
/// let error = total(&[]).map_err(HandlerError::classified).unwrap_err();
/// assert_eq!((error.kind_name(), error.is_transient()), ("empty", false));
///
/// // 3. Wherever `?` turns one into a `HandlerError`.
/// # let config = dotmsg::Config::new();
/// let app: App = App::with_config(config).classify::<BillError>();
/// # drop(app.handler(bill));
/// ```
///
/// A handler without the attribute has the last two only.
pub use dotmsg_macros::Classify;

/// Makes an enum the payload of a topic with messages of several types: a variant for each.
///
/// | On the enum | The name of the type stands |
/// |---|---|
/// | `#[payload(header = "type")]` | in this header |
/// | `#[payload(field = "type")]` | in the payload, which is JSON, as the text in this field of it |
///
/// | On a variant | It takes |
/// |---|---|
/// | `#[payload(name = "order.placed")]` | payloads of this type; without a name, of the variant's own |
/// | `#[payload(other)]` | payloads of all other types, and those without a name |
///
/// Each variant holds one payload: [`Json<T>`](Json), `Bytes`, an `Option` of one, or whatever else implements
/// [`FromPayload`]. The enum may have one lifetime, to borrow from the delivery. Without a variant for all others, a type
/// that is unknown or not said is a permanent error of the kind `unknown_type`; what a variant's own payload is rejected
/// for stays as it is. The rejection is a [`HandlerError`], so that `Result<OrderEvent<'_>, HandlerError>` is an argument that
/// has both.
///
/// ```
/// use dotmsg::{Bytes, FromPayload, Json};
///
/// #[derive(serde::Deserialize)]
/// struct Placed<'d> {
///     item: &'d str,
/// }
///
/// #[derive(serde::Deserialize)]
/// struct Cancelled {
///     reason: String,
/// }
///
/// #[derive(FromPayload)]
/// #[payload(header = "type")]
/// enum OrderEvent<'d> {
///     #[payload(name = "order.placed")]
///     Placed(Json<Placed<'d>>),
///     #[payload(name = "order.cancelled")]
///     Cancelled(Json<Cancelled>),
///     #[payload(other)]
///     Other(Bytes),
/// }
///
/// #[dotmsg::handler(topic = "orders", group = "billing")]
/// async fn on_event(event: OrderEvent<'_>) {
///     match event {
///         OrderEvent::Placed(Json(order)) => println!("{} placed", order.item),
///         OrderEvent::Cancelled(Json(order)) => println!("cancelled: {}", order.reason),
///         OrderEvent::Other(payload) => println!("{} bytes of something else", payload.len()),
///     }
/// }
/// ```
///
/// - A name in a field costs a second reading of the payload: once for the name, once for the variant. The field stays in
///   the payload, so a variant's type must not refuse unknown fields. The first field of that name counts.
/// - `Option<OrderEvent>` is `None` for a tombstone, whatever its header says. To know the type of a tombstone, let the variant
///   hold an `Option<Json<T>>`, and put the name into a header.
/// - With `#[payload(state = AppState)]` on the enum too, variants may hold payloads that need that state.
pub use dotmsg_macros::FromPayload;
