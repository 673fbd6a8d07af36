//! Bodies that are written as they come.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Pieces of a body. One that fails breaks the body off, so that its reader knows that it lacks an end.
pub type Piece = Result<Bytes, io::Error>;

/// A body of what is sent, until the sender is dropped. The sender learns when nobody reads any more.
pub fn pipe(pieces: usize) -> (mpsc::Sender<Piece>, Body) {
    let (sender, receiver) = mpsc::channel(pieces);
    (sender, Body::new(Pipe(receiver)))
}

struct Pipe(mpsc::Receiver<Piece>);

impl HttpBody for Pipe {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
