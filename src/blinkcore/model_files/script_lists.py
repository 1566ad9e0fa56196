"""Limit lists and texts in a model's TorchScript: they may not double with each line.

Without a loop, thirty lines that each add a list to itself, put it twice into another list
or repeat a text would fill the memory.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TypeGuard, Union

from blinkcore.model_files.script_work import Work

_MAX_DEPTH = 3  # lists of lists of lists
_MAX_LISTS = 16  # in one list or tuple
_MAX_ROUNDS = 100  # through a function's lines, until the kinds of all names are known
_LISTS = ("list", "size", "chunk", "split", "unbind")  # operators that return a list
_SAME = ("add", "append", "slice", "mul", "list")  # that return a list if given one
_MESSAGES = ("ops.prim.RaiseException", "torch.warn")  # what a composed text may go to


# How many lists lie in each other in a value; of a tuple, in each of its elements.
_Kind = Union[int, "tuple[_Kind, ...]"]


def _depth(kind: _Kind) -> int:
    """Count the lists and tuples in each other."""
    return kind if isinstance(kind, int) else 1 + max(map(_depth, kind), default=0)


def _either(one: _Kind | None, other: _Kind) -> _Kind:
    """Return the kind of a name that is set to values of two kinds."""
    if one is None or one == other:
        return other
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return tuple(map(_either, one, other))
    return max(_depth(one), _depth(other))


def _element(kind: _Kind, number: int | None = None) -> _Kind:
    """Return the kind of an element of a list or tuple."""
    if isinstance(kind, int):
        return max(0, kind - 1)
    if number is not None and -len(kind) <= number < len(kind):
        return kind[number]
    return max(map(_depth, kind), default=0)


@dataclass
class _Lists:
    """What is known of a function: kinds of its names, and which are written-out lists."""

    work: Work
    class_name: str = ""
    local: dict[str, list[ast.expr]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    names: dict[str, _Kind] = field(default_factory=dict)

    def within(self, value: ast.expr) -> int:
        """Find how many lists lie in each other in a value; a text counts as a list."""
        return _depth(self.kind(value))

    def is_written(self, value: ast.expr) -> bool:
        """Return whether a list or text stands in the code, so that adding it adds little."""
        if isinstance(value, ast.Name):
            values = self.local.get(value.id, [])
            return bool(values) and all(isinstance(v, ast.List) for v in values)
        return isinstance(value, (ast.List, ast.Constant))

    def kind(self, value: ast.expr) -> _Kind:
        """Find the kind of a value."""
        if isinstance(value, ast.Constant):
            return int(isinstance(value.value, str))
        if isinstance(value, ast.Name):
            return self.names.get(value.id, 0)
        if isinstance(value, ast.Attribute):
            return self._of_attribute(value.value, value.attr)
        if isinstance(value, ast.Subscript):
            number = getattr(value.slice, "value", None)
            is_number = isinstance(number, int)
            return _element(self.kind(value.value), number if is_number else None)
        if isinstance(value, ast.Call):
            return self._of_call(value)
        if isinstance(value, ast.Tuple):
            kinds = tuple(map(self.kind, value.elts))
            # Each name may be in the next one twice, and so on: 2 to the power of their number.
            if _depth(kinds) > _MAX_DEPTH + 1 or (
                len(kinds) > _MAX_LISTS and any(isinstance(k, tuple) for k in kinds)
            ):
                raise ValueError("its code nests lists")
            return kinds
        parts = (n for n in ast.iter_child_nodes(value) if isinstance(n, ast.expr))
        deepest = max(map(self.within, parts), default=0)
        return deepest + isinstance(value, (ast.List, ast.Dict))

    def _of_attribute(self, owner: ast.expr, name: str) -> _Kind:
        class_name = self.work.type_of(owner, self.types, self.local)
        if class_name is not None:
            return _of_text(self.work.classes[class_name].parts.get(name))
        every = self.work.classes.values()
        kinds = [_of_text(own.parts.get(name)) for own in every]
        return max(map(_depth, kinds), default=0)

    def _of_call(self, call: ast.Call) -> _Kind:
        module, _, name = ast.unparse(call.func).rpartition(".")
        given = max(map(self.within, call.args), default=0)
        if module == "torch":
            return _of_operator(name, given, len(call.args))
        if module == "ops.prim":
            return self.kind(call.args[0]) if len(call.args) == 1 else given
        if name in ("annotate", "unchecked_cast", "uninitialized") and not module:
            return _of_type(call.args[0] if call.args else None)
        if name in ("int", "float", "bool") and not module:
            return 0
        if name == "getattr" and not module and len(call.args) == 2:
            named = call.args[1]
            text = str(named.value) if isinstance(named, ast.Constant) else ""
            return self._of_attribute(call.args[0], text)
        keys = self.work.called(call.func, self.types, self.local)
        if keys is None:  # not known: the deepest that any function gives
            called = self.work.all_functions()
        else:
            called = [self.work.function(key) for key in keys]
        kinds = [_of_type(one.returns) for one in called]
        return kinds[0] if len(kinds) == 1 else max(map(_depth, kinds), default=0)


def _of_operator(name: str, given: int, n_arguments: int) -> int:
    """Find the kind that an operator of PyTorch gives, from that of its arguments."""
    if name == "size" and n_arguments > 1:  # of one dimension
        return 0
    if name in _LISTS:
        return max(1, given)
    if name == "pop":
        return max(0, given - 1)
    return given if name in _SAME else int(name == "format")


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
    work = Work(trees)
    for class_name, found in work.classes.items():
        for type_ in found.parts.values():
            _check_depth(_depth(_of_text(type_)), class_name)
        for name, method in found.methods.items():
            _check_function(method, work, class_name, f"{class_name}.{name}")
    for name, function in work.functions.items():
        _check_function(function, work, "", name)


def _check_function(
    function: ast.FunctionDef, work: Work, class_name: str, where: str
) -> None:
    known = _known(function, work, class_name)
    _check_depth(_depth(_of_type(function.returns)), where)
    for kind in known.names.values():
        _check_depth(_depth(kind), where)
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
    is_sum = name in ("torch.add", "torch.add_") and len(lists) > 1
    if is_sum and not any(map(known.is_written, lists)):
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
    uses: dict[str, list[ast.Name]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            uses.setdefault(node.id, []).append(node)
    todo: list[ast.expr] = list(texts)
    while todo:
        for name in _follow(todo.pop(), parents, where):
            todo += uses.pop(name, [])


def _follow(text: ast.expr, parents: dict[int, ast.AST], where: str) -> list[str]:
    """List the names that a text is given; refuse other uses than in messages."""
    user = parents[id(text)]
    if isinstance(user, ast.Assign) and all(
        isinstance(t, ast.Name) for t in user.targets
    ):
        return [ast.unparse(target) for target in user.targets]
    if isinstance(user, ast.AnnAssign):
        return [ast.unparse(user.target)]
    if _adds_constant(user):
        return _follow(user, parents, where)
    if not isinstance(user, ast.Call) or ast.unparse(user.func) not in _MESSAGES:
        raise ValueError(f"its code makes texts of texts ({where})")
    return []


def _adds_constant(user: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(user, ast.Call)
        and ast.unparse(user.func) == "torch.add"
        and any(isinstance(one, ast.Constant) for one in user.args)
    )


def _known(function: ast.FunctionDef, work: Work, class_name: str) -> _Lists:
    """Find the kinds of all local names of a function."""
    known = _Lists(work, class_name, *work.names_of(function, class_name))
    known.names = {one.arg: _of_type(one.annotation) for one in function.args.args}
    assigned: list[tuple[ast.expr, ast.expr]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            assigned += [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            assigned.append((node.target, node.value))
    for _ in range(_MAX_ROUNDS):
        before = dict(known.names)
        for target, value in assigned:
            _set(target, known.kind(value), known.names)
        deepest = max(map(_depth, known.names.values()), default=0)
        if known.names == before or deepest > _MAX_DEPTH:
            return known
    raise ValueError("its code is nested too deep")


def _set(target: ast.expr, kind: _Kind, names: dict[str, _Kind]) -> None:
    """Note the kind of a name, or of each name of a tuple."""
    if isinstance(target, (ast.Tuple, ast.List)):
        for number, one in enumerate(target.elts):
            _set(one, _element(kind, number), names)
    elif isinstance(target, ast.Name):
        names[target.id] = _either(names.get(target.id), kind)


def _of_text(annotation: str | None) -> _Kind:
    return (
        0 if annotation is None else _of_type(ast.parse(annotation, mode="eval").body)
    )


def _of_type(annotation: ast.expr | None) -> _Kind:
    """Find the kind of a type."""
    if annotation is None:
        return 0
    if isinstance(annotation, ast.Name):
        return int(annotation.id == "str")
    if not isinstance(annotation, ast.Subscript):
        return 0
    inner, name = annotation.slice, ast.unparse(annotation.value)
    kinds = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Tuple":
        return tuple(map(_of_type, kinds))
    deepest = max((_depth(_of_type(one)) for one in kinds), default=0)
    return deepest + (name in ("List", "Dict"))
