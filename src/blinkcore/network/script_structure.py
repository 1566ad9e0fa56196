"""Check the structure of a model's TorchScript: modules of classes, classes of methods.

Only networks (`Module`) are allowed. With an interface, code could call itself without
saying so; an object of a plain class could lie in a list, where PyTorch does not check it.
"""

from __future__ import annotations

import ast

# What classes name besides their attributes and methods.
_LISTS = ("__parameters__", "__buffers__", "__annotations__")


def check_structure(tree: ast.Module, where: str) -> None:
    """Refuse what is neither a function nor a network with attributes and methods.

    Parameters
    ----------
    tree : Module
        A file of the code.
    where : str
        Its name, for messages.

    Raises
    ------
    ValueError
        If a class is not a network, a name is defined twice, a function is called outside
        of functions or defined within one, or an attribute is set.
    """
    nodes = list(ast.walk(tree))
    functions = [one for one in nodes if isinstance(one, ast.FunctionDef)]
    bodies = [line for one in functions for line in one.body]
    inside = {id(node) for line in bodies for node in ast.walk(line)}
    for node in nodes:
        if isinstance(node, ast.Call) and id(node) not in inside:
            raise ValueError(f"its code calls a function outside of any ({where})")
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and id(node) in inside:
            raise ValueError(f"its code defines {node.name} in a function ({where})")
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            raise ValueError(  # noqa: TRY004 (of a file, not of a call)
                f"its code sets {ast.unparse(node)} ({where})"
            )
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            _check_class(node, where)
        elif not isinstance(node, ast.FunctionDef):
            raise ValueError(  # noqa: TRY004
                f"its code has more than networks in it ({where})"
            )
    names = [
        n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))
    ]
    _check_unique(names, where)


def _check_class(node: ast.ClassDef, where: str) -> None:
    bases = [ast.unparse(base) for base in (*node.bases, *node.keywords)]
    if bases != ["Module"] or node.decorator_list:
        raise ValueError(f"its class {node.name} is not a network ({where})")
    _check_unique([_defined(item, node.name, where) for item in node.body], where)


def _defined(item: ast.stmt, class_name: str, where: str) -> str:
    """Give the name that a line of a class defines."""
    if isinstance(item, ast.FunctionDef):
        return item.name
    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
        return item.target.id
    if isinstance(item, ast.Assign) and len(item.targets) == 1:
        (target,) = item.targets
        if isinstance(target, ast.Name) and target.id in _LISTS:
            return target.id
        if (
            isinstance(target, ast.Subscript)
            and ast.unparse(target.value) == "__annotations__"
            and isinstance(target.slice, ast.Constant)
        ):
            return str(target.slice.value)
    if isinstance(item, ast.Pass):
        return "pass"
    raise ValueError(f"its class {class_name} is not a network ({where})")


def _check_unique(names: list[str], where: str) -> None:
    known: set[str] = set()
    for name in names:
        if name in known:
            raise ValueError(f"its code defines {name} twice ({where})")
        known.add(name)
