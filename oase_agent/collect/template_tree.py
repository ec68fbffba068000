"""The tree of a template, rewritten: filters of ours stand where jinja has no hook (promises C2 and C4).

Rounds of loops, literals, slices and `~` become filters with names that no template can write.
"""

from collections.abc import Iterator
from typing import cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

# A blank cannot be in the name of a filter in a template.
COUNTED, MADE, SLICED, CONCATENATED = "counted loop", "made literal", "made slice", "made text"


def rewritten(template: nodes.Template) -> nodes.Template:
    """Return the tree with the filters in it."""
    return cast(nodes.Template, _Rewriter().visit(template))


class _Rewriter(NodeTransformer):
    """Puts filters of ours around what jinja has no hook for."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja's names
        outputs = sum(1 for part in node.body for _ in _outputs_of(part))
        self.generic_visit(node)
        node.iter = _filtered(cast(nodes.Expr, node.iter), COUNTED, nodes.Const(1 + outputs))
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, MADE)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, MADE)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, MADE) if node.ctx == "load" else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.Tuple(node.nodes, "load", lineno=node.lineno), CONCATENATED)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _filtered(node.node, SLICED, *(nodes.Const(None) if one is None else one for one in bounds))


def _outputs_of(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield the outputs in one round of a loop; those of loops inside are counted there."""
    if isinstance(node, nodes.Output):
        yield node
    if not isinstance(node, nodes.For):
        for child in node.iter_child_nodes():
            yield from _outputs_of(child)


def _filtered(node: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)
