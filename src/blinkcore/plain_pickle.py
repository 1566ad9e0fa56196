"""Read a pickle as plain data, without running any of it.

Python's `pickle` calls what the file names. Here nothing is called: what a pickle would
construct becomes a record of its name and arguments, for the caller to check and to build.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any, NamedTuple

_MAX_OPCODES = 5_000_000
_MAX_DEPTH = 100  # of containers in containers


class Global(NamedTuple):
    """Name of a function or class that the pickle refers to."""

    module: str
    name: str


class Persistent(NamedTuple):
    """Reference to something outside the pickle, such as the storage of a tensor."""

    key: Any


@dataclass
class Call:
    """Object that the pickle would construct: function, arguments, and its state."""

    function: Any
    arguments: Any
    state: Any = None


@dataclass
class _Unbuilt:
    """Object of a model before its state is set; nothing but its state may reach it."""

    function: Any
    arguments: Any


class Parsed(NamedTuple):
    """What a pickle gives, and all that it would construct on the way, used or not."""

    result: Any
    made: list[Any]  # of `Global`, `Call` and `Persistent`


class _Mark:
    """Beginning of a sequence on the stack."""


_VALUES = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
    ]
)
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUTS = frozenset(["PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"])
_GETS = frozenset(["GET", "BINGET", "LONG_BINGET"])


def parse(content: bytes) -> Any:
    """Read a pickle.

    Parameters
    ----------
    content : bytes
        One pickle, of any protocol up to 5, without out-of-band buffers.

    Returns
    -------
    object
        Of str, bytes, int, float, bool, None, list, tuple, dict, `Global`, `Call` and
        `Persistent`.

    Raises
    ------
    ValueError
        If it is damaged, uses an opcode that no array or tensor needs, or is nested more
        than 100 deep.
    """
    return _run(_Machine(), content)


def parse_model(content: bytes) -> Parsed:
    """Read a pickle of TorchScript, as PyTorch's own reader would understand it.

    That reader has an object only from its state on, and builds what the pickle drops later.
    So an object's state is set once, directly after it is made, and no key is set twice.

    Parameters
    ----------
    content : bytes
        See `parse`.

    Raises
    ------
    ValueError
        See `parse`; or if it sets a state or a key twice.
    """
    machine = _ModelMachine()
    result = _run(machine, content)
    if isinstance(result, _Unbuilt):
        raise ValueError("its pickle is damaged: an object without a state")  # noqa: TRY004
    return Parsed(result, machine.made)


def _run(machine: _Machine, content: bytes) -> Any:
    try:
        for number, (opcode, value, _) in enumerate(pickletools.genops(content)):
            if number > _MAX_OPCODES:
                raise ValueError("its pickle is too long")
            # PyTorch makes its memo as long as the largest index.
            if opcode.name in _PUTS and value is not None and int(value) > number:
                raise ValueError(f"memo index {value}")
            machine.step(opcode.name, value)
        (result,) = machine.stack
    except (IndexError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"its pickle is damaged or unusual: {error}") from error
    _check_depth(result)
    return result


class _Machine:
    """Stack and memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, value: Any) -> None:
        if name in _VALUES:
            self.stack.append(value)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            self.memo[len(self.memo) if value is None else int(value)] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[int(value)])
        elif name == "GLOBAL":
            self._make(Global(*value.split(" ", 1)))
        elif name not in ("PROTO", "FRAME", "STOP"):
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                raise ValueError(f"opcode {name}")
            method()

    def _make(self, value: Any) -> None:
        self.stack.append(value)

    def _pop(self, n: int) -> list[Any]:
        if len(self.stack) < n:
            raise ValueError("an empty stack")
        values = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        if any(isinstance(v, _Mark) for v in values):
            raise ValueError("a mark among the values")
        return values

    def _since_mark(self) -> list[Any]:
        n = 0
        while not isinstance(self.stack[-1 - n], _Mark):
            n += 1
        values = self._pop(n)
        self.stack.pop()
        return values

    def _mark(self) -> None:
        self.stack.append(_Mark())

    def _stack_global(self) -> None:
        module, name = self._pop(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a class without a name")
        self._make(Global(module, name))

    def _binpersid(self) -> None:
        self._make(Persistent(*self._pop(1)))

    def _empty_tuple(self) -> None:
        self.stack.append(())

    def _tuple1(self) -> None:
        self.stack.append(tuple(self._pop(1)))

    def _tuple2(self) -> None:
        self.stack.append(tuple(self._pop(2)))

    def _tuple3(self) -> None:
        self.stack.append(tuple(self._pop(3)))

    def _tuple(self) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _empty_list(self) -> None:
        self.stack.append([])

    def _list(self) -> None:
        self.stack.append(self._since_mark())

    def _append(self) -> None:
        (value,) = self._pop(1)
        self.stack[-1].append(value)

    def _appends(self) -> None:
        values = self._since_mark()
        self.stack[-1].extend(values)

    def _empty_dict(self) -> None:
        self.stack.append({})

    def _setitem(self) -> None:
        key, value = self._pop(2)
        self._set([key, value])

    def _setitems(self) -> None:
        self._set(self._since_mark())

    def _set(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Call):  # an ordered dictionary
            target.state = target.state or {}
            target = target.state
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # The hash of tuples within tuples, or of forged numbers, may take for ever.
            if not (
                isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 31)
            ):
                raise TypeError("a key that is neither a name nor a small number")
            target[key] = value

    def _reduce(self) -> None:
        self._make(Call(*self._pop(2)))

    def _newobj(self) -> None:
        self._reduce()

    def _build(self) -> None:
        (state,) = self._pop(1)
        if not isinstance(self.stack[-1], Call):
            raise TypeError("a state without an object")
        self.stack[-1].state = state


class _ModelMachine(_Machine):
    """Stack and memo as PyTorch's reader of TorchScript has them."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Any] = []

    def step(self, name: str, value: Any) -> None:
        if name in _PUTS and isinstance(self.stack[-1], _Unbuilt):
            raise ValueError("an object is named before its state is set")
        super().step(name, value)

    def _make(self, value: Any) -> None:
        self.made.append(value)
        super()._make(value)

    def _pop(self, n: int) -> list[Any]:
        values = super()._pop(n)
        if any(isinstance(value, _Unbuilt) for value in values):
            raise TypeError("an object without a state")
        return values

    def _set(self, pairs: list[Any]) -> None:
        target, keys = self.stack[-1], pairs[::2]
        before = len(target) if isinstance(target, dict) else -1
        super()._set(pairs)
        if before < 0 or len(target) != before + len(keys):
            raise ValueError("a key is set twice")

    def _newobj(self) -> None:
        self.stack.append(_Unbuilt(*self._pop(2)))

    def _build(self) -> None:
        (state,) = self._pop(1)
        made = self.stack.pop()
        if not (isinstance(made, _Unbuilt) and isinstance(state, dict)):
            raise TypeError("a state without an object")
        # PyTorch takes the values now: what the dictionary gets later is not among them.
        self._make(Call(made.function, made.arguments, dict(state)))


def _check_depth(value: Any) -> None:
    """Raise ValueError if a value is nested too deep or contains itself."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        # By identity: what is shared counts once, however often it is referred to.
        inner = {id(part): part for outer in level for part in parts_of(outer)}
        level = list(inner.values())
        if not level:
            return
    raise ValueError(f"its pickle is nested more than {_MAX_DEPTH} deep")


def parts_of(value: Any) -> list[Any]:
    """List what a container, or an object that would be constructed, is made of."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, Call):
        return [value.function, value.arguments, value.state]
    return []
