"""Check that the objects of a model's pickle are what the classes of its code declare.

PyTorch does not check it where an object lies in a list, and would then take the memory
behind the object for its attributes.
"""

from __future__ import annotations

import ast
from typing import Any

from blinkcore.model_files.script_work import Work
from blinkcore.plain_pickle import Call, Global

# What a pickle of PyTorch makes a tensor with, and a parameter of one.
TENSOR = ("torch._utils", "_rebuild_tensor_v2")
PARAMETER = ("torch._utils", "_rebuild_parameter")
TENSORS = (TENSOR, PARAMETER)
# Lists that the pickle names by their type.
_LISTS = {
    "build_intlist": "List[int]",
    "build_doublelist": "List[float]",
    "build_boollist": "List[bool]",
    "build_tensorlist": "List[Tensor]",
}
_PLAIN = {"int": int, "float": float, "bool": bool, "str": str, "NoneType": type(None)}


def check_types(trees: dict[str, ast.Module], data: Any, constants: Any) -> None:
    """Refuse objects and values that are not of their declared type.

    Parameters
    ----------
    trees : dict of Module
        Code by the name of its module.
    data, constants : object
        What `blinkcore.plain_pickle.parse_model` made of the two pickles of the file.

    Raises
    ------
    ValueError
        If an object is of another class than its owner's code declares or lies in a list,
        lacks an attribute or has one more, or a value is of another type.
    """
    types = _Types(trees)
    if not (isinstance(data, Call) and isinstance(data.function, Global)):
        raise ValueError("it holds no network")  # noqa: TRY004 (of a file)
    types.check(data, f"{data.function.module}.{data.function.name}", "the network")
    if not isinstance(constants, tuple):
        raise ValueError("its constants are no tensors")  # noqa: TRY004
    for value in constants:
        types.check(value, "Tensor", "a constant")


class _Types:
    """Attributes of all classes of a file, with their types."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self._seen: set[tuple[int, str]] = set()
        self._lists: dict[int, str] = {}  # the type of each list and dictionary
        classes = Work(trees).classes
        # PyTorch gives attributes of this name another type than the code does.
        if any("_packed_params" in own.parts for own in classes.values()):
            raise ValueError("it is quantized, which blinkcore does not read")
        self._classes = {
            class_name: {
                name: type_
                for name, type_ in own.parts.items()
                if not type_.startswith("Final[")  # stands in the code alone
            }
            for class_name, own in classes.items()
        }

    def check(self, value: Any, type_: str, name: str) -> None:
        """Check a value against the text of its type; objects are followed."""
        if (id(value), type_) in self._seen:  # shared objects count once
            return
        self._seen.add((id(value), type_))
        if type_ in self._classes:
            self._check_object(value, type_, name)
        elif not self._fits(value, _parsed(type_)):
            raise ValueError(f"{name} is not of the type {type_}, which its code says")

    def _check_object(self, value: Any, class_name: str, name: str) -> None:
        own = self._classes[class_name]
        if not (
            isinstance(value, Call)
            and isinstance(value.function, Global)
            and f"{value.function.module}.{value.function.name}" == class_name
            and value.arguments == ()
            and isinstance(value.state, dict)
        ):
            raise ValueError(f"{name} is not of the class {class_name}")
        if value.state.keys() != own.keys():
            different = sorted(map(str, value.state.keys() ^ own.keys()))
            raise ValueError(
                f"{name} is of the class {class_name}, but for {different[0]}"
            )
        for part, type_ in own.items():
            self.check(value.state[part], type_, f"{part} of {class_name}")

    def _fits(self, value: Any, type_: ast.expr) -> bool:
        """Return whether a value other than an object is of a type."""
        if isinstance(type_, ast.Name):
            if type_.id == "Tensor":
                return isinstance(value, Call) and value.function in TENSORS
            return type_.id in _PLAIN and type(value) is _PLAIN[type_.id]
        if not isinstance(type_, ast.Subscript):
            return False
        inner = type_.slice
        kinds = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        kind = ast.unparse(type_.value)
        if kind == "Optional":
            is_none = value is None and not _has_class(inner)
            return is_none or self._fits(value, inner)
        if kind == "Tuple":
            return (
                isinstance(value, tuple)
                and len(value) == len(kinds)
                and all(map(self._fits, value, kinds))
            )
        text = ast.unparse(type_)
        plain = _untagged(value, text)
        if plain is None or _has_class(inner):
            return False
        # One list with two types would let a value of the one be taken for the other.
        # Shared ones are looked at once.
        if id(plain) in self._lists:
            return self._lists[id(plain)] == text
        self._lists[id(plain)] = text
        if kind == "List":
            is_list = isinstance(plain, list)
            return is_list and all(self._fits(one, inner) for one in plain)
        return (
            kind == "Dict"
            and isinstance(plain, dict)
            and len(kinds) == 2
            and all(self._fits(key, kinds[0]) for key in plain)
            and all(self._fits(one, kinds[1]) for one in plain.values())
        )


def _has_class(type_: ast.expr) -> bool:
    """Return whether a type names a class of the file, of which PyTorch checks no element."""
    return any(isinstance(node, ast.Attribute) for node in ast.walk(type_))


def _untagged(value: Any, type_: str) -> Any:
    """Return the list or dictionary that a pickle says the type of; None if another one."""
    if not isinstance(value, Call):
        return value
    function, arguments = value.function, value.arguments
    if not (isinstance(function, Global) and isinstance(arguments, tuple)):
        return None
    if function.module != "torch.jit._pickle":
        return None
    if function.name == "restore_type_tag" and len(arguments) == 2:
        stated = arguments[1]
        is_right = isinstance(stated, str) and ast.unparse(_parsed(stated)) == type_
        return arguments[0] if is_right else None
    if _LISTS.get(function.name) == type_ and len(arguments) == 1:
        return arguments[0]
    return None


def _parsed(type_: str) -> ast.expr:
    try:
        return ast.parse(type_, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("a type in its pickles is damaged") from error
