"""Check the names in a model's TorchScript: no function may be called by another name."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from blinkcore.model_files.script_work import BUILTINS

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULES = ("torch", "ops", "__torch__")  # names of modules in TorchScript
# Names that mean something in TorchScript, unless something else is set to them.
_OWN = BUILTINS.union(_MODULES)


def check_names(
    function: ast.FunctionDef, where: str, functions: frozenset[str]
) -> None:
    """Refuse modules anywhere but in types and before the function that is called.

    `t = torch`, `getattr(torch.autograd, "save")`, `t = __torch__.f(x).save` and `int = x.save`
    would call functions by other names; only the functions of the file may be given a name.

    Parameters
    ----------
    function : FunctionDef
        Of the code.
    where : str
        Name of its file, for messages.
    functions : frozenset of str
        Names of all functions of the code, with that of the module.

    Raises
    ------
    ValueError
        If a module is used otherwise, a module or a function of TorchScript is set, or what is
        called has no name.
    """
    nodes = list(ast.walk(function))
    used = {id(node) for node in _in_types(nodes)} | _before_calls(nodes, where)
    for node in nodes:
        is_named = isinstance(node, (ast.Assign, ast.Call))
        value = (
            node.value if isinstance(node, ast.Assign) else getattr(node, "func", None)
        )
        if is_named and value is not None and ast.unparse(value) in functions:
            used |= {id(part) for part in ast.walk(value)}
    for node in nodes:
        name = node.arg if isinstance(node, ast.arg) else getattr(node, "id", None)
        is_set = isinstance(node, ast.arg) or isinstance(
            getattr(node, "ctx", None), ast.Store
        )
        if is_set and name in _OWN:
            raise ValueError(f"its code sets {name} ({where})")
        if name in _MODULES and id(node) not in used:
            raise ValueError(f"its code hands {name} on ({where})")


def _before_calls(nodes: list[ast.AST], where: str) -> set[int]:
    """Collect the modules before functions that are called: `torch.NAME(`, `ops.prim.NAME(`."""
    used = set()
    for name in (node.func for node in nodes if isinstance(node, ast.Call)):
        if not isinstance(name, (ast.Name, ast.Attribute)):
            raise ValueError(  # noqa: TRY004 (of a file, not of a call)
                f"its code calls what has no name ({where})"
            )
        base = name.value if isinstance(name, ast.Attribute) else None
        if isinstance(base, ast.Name) and base.id == "torch":
            used.add(id(base))
        elif isinstance(base, ast.Attribute) and ast.unparse(base) == "ops.prim":
            used.add(id(base.value))
    return used


def _in_types(nodes: list[ast.AST]) -> Iterator[ast.AST]:
    """Return all parts of the types of parameters, variables and what is returned."""
    for node in nodes:
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation is not None:
            yield from ast.walk(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield from ast.walk(node.returns)
