//! What a browser refuses to load into a page that it got safely.

use super::{
    html::Node,
    prepared::Prepared,
    template::{Program, Template},
};

/// Whether an address that is not safe stands in a text, as it is or within another address.
#[must_use]
pub fn is_insecure(text: &str) -> bool {
    text.contains("http:") || text.contains("http%3A")
}

impl Template {
    /// Whether its markup itself names an address that is not safe.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        fn any(nodes: &[Node]) -> bool {
            nodes.iter().any(|node| match node {
                Node::Literal(text) => is_insecure(text),
                Node::If(_, yes, no) => any(yes) || any(no),
                Node::Each(_, body) => any(body),
                Node::Slot(..) | Node::Item(_) | Node::Builtin(..) => false,
            })
        }
        match &self.program {
            Program::Html(html) => any(&html.nodes),
            Program::Native(_) | Program::Vast(_) => false,
        }
    }
}

impl Prepared {
    /// Whether it names an address that is not safe.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        let items = self.items.iter().flat_map(|item| &item.places);
        self.places.iter().chain(items).any(|text| is_insecure(text)) || self.parts.iter().any(Self::is_insecure)
    }
}
