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
    module = where.removesuffix(".py").replace("/", ".")
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            _check_class(node, where)
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    _check_parameters(method, f"{module}.{node.name}", where)
        elif isinstance(node, ast.FunctionDef):
            _check_parameters(node, "", where)
        else:
            raise ValueError(  # noqa: TRY004
                f"its code has more than networks in it ({where})"
            )
    names = [
        n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))
    ]
    _check_unique(names, where)


def _check_parameters(function: ast.FunctionDef, class_name: str, where: str) -> None:
    """Refuse parameters whose type PyTorch would not take from the code.

    It takes the first one of a method for the network, and one without a type for a tensor.
    """
    known = function.args
    given = [
        (one.arg, ast.unparse(one.annotation) if one.annotation else "")
        for one in known.args
    ]
    others = given[1:] if class_name else given
    is_right = not (
        known.posonlyargs or known.kwonlyargs or known.vararg or known.kwarg
    )
    is_right &= not class_name or [type_ for _, type_ in given[:1]] == [class_name]
    if not is_right or any(name == "self" or not type_ for name, type_ in others):
        raise ValueError(f"its {function.name} has odd parameters ({where})")


def _check_class(node: ast.ClassDef, where: str) -> None:
    bases = [ast.unparse(base) for base in (*node.bases, *node.keywords)]
    if bases != ["Module"] or node.decorator_list:
        raise ValueError(f"its class {node.name} is not a network ({where})")
    _check_unique([_defined(item, node.name, where) for item in node.body], where)


def _defined(item: ast.stmt, class_name: str, where: str) -> str:
    """Return the name that a line of a class defines."""
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
