"""Check the arguments of operators in a model's TorchScript.

Some of PyTorch's operators trust what they are given: they write into a tensor that is
given as output as if it had a shape that it need not have, divide the smallest integer by
-1, or compute with tensors that have no numbers. Then the process ends, or memory is
overwritten. What does that is refused, whether or not a network could use it rightly.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from blinkcore import plain_pickle
from blinkcore.model_files.script_work import all_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Arguments that may be given by name; outputs are not among them.
_KEYWORDS = frozenset(
    [
        "alpha", "beta", "memory_format", "rounding_mode", "path", "implicit", "approximate",
        "dtype", "output_size", "decimals", "correction", "keepdim", "layout", "device",
        "pin_memory", "non_blocking", "copy",
    ]
)  # fmt: skip
_DIVISIONS = ("torch.div", "torch.div_")
# What gives a device or a kind of numbers of a tensor that is there.
_OF_A_TENSOR = ("ops.prim.device", "ops.prim.dtype", "ops.prim.layout")
_SIZES = ("torch.size", "torch.len", "torch.dim")
_LIST = re.compile(r"List\[\w+\]|Optional\[List\[\w+\]\]")
_CASTS = ("annotate", "unchecked_cast", "uninitialized")


class Arguments:
    """Checks the arguments of all calls of a function.

    Parameters
    ----------
    known : dict
        What each name of the function is set to in it.
    given : dict
        The same, and what its parameters are set to by all calls.
    own : str
        Name of its first parameter, the network, if it is a method; else empty.
    types : dict of str
        Types of its parameters, as text.
    constants : dict
        See `constants_of`.
    where : str
        Name of the file, for messages.
    """

    def __init__(
        self,
        known: dict[str, list[ast.expr]],
        given: dict[str, list[ast.expr]],
        own: str,
        types: dict[str, str],
        constants: dict[str, list[ast.expr | None]],
        where: str,
    ) -> None:
        self._known, self._given = known, given
        self._own, self._types = own, types
        self._constants, self._where = constants, where

    def check(self, call: ast.Call) -> None:
        """Refuse arguments that an operator of PyTorch does not check itself.

        Raises
        ------
        ValueError
            If an output is given, an integer is divided by what may be negative, a tensor is
            moved to a device by name, or resampled by a factor beside another size.
        """
        name = ast.unparse(call.func)
        for given in call.keywords:
            if given.arg not in _KEYWORDS:
                self._refuse(f"gives {name} an argument {given.arg}")
            rounding = getattr(given.value, "value", "?")
            if given.arg == "rounding_mode" and rounding not in (None, "floor"):
                self._refuse("rounds in an odd way")
        if name in _DIVISIONS and len(call.args) > 2:
            self._refuse("rounds in an odd way")
        # PyTorch checks for zero in the first of these only.
        allowed = {
            "torch.floordiv": self._is_not_negative,
            "torch.remainder": self._is_positive,
        }.get(name)
        if allowed and not (len(call.args) == 2 and allowed(call.args[1], set())):
            self._refuse("divides by what may be negative")
        values = [*call.args[1:], *(given.value for given in call.keywords)]
        if name == "torch.to" and not all(self._is_plain(v, set()) for v in values):
            self._refuse("converts a tensor by what may be a text")
        if name.startswith("torch._upsample") and name.endswith("_aa"):
            is_consistent = len(call.args) == 4 and self._is_list(call.args[3], set())
            if not is_consistent:
                self._refuse("resamples in an odd way")

    def _refuse(self, what: str) -> None:
        raise ValueError(f"its code {what} ({self._where})")

    def _all(
        self, name: str, holds: Callable[[ast.expr, set[str]], bool], seen: set[str]
    ) -> bool:
        """Return whether something holds for all values of a name; each is looked at once."""
        return all_values(name, self._given, holds, seen)

    def _is_positive(self, value: ast.expr, seen: set[str]) -> bool:
        """Return whether a number stands in the code and is above zero."""
        if isinstance(value, ast.Constant):
            return isinstance(value.value, int) and value.value > 0
        if isinstance(value, ast.Name):
            return self._all(value.id, self._is_positive, seen)
        # An attribute of the network itself; a tensor may have one of the same name.
        if not (isinstance(value, ast.Attribute) and self._is_own(value.value)):
            return False
        constants = self._constants.get(value.attr) or [None]
        return all(c is not None and self._is_positive(c, seen) for c in constants)

    def _is_own(self, value: ast.expr) -> bool:
        """Return whether a value is the network whose method this is."""
        is_first = isinstance(value, ast.Name) and value.id == self._own
        return is_first and self._own not in self._known

    def _is_not_negative(self, value: ast.expr, seen: set[str]) -> bool:
        """Return whether a number is above zero, or the size of something."""
        if isinstance(value, ast.Name):
            return self._all(value.id, self._is_not_negative, seen)
        is_size = isinstance(value, ast.Call) and ast.unparse(value.func) in _SIZES
        return is_size or self._is_positive(value, seen)

    def _is_plain(self, value: ast.expr, seen: set[str]) -> bool:
        """Return whether a value is a number, None or taken from a tensor, but no text."""
        if isinstance(value, ast.Constant):
            return not isinstance(value.value, str)
        if isinstance(value, ast.Name):
            is_other = self._types.get(value.id) in ("Tensor", "int", "bool")
            return is_other or self._all(value.id, self._is_plain, seen)
        return isinstance(value, ast.Call) and ast.unparse(value.func) in _OF_A_TENSOR

    def _is_list(self, value: ast.expr, seen: set[str]) -> bool:
        """Return whether a value is None or a list: PyTorch then computes the other size."""
        if isinstance(value, ast.Name):
            if value.id in seen:
                return True
            seen.add(value.id)
            values = self._known.get(value.id, [])
            is_typed = bool(_LIST.fullmatch(self._types.get(value.id, "")))
            is_set = is_typed or (bool(values) and value.id not in self._types)
            return is_set and all(self._is_list(one, seen) for one in values)
        if isinstance(value, ast.Call) and ast.unparse(value.func) in _CASTS:
            return bool(value.args and _LIST.fullmatch(ast.unparse(value.args[0])))
        is_none = isinstance(value, ast.Constant) and value.value is None
        return is_none or isinstance(value, ast.List)


def constants_of(
    trees: Iterable[ast.Module], data: Any
) -> dict[str, list[ast.expr | None]]:
    """Collect the values of integer attributes by name, of all objects of a model.

    Parameters
    ----------
    trees : iterable of Module
        Code, which can set no attribute.
    data : object
        What `blinkcore.plain_pickle.parse_model` made of the objects, whose types are
        compared with the code later.

    Returns
    -------
    dict of list of expr or None
        None stands for an attribute that is no integer.
    """
    found: dict[str, list[ast.expr | None]] = {}
    classes = (
        n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)
    )
    for item in (item for own in classes for item in own.body):
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Subscript):
            name = getattr(item.targets[0].slice, "value", None)  # of `__annotations__`
            found.setdefault(str(name), []).append(None)
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            values = found.setdefault(item.target.id, [])
            if ast.unparse(item.annotation) != "int":  # its values are in the objects
                is_constant = ast.unparse(item.annotation) == "Final[int]"
                values.append(item.value if is_constant else None)
    todo, seen = [data], set()
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        todo += plain_pickle.parts_of(value)
        state = value.state if isinstance(value, plain_pickle.Call) else None
        for name, number in state.items() if isinstance(state, dict) else ():
            if type(number) is int and name in found:
                found[name].append(ast.Constant(number))
    return found
