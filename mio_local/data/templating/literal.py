"""Whether a template writes a content as it is, by what its source says that it looks for in contents.

A template can only tell contents apart by texts that it seeks in them or compares them with, and changes them by few
means. Contents without such texts, which begin and end with no space, are inserted where a stand-in was, so that
conversations of one shape need not be rendered one by one.
"""

import re
from typing import TYPE_CHECKING

from mio_local.data.templating.bounds import GENERATION

if TYPE_CHECKING:
    from jinja2 import nodes

ALWAYS = ("<think>", "</think>", "[THINK]", "[/THINK]")  # which are looked for in contents outside of templates too
SEARCHES = frozenset(
    ("split", "rsplit", "partition", "startswith", "endswith", "find", "index", "replace", "removeprefix")
)
STRIPS = frozenset(("strip", "lstrip", "rstrip"))
CALLS = frozenset(("items", "get", "keys", "values", "append"))
FILTERS = frozenset((
    "trim", "tojson", "safe", "length", "count", "list", "items", "default", "d", "string", "selectattr", "rejectattr",
    "map", "join", "first", "last", "dictsort", "int", "select", "reject", "indent",
))  # fmt: skip
TESTS = frozenset((
    "string", "none", "mapping", "iterable", "defined", "undefined", "sequence", "true", "false", "boolean", "number",
    "integer", "eq", "equalto", "ne", "in",
))  # fmt: skip
ESCAPED = re.compile(r'["\\\x00-\x1f]')  # what JSON writes otherwise


class LiteralContents:
    """What a template's source says; `usable` is False where it treats contents by other means than those known."""

    def __init__(self, template: str) -> None:
        self._equals: set[str] = set()
        self._sought = set(ALWAYS)
        self._escapes = False
        self.usable = self._read(template)
        self._pattern = re.compile("|".join(re.escape(text) for text in sorted(self._sought)))

    def takes(self, content: str) -> bool:
        """Whether the template writes this content as it is."""
        if not content or content[0].isspace() or content[-1].isspace() or content in self._equals:
            return False
        return not self._pattern.search(content) and not (self._escapes and ESCAPED.search(content))

    def _read(self, template: str) -> bool:
        from jinja2 import Environment, TemplateError, nodes

        environment = Environment(extensions=["jinja2.ext.loopcontrols"])
        try:
            tree = environment.parse(GENERATION.sub("", template))
        except (TemplateError, RecursionError):
            return False
        self._escapes = any(node.name == "tojson" for node in tree.find_all(nodes.Filter))
        for node in tree.find_all(nodes.Assign):  # a text that is sought may have a name
            self._sought |= {const.value for const in node.find_all(nodes.Const) if _sayable(const.value)}
        return (
            all(map(self._compares, tree.find_all(nodes.Compare)))
            and all(map(self._calls, tree.find_all(nodes.Call)))
            and all(node.name in FILTERS for node in tree.find_all(nodes.Filter))
            and all(node.name in TESTS for node in tree.find_all(nodes.Test))
            and all(map(_indexes, tree.find_all(nodes.Getitem)))
        )

    def _compares(self, node: "nodes.Compare") -> bool:
        from jinja2 import nodes

        for operand in node.ops:
            sides = [side.value for side in (node.expr, operand.expr) if isinstance(side, nodes.Const)]
            texts = {text for text in sides if _sayable(text)}
            if operand.op in ("in", "notin"):
                self._sought |= texts
            elif operand.op in ("eq", "ne"):
                self._equals |= texts
            elif texts:
                return False
        return True

    def _calls(self, node: "nodes.Call") -> bool:
        from jinja2 import nodes

        if not isinstance(node.node, nodes.Getattr):
            return True  # a macro, or a function of the environment
        texts = [each.value for each in node.args if isinstance(each, nodes.Const) and isinstance(each.value, str)]
        if node.node.attr in STRIPS:
            return not node.args or (len(texts) == len(node.args) and not "".join(texts).strip())
        if node.node.attr in SEARCHES:
            self._sought |= {text for text in texts if text}
            return all(isinstance(each, nodes.Const | nodes.Name) for each in node.args)
        return node.node.attr in CALLS


def _sayable(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _indexes(node: "nodes.Getitem") -> bool:
    """Whether an index or a slice takes no part of a content: of messages, of what was split, or by a name."""
    from jinja2 import nodes

    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return True
    of = node.node
    if isinstance(of, nodes.Getattr | nodes.Name):
        return "content" not in (of.attr if isinstance(of, nodes.Getattr) else of.name)
    return isinstance(of, nodes.Call | nodes.Filter)
