"""Methods that take the fields of a dataclass as arguments, so that the arguments stand once: in the dataclass."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

Self = TypeVar("Self")
Made = TypeVar("Made")
Returned = TypeVar("Returned")
P = ParamSpec("P")


def takes(
    options: Callable[P, Made],
) -> Callable[[Callable[[Self, Made], Returned]], Callable[Concatenate[Self, P], Returned]]:
    """Decorate a method of one ``options`` object: it is called with what that object is made of.

    Types and `inspect.signature` are those of the dataclass. The method raises `TypeError` for an argument that the
    dataclass doesn't have, and names the one that was probably meant.
    """
    made = inspect.signature(options)
    names = list(made.parameters)

    def decorate(method: Callable[[Self, Made], Returned]) -> Callable[Concatenate[Self, P], Returned]:
        @functools.wraps(method)
        def called(self: Self, *args: P.args, **kwargs: P.kwargs) -> Returned:
            for name in kwargs:
                if name not in made.parameters:
                    raise TypeError(_unknown(method.__name__, name, names))
            return method(self, options(*args, **kwargs))

        own = inspect.signature(method)
        first = next(iter(own.parameters.values()))
        shown: Any = _awaiting(called) if inspect.iscoroutinefunction(method) else called
        shown.__signature__ = own.replace(parameters=[first, *made.parameters.values()])
        typed: Callable[Concatenate[Self, P], Returned] = shown
        return typed

    return decorate


def _awaiting(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same as a coroutine function, which frameworks recognise by `inspect.iscoroutinefunction`."""

    @functools.wraps(call)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        return await call(*args, **kwargs)

    return awaited


def _unknown(method: str, name: str, names: list[str]) -> str:
    alike = difflib.get_close_matches(name, names, 1)
    meant = f"did you mean {alike[0]!r}?" if alike else f"it takes {', '.join(names)}"
    return f"{method}() has no argument {name!r}; {meant}"
