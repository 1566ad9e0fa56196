"""Limit the work of a model's TorchScript: the calls in one run, all functions inlined.

Even without loops and recursion, a program of thirty short functions can run for years
if each calls the next one twice. PyTorch would inline them all as soon as it is run.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Functions of TorchScript itself.
BUILTINS = frozenset(
    {"annotate", "unchecked_cast", "uninitialized", "getattr", "int", "float", "bool", "range"}
)  # fmt: skip
_MAX_CALLS = 50_000  # the largest bundled model has 700
_MAX_STEPS = 1_000_000  # expressions that are looked at to find the class of another


@dataclass
class ScriptClass:
    """Types of a network's attributes (`parts`), as text, and its methods."""

    parts: dict[str, str] = field(default_factory=dict)
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)


def check_work(trees: dict[str, ast.Module]) -> None:
    """Refuse code that calls itself, or makes more calls than any network needs.

    Parameters
    ----------
    trees : dict of Module
        Code by the name of its module, such as `__torch__.torch.nn.functional`.

    Raises
    ------
    ValueError
        If it does; the message names the function.
    """
    work = Work(trees)
    for class_name, found in work.classes.items():
        for method in found.methods:
            work.calls(class_name, method)
    for name in work.functions:
        work.calls("", name)


class Work:
    """Counts the calls of functions and methods."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.classes: dict[str, ScriptClass] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        self.known: dict[tuple[str, str], int] = {}
        self.running: set[tuple[str, str]] = set()
        self.steps = 0
        for module, tree in trees.items():
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    self.classes[f"{module}.{node.name}"] = _read_class(node)
                elif isinstance(node, ast.FunctionDef):
                    self.functions[f"{module}.{node.name}"] = node

    def calls(self, class_name: str, name: str) -> int:
        """Count the calls in a method, or in a function if the class name is empty.

        Raises ValueError if it calls itself, or makes too many calls.
        """
        key = class_name, name
        if key in self.running:
            raise ValueError(f"its code calls {name} from within {name}")
        if key not in self.known:
            function = self.function(key)
            self.running.add(key)
            self.known[key] = self._sum(function, class_name)
            self.running.remove(key)
        if self.known[key] > _MAX_CALLS:
            raise ValueError(f"its code would run for too long ({name})")
        return self.known[key]

    def _sum(self, function: ast.FunctionDef, class_name: str) -> int:
        local, types = self.names_of(function, class_name)
        nodes = (n for n in ast.walk(function) if isinstance(n, ast.Call))
        return 1 + sum(self._of_call(node.func, types, local) for node in nodes)

    def names_of(
        self, function: ast.FunctionDef, class_name: str
    ) -> tuple[dict[str, list[ast.expr]], dict[str, str]]:
        """Return what each local name is set to, and the types of the parameters."""
        types = types_of_parameters(function)
        types.setdefault("self", class_name)
        return assigned(function), types

    def all_functions(self) -> list[ast.FunctionDef]:
        """List all functions and methods."""
        methods = [m for own in self.classes.values() for m in own.methods.values()]
        return [*self.functions.values(), *methods]

    def function(self, key: tuple[str, str]) -> ast.FunctionDef:
        """Return a function by its class, empty for one of none, and its name."""
        class_name, name = key
        if class_name:
            return self.classes[class_name].methods[name]
        return self.functions[name]

    def called(
        self, called: ast.expr, types: dict[str, str], local: dict[str, list[ast.expr]]
    ) -> list[tuple[str, str]] | None:
        """List the functions that may be called, by class and name; None if not known."""
        if isinstance(called, ast.Name):  # a function, or a variable that is set to one
            names = [ast.unparse(value) for value in local.get(called.id, ())]
        else:
            names = [ast.unparse(called)]
        # What a name of the function stands before is no function of the file.
        roots = {name.partition(".")[0] for name in names}
        is_local = not roots.isdisjoint([*local, *types])
        if names and not is_local and all(name in self.functions for name in names):
            return [("", name) for name in names]
        if isinstance(called, ast.Attribute):
            owner = self.type_of(called.value, types, local)
            if owner is not None and called.attr in self.classes[owner].methods:
                return [(owner, called.attr)]
        return None

    def _of_call(
        self, called: ast.expr, types: dict[str, str], local: dict[str, list[ast.expr]]
    ) -> int:
        keys = self.called(called, types, local)
        if keys is not None:
            return max(self.calls(*key) for key in keys)
        name = ast.unparse(called)
        is_checked = name in BUILTINS or name.startswith(("torch.", "ops.prim."))
        if not is_checked:
            raise ValueError(f"its code calls {name}, which is not in it")
        return 1

    def type_of(
        self,
        value: ast.expr,
        types: dict[str, str],
        local: dict[str, list[ast.expr]],
        depth: int = 0,
    ) -> str | None:
        """Find the class of an expression, None if it is not one of the file.

        Raises ValueError if that takes too many steps.
        """
        found: str | None = None
        self.steps += 1
        if depth > 50 or self.steps > _MAX_STEPS:
            raise ValueError("its code is nested too deep")
        if isinstance(value, ast.Name):
            several = {
                self.type_of(v, types, local, depth + 1)
                for v in local.get(value.id, ())
            }
            if value.id in types:
                several.add(types[value.id])
            found = several.pop() if len(several) == 1 else None
        elif isinstance(value, ast.Attribute):
            found = self._part(value.value, value.attr, types, local, depth)
        elif (
            isinstance(value, ast.Call)
            and ast.unparse(value.func) == "getattr"
            and len(value.args) == 2
            and isinstance(value.args[1], ast.Constant)
        ):
            name = str(value.args[1].value)
            found = self._part(value.args[0], name, types, local, depth)
        return found if found in self.classes else None

    def _part(
        self,
        owner: ast.expr,
        name: str,
        types: dict[str, str],
        local: dict[str, list[ast.expr]],
        depth: int,
    ) -> str | None:
        class_name = self.type_of(owner, types, local, depth + 1)
        return None if class_name is None else self.classes[class_name].parts.get(name)


def _read_class(node: ast.ClassDef) -> ScriptClass:
    """Collect the types of a class's attributes, by name, and its methods."""
    found = ScriptClass()
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            found.methods[item.name] = item
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            found.parts[item.target.id] = ast.unparse(item.annotation)
        elif isinstance(item, ast.Assign) and isinstance(
            item.targets[0], ast.Subscript
        ):
            key = item.targets[0].slice
            if isinstance(key, ast.Constant):
                found.parts[str(key.value)] = ast.unparse(item.value)
    return found


def types_of_parameters(function: ast.FunctionDef) -> dict[str, str]:
    """Return the types of a function's parameters as text, of those that have one."""
    return {
        one.arg: ast.unparse(one.annotation)
        for one in function.args.args
        if one.annotation is not None
    }


def all_values(
    name: str,
    known: dict[str, list[ast.expr]],
    holds: Callable[[ast.expr, set[str]], bool],
    seen: set[str],
) -> bool:
    """Return whether something holds for all values that a name is set to.

    Each name is looked at once: `seen` holds those that were, and is handed on to `holds`.
    A name that is set to nothing known has no such values.
    """
    if name in seen:
        return True
    seen.add(name)
    values = known.get(name, [])
    return bool(values) and all(holds(value, seen) for value in values)


def assigned(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    """Collect the expressions that each local name of a function is set to.

    What a loop runs over is a name `?` that nothing is known of.
    """
    known: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _assign(target, node.value, known)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _assign(node.target, node.value, known)
        elif isinstance(node, ast.For):
            _assign(node.target, ast.Name("?"), known)
    return known


def _assign(
    target: ast.expr, value: ast.expr, known: dict[str, list[ast.expr]]
) -> None:
    """Note the value of a name, or of each name of a tuple."""
    if isinstance(target, ast.Name):
        known.setdefault(target.id, []).append(value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        values = value.elts if isinstance(value, ast.Tuple) else []
        if len(values) != len(target.elts):
            values = [value] * len(target.elts)
        for one, part in zip(target.elts, values, strict=True):
            _assign(one, part, known)
