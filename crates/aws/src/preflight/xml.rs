//! Reading lists out of XML answers.

use roxmltree::Node;

/// What `read` makes of every member of the first list with this name. A page that is no XML has none.
pub(crate) fn all<T>(page: &str, list: &str, read: impl Fn(Node<'_, '_>) -> Option<T>) -> Vec<T> {
    let Ok(document) = roxmltree::Document::parse(page) else {
        return Vec::new();
    };
    let list = document.descendants().find(|node| node.tag_name().name() == list);
    list.into_iter()
        .flat_map(|list| list.children())
        .filter(Node::is_element)
        .filter_map(read)
        .collect()
}

/// The child with this name.
pub(crate) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// The text of the child with this name.
pub(crate) fn text(node: Node<'_, '_>, name: &str) -> Option<String> {
    child(node, name)?.text().map(str::trim).map(str::to_owned)
}
