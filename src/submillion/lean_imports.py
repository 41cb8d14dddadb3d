"""Spares a process of the command line the parts of torch and transformers that it does not use."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

COMPILER, SHARDING = "torch._dynamo", "torch.distributed.tensor"
"""torch's compiler, which transformers imports for a few decorators, and its tensors that are distributed over
machines. Each loads hundreds of modules, among them sympy."""
LATE = (COMPILER, SHARDING)
MARKS = ("allow_in_graph", "assume_constant_result")
"""Decorators of the compiler that only take note of a function."""
GRAPH_BREAK = "graph_break"
"""Its function that does nothing outside compiled code; torch's optimizers call it in every step."""
DISABLE = "disable"
"""Its decorator for a function that is not to be compiled."""
ALONE = f"{COMPILER}._trace_wrapped_higher_order_op"
"""The module of it that transformers imports, and that needs nothing else of it."""

Function = Callable[..., Any]


def _no(_: Function) -> Function:
    return lambda: False


def _remembering(scan: Any) -> Function:
    """Return a function that forgets none of its results, for one whose cache holds fewer than it needs."""
    return functools.cache(scan.__wrapped__)


SWITCHED: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "transformers.utils.import_utils": {
        "is_torch_distributed_available": _no,
        "is_scipy_available": _no,
        "create_import_structure_from_path": _remembering,
    },
    "peft.tuners.tuners_utils": {"_torch_supports_distributed": lambda _: False},
}
"""What makes a value of a module another one, by name. Without it, transformers loads all of SHARDING, and
scipy.optimize for the losses of object detection, and scans the files of all its models twice; and peft looks for the
tensors of SHARDING."""

TESTED = "5.23."
"""Beginning of the versions of transformers that SWITCHED was tested with; other ones load what they ask for."""


@contextmanager
def lean_imports() -> Iterator[None]:
    """Let libraries that are imported in the block load less.

    COMPILER and SHARDING become modules that are executed when anything of them is used; then they are the modules that
    they always are. transformers and peft take torch for a build without SHARDING until the process ends. For processes
    of the command line only: a library does not change what its caller's process imports.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in LATE:
            package = sys.modules.get(name)
            if isinstance(package, _LatePackage):
                # Whoever imports a module of it asks for its path, and gets it from __getattr__.
                vars(package).pop("__path__", None)


class _Finder(MetaPathFinder):
    """Finds the modules of which less is loaded, and leaves the others to the finders after it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in (*LATE, *SWITCHED):
            spec = PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = (_SwitchingLoader if fullname in SWITCHED else _LateLoader)(spec.loader)
            return spec
        for name in LATE:
            package = sys.modules.get(name)
            if fullname.startswith(f"{name}.") and fullname != ALONE and isinstance(package, _LatePackage):
                package.execute()
        return None


class _LateLoader(Loader):
    """Makes a package that another loader executes later."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        package = _LatePackage(spec.name)
        # The import system looks for it before it sets it.
        package.__path__ = spec.submodule_search_locations or []
        return package

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is; see `_LatePackage.execute`."""


class _LatePackage(ModuleType):
    """A package that is executed when it is asked for anything but what of COMPILER needs no compiler."""

    _marked: list[tuple[str, Function]]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if self.__name__ == COMPILER:
            if name in MARKS:
                return functools.partial(self._mark, name)
            if name == DISABLE:
                return self._disable
            if name == GRAPH_BREAK:
                return _do_nothing
        self.execute()
        return getattr(self, name)

    def execute(self) -> None:
        """Make it the package that its loader makes, with the functions that were marked before."""
        marked = self.__dict__.pop("_marked", [])
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec, late = cast("ModuleSpec", self.__spec__), cast("_LateLoader", self.__loader__)
        self.__loader__ = spec.loader = late.loader
        self.__path__ = spec.submodule_search_locations or []
        late.loader.exec_module(self)
        for name, function in marked:
            getattr(self, name)(function)

    def _mark(self, name: str, function: Function) -> Function:
        self.__dict__.setdefault("_marked", []).append((name, function))
        return function

    def _disable(self, fn: Function | None = None, recursive: bool = True, **options: Any) -> Any:
        if fn is None:
            return functools.partial(self._disable, recursive=recursive, **options)
        function, package = fn, self

        @functools.wraps(function)
        def disabled(*arguments: Any, **named: Any) -> Any:
            if isinstance(package, _LatePackage):  # nothing has been compiled
                return function(*arguments, **named)
            return package.disable(function, recursive, **options)(*arguments, **named)

        return disabled


def _do_nothing(msg: str = "") -> None:
    """Stand for GRAPH_BREAK."""


class _SwitchingLoader(Loader):
    """Loads a module by another loader, and then gives it the values of SWITCHED."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        # Loads the email package, which `--help` and `plan` do not need.
        from importlib import metadata  # noqa: PLC0415

        if not metadata.version("transformers").startswith(TESTED):
            return
        for name, other in SWITCHED[module.__name__].items():
            if hasattr(module, name):
                setattr(module, name, other(getattr(module, name)))
        if "torch.distributed" in sys.modules:
            # transformers would have made it an attribute of torch.distributed, where other libraries expect it.
            import_module(SHARDING)
