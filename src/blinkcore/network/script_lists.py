"""Limit lists and texts in a model's TorchScript: they may not double with each line.

Without a loop, thirty lines that each add a list to itself, put it twice into another list
or repeat a text would fill the memory.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import TypeGuard

_MAX_DEPTH = 3  # lists of lists of lists
_MAX_LISTS = 16  # in one list or tuple
_MAX_ROUNDS = 100  # through a function's lines, until the kinds of all names are known
_LISTS = ("list", "size", "chunk", "split")  # operators that return a list
_SAME = ("add", "append", "slice", "mul", "list")  # that return a list if given one
_MESSAGES = ("ops.prim.RaiseException", "torch.warn")  # what a composed text may go to


@dataclass
class _Lists:
    """How many lists lie in each other, by name: in variables, attributes, results."""

    names: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)

    def within(self, value: ast.expr) -> int:
        """Find how many lists lie in each other in a value; a text counts as a list."""
        if isinstance(value, ast.Constant):
            return int(isinstance(value.value, str))
        if isinstance(value, ast.Name):
            return self.names.get(value.id, 0)
        if isinstance(value, ast.Attribute):
            return self.parts.get(value.attr, 0)
        if isinstance(value, ast.Subscript):
            return max(0, self.within(value.value) - 1)
        if isinstance(value, ast.Call):
            return self._of_call(value)
        parts = (n for n in ast.iter_child_nodes(value) if isinstance(n, ast.expr))
        deepest = max((self.within(one) for one in parts), default=0)
        return deepest + isinstance(value, (ast.List, ast.Tuple, ast.Dict))

    def _of_call(self, call: ast.Call) -> int:
        module, _, name = ast.unparse(call.func).rpartition(".")
        given = max((self.within(one) for one in call.args), default=0)
        if module == "torch":
            if name == "size" and len(call.args) > 1:  # of one dimension
                return 0
            if name in _LISTS:
                return max(1, given)
            if name == "pop":
                return max(0, given - 1)
            return given if name in _SAME else int(name == "format")
        if module == "ops.prim":
            return given
        if module:
            return self.returned.get(name, 0)
        if name in ("annotate", "unchecked_cast", "uninitialized"):
            return _of_type(call.args[0] if call.args else None)
        if name in ("int", "float", "bool"):
            return 0
        several = self.parts if name == "getattr" else self.returned
        return max(several.values(), default=0)


def check_lists(trees: dict[str, ast.Module]) -> None:
    """Refuse code in which lists or texts can grow faster than the code is long.

    Parameters
    ----------
    trees : dict of Module
        Code by the name of its module.

    Raises
    ------
    ValueError
        If it adds lists or texts that are not written out, nests lists deeply or many of
        them, or composes a text of a text.
    """
    lists = _Lists()
    functions: list[tuple[ast.FunctionDef, str]] = []
    for where, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign):
                name, depth = ast.unparse(node.target), _of_type(node.annotation)
                lists.parts[name] = max(depth, lists.parts.get(name, 0))
            elif isinstance(node, ast.FunctionDef):
                name, depth = node.name, _of_type(node.returns)
                lists.returned[name] = max(depth, lists.returned.get(name, 0))
                functions.append((node, where))
            else:
                continue
            _check_depth(depth, where)
    for function, where in functions:
        _check_function(function, lists, where)


def _check_function(function: ast.FunctionDef, lists: _Lists, where: str) -> None:
    known = replace(lists, names=_depths(function, lists))
    for depth in known.names.values():
        _check_depth(depth, where)
    for node in ast.walk(function):
        if isinstance(node, (ast.List, ast.Tuple, ast.Dict, ast.Call)):
            depth = known.within(node)
            _check_depth(depth, where)
            if isinstance(node, ast.Call):
                _check_call(node, known, where)
            elif depth > 1 and len(list(ast.iter_child_nodes(node))) > _MAX_LISTS:
                raise ValueError(f"its code nests lists ({where})")
    _check_texts(function, where)


def _check_depth(depth: int, where: str) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"its code nests lists ({where})")


def _check_call(call: ast.Call, known: _Lists, where: str) -> None:
    name = ast.unparse(call.func)
    lists = [one for one in call.args if known.within(one)]
    if name == "torch.append" and any(one in call.args[1:] for one in lists):
        raise ValueError(f"its code nests lists ({where})")
    written = [one for one in lists if isinstance(one, (ast.List, ast.Constant))]
    if name in ("torch.add", "torch.add_") and len(lists) > 1 and not written:
        raise ValueError(f"its code adds lists or texts ({where})")
    if name in ("torch.mul", "torch.mul_") and lists:
        raise ValueError(f"its code repeats a list ({where})")


def _check_texts(function: ast.FunctionDef, where: str) -> None:
    """Refuse composed texts, unless they go straight into a message."""
    parents = {
        id(child): node
        for node in ast.walk(function)
        for child in ast.iter_child_nodes(node)
    }
    texts = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.format"
    ]
    names: set[str] = set()
    for text in texts:
        _follow(text, parents, names, where)
    done: set[str] = set()
    while names - done:
        new = names - done
        done |= new
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Load)
                and node.id in new
            ):
                _follow(node, parents, names, where)


def _follow(
    text: ast.expr, parents: dict[int, ast.AST], names: set[str], where: str
) -> None:
    """Note the name that a text is given; refuse other uses than in messages."""
    user = parents[id(text)]
    if isinstance(user, ast.Assign) and all(
        isinstance(t, ast.Name) for t in user.targets
    ):
        names.update(ast.unparse(target) for target in user.targets)
    elif isinstance(user, ast.AnnAssign):
        names.add(ast.unparse(user.target))
    elif _adds_constant(user):
        _follow(user, parents, names, where)
    elif not isinstance(user, ast.Call) or ast.unparse(user.func) not in _MESSAGES:
        raise ValueError(f"its code makes texts of texts ({where})")


def _adds_constant(user: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(user, ast.Call)
        and ast.unparse(user.func) == "torch.add"
        and any(isinstance(one, ast.Constant) for one in user.args)
    )


def _depths(function: ast.FunctionDef, lists: _Lists) -> dict[str, int]:
    """Find how many lists lie in each other in each local name."""
    known = replace(
        lists, names={one.arg: _of_type(one.annotation) for one in function.args.args}
    )
    assigned: list[tuple[ast.expr, ast.expr]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            assigned += [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            assigned.append((node.target, node.value))
    for _ in range(_MAX_ROUNDS):
        before = dict(known.names)
        for target, value in assigned:
            depth = known.within(value)
            if isinstance(target, (ast.Tuple, ast.List)):  # names for its elements
                depth -= 1
            for one in ast.walk(target):
                if isinstance(one, ast.Name):
                    known.names[one.id] = max(depth, known.names.get(one.id, 0))
        if known.names == before or max(known.names.values()) > _MAX_DEPTH:
            return known.names
    raise ValueError("its code is nested too deep")


def _of_type(annotation: ast.expr | None) -> int:
    """Count the lists in each other in a type."""
    if annotation is None:
        return 0
    if isinstance(annotation, ast.Name):
        return int(annotation.id == "str")
    parts = (n for n in ast.iter_child_nodes(annotation) if isinstance(n, ast.expr))
    deepest = max((_of_type(one) for one in parts), default=0)
    return deepest + (
        isinstance(annotation, ast.Subscript)
        and ast.unparse(annotation.value) in ("List", "Tuple", "Dict")
    )
