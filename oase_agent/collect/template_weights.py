"""How large a value of a template is with everything in it, as often as it is in it.

`[a, a]` takes two words of memory whatever `a` is; but a text of it, its hash, or a comparison with its like takes
twice the time of `a`. Forty such lists in each other would take longer than anyone waits, inside one call that cannot
be stopped. So every list, tuple and mapping is weighed when it is made.
"""

from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any

from oase_agent.collect.template_limits import MAX_SIZE, TooMuchError, check_depth, check_size

_CONTAINERS = (list, tuple, dict, set, frozenset, KeysView, ValuesView, ItemsView)
_ITEM = 2  # a comma and a blank
_OTHER = 16  # a number, a time, a word
_BITS_OF_A_DIGIT = 3

_DEEPEST = 300  # of the last event, which no template made

Weight = tuple[int, int]


class Weights:
    """Weighs values in characters, and remembers the containers of the text that is being rendered.

    Containers of templates do not change: methods that would do that are closed.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # The container is kept, so that no other one gets its id.
        self._known: dict[int, tuple[Any, Weight]] = {}

    def forget(self) -> None:
        """Let go of all containers."""
        self._known.clear()

    def check(self, value: Any) -> int:
        """Return the weight of `value`; raises TooMuchError if it is too heavy."""
        if isinstance(value, str):
            check_size(len(value))
            return len(value)
        if not isinstance(value, _CONTAINERS):
            return _weight_of_other(value)
        weight, _ = self._weigh(value, 0)
        return weight

    def check_made(self, value: Any) -> None:
        """Raise TooMuchError if `value`, which a template made, is too heavy or too deep."""
        if isinstance(value, _CONTAINERS):
            _, depth = self._weigh(value, 0)
            check_depth(depth)

    def _weigh(self, container: Any, level: int) -> Weight:
        known = self._known.get(id(container))
        if known is not None:
            return known[1]
        if level > _DEEPEST:
            raise TooMuchError
        weight, depth = _ITEM, 0
        for item in _items_of(container):
            if isinstance(item, str):
                weight += len(item) + _ITEM
            elif isinstance(item, int):
                weight += _weight_of_other(item)
            elif isinstance(item, _CONTAINERS):
                inner, below = self._weigh(item, level + 1)
                weight, depth = weight + inner + _ITEM, max(depth, below)
            else:
                weight += _OTHER
            if weight > MAX_SIZE:
                raise TooMuchError
        self._known[id(container)] = (container, (weight, depth + 1))
        return weight, depth + 1


def _items_of(container: Any) -> Any:
    if isinstance(container, Mapping):
        return (part for pair in container.items() for part in pair)
    if isinstance(container, ItemsView):
        return (part for pair in container for part in pair)
    if isinstance(container, AbstractSet | ValuesView | list | tuple):
        return container
    raise AssertionError(type(container))


def _weight_of_other(value: Any) -> int:
    if isinstance(value, int):
        return _ITEM + value.bit_length() // _BITS_OF_A_DIGIT
    return _OTHER
