//! The edge over real sockets: slow and hostile clients, bad documents, overload, panics, drains.

mod clients;
mod documents;
mod harness;
mod routes;
