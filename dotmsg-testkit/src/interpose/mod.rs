//! A backend between app and broker.
