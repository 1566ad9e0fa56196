"""Check the loops of a model's TorchScript: over a tensor's dimensions, not over its pixels."""

from __future__ import annotations

import ast
from itertools import chain
from typing import TYPE_CHECKING

from blinkcore.model_files.script_work import all_values, assigned

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_TURNS = 64  # iterations of a loop: over a tensor's dimensions, not over pixels

# What the body of a loop may call: numbers and short lists, no tensors.
_IN_LOOPS = frozenset(
    [
        "append",
        "add",
        "sub",
        "mul",
        "floordiv",
        "size",
        "floor",
        "ceil",
        "dim",
        "len",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "__is__",
        "__isnot__",
        "__derive_index",
        "slice",
        "format",
    ]
)


def check_loop(loop: ast.For, known: dict[str, list[ast.expr]], where: str) -> None:
    """Refuse loops, except those over a tensor's dimensions that compute sizes.

    Parameters
    ----------
    loop : For
        Of a function.
    known : dict
        What each name of the function is set to, see `with_arguments`.
    where : str
        Name of the file, for messages.

    Raises
    ------
    ValueError
        If it is another loop.
    """
    inner = list(chain.from_iterable(map(ast.walk, loop.body)))
    calls = {ast.unparse(n.func) for n in inner if isinstance(n, ast.Call)}
    appends = "torch.append" in calls
    is_range = (
        isinstance(loop.iter, ast.Call)
        and ast.unparse(loop.iter.func) == "range"
        and len(loop.iter.args) == 1
        and _is_short(loop.iter.args[0], known, appends, set())
    )
    allowed = {f"torch.{name}" for name in _IN_LOOPS}
    allowed |= {"int", "float", "unchecked_cast", "ops.prim.RaiseException"}
    if not is_range or any(isinstance(n, ast.For) for n in inner) or calls - allowed:
        raise ValueError(f"its code has a loop that may run for long ({where})")


def _is_short(
    turns: ast.expr, known: dict[str, list[ast.expr]], appends: bool, seen: set[str]
) -> bool:
    """Return whether a number is the number of dimensions of something, or a small constant.

    A loop that appends to a list may not run over a list's length. All values of a name must
    be short, so that each of the names, which are collected, is looked at once.
    """
    if isinstance(turns, ast.Constant):
        return isinstance(turns.value, int) and turns.value <= _MAX_TURNS
    if isinstance(turns, ast.Name):
        return all_values(
            turns.id,
            known,
            lambda value, seen: _is_short(value, known, appends, seen),
            seen,
        )
    if not isinstance(turns, ast.Call):
        return False
    name = ast.unparse(turns.func)
    if name == "torch.__range_length":
        start, stop, step = (*turns.args, *[ast.Name("?")] * 3)[:3]
        is_up = _is_constant(start, 0) and _is_constant(step, 1)
        return is_up and _is_short(stop, known, appends, seen)
    if name == "torch.sub":
        first, second = (*turns.args, *[ast.Name("?")] * 2)[:2]
        return _is_constant(second, 0) and _is_short(first, known, appends, seen)
    return name == "torch.dim" or (name == "torch.len" and not appends)


def _is_constant(value: ast.expr, minimum: int) -> bool:
    """Return whether a number stands in the code, and is not below a minimum."""
    number = value.value if isinstance(value, ast.Constant) else None
    return isinstance(number, int) and number >= minimum


def calls_of(trees: Iterable[ast.Module]) -> dict[str, list[list[ast.expr]]]:
    """Collect the arguments of all calls, by the last part of the function's name.

    A call of a variable is one of each function that the variable is set to.
    """
    found: dict[str, list[list[ast.expr]]] = {}
    nodes = (node for tree in trees for node in ast.walk(tree))
    for function in (node for node in nodes if isinstance(node, ast.FunctionDef)):
        known = assigned(function)
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
            called = [call.func]
            if isinstance(call.func, ast.Name):
                called = known.get(call.func.id, called)
            for one in called:
                name = ast.unparse(one).rpartition(".")[2]
                found.setdefault(name, []).append(call.args)
    return found


def with_arguments(
    function: ast.FunctionDef,
    known: dict[str, list[ast.expr]],
    calls: list[list[ast.expr]],
    *,
    is_method: bool,
) -> dict[str, list[ast.expr]]:
    """Add what parameters are set to: what functions of this name are called with.

    Parameters
    ----------
    function : FunctionDef
        Whose parameters they are.
    known : dict
        What its other names are set to, see `blinkcore.model_files.script_work.assigned`.
    calls : list of list of expr
        Arguments of each call of functions of this name, anywhere.
    is_method : bool
        Its first parameter is the network itself, which is not among the arguments.

    Returns
    -------
    dict
        All names; those that are not known are set to a name `?`, too.
    """
    given = dict(known)
    own = 1 if is_method else 0
    parameters = [one.arg for one in function.args.args[own:]]
    for number, parameter in enumerate(parameters):
        given[parameter] = known.get(parameter, []) + [
            arguments[number] if number < len(arguments) else ast.Name("?")
            for arguments in calls
        ]
    return given
