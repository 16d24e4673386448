"""What every record owes, and the small world in which its functions are tried."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from ...graph.typed import complete
from ...platforms import check, probe
from ..needs import Needs
from ..params import Params
from ..stack import Stack
from ..work import WorkDataset, WorkInput, WorkRequest
from . import values
from .bench import Ran, run
from .plugin import manifest_imports, plugin_of, record, registry, uncovered

__all__ = ["Contract", "Pair", "ParameterContract", "code_of", "input_of", "must_run", "require"]


_facts = cache(probe)


@dataclass(frozen=True, slots=True)
class Pair:
    """The same work in two worlds; the second process may do it twice."""

    first: Ran
    second: Ran


def require(*needs: Needs) -> None:
    """Skip the test where this host lacks something."""
    lacking = [missing for each in needs for missing in check(each, _facts())]
    if lacking:
        pytest.skip(f"needs {lacking[0].what}")


def must_run(ran: Pair) -> None:
    """Skip a check that needs a working function; another test reports the failure."""
    if not ran.first.result.ok:
        pytest.skip("its function failed")


def input_of(found: Path | WorkInput, kind: str) -> WorkInput:
    return found if isinstance(found, WorkInput) else WorkInput(path=str(found), kind=kind)


class Contract:
    """Base of the contracts. A subclass names its record and gives a small subject.

    ``params``: as a Compressfile writes them, or a Params. ``factories``: those that loading the subject may call.
    ``datasets``: name → ``module:loader``. ``references``: a name written in a parameter → its role in :meth:`inputs`.
    ``files``: what it may read beside its inputs and the project's directory. ``environment``: variables that it may
    read. ``preload``: modules that its processes find imported, where one set for many classes starts faster than each
    record's own.
    """

    what: ClassVar[str] = ""
    factories: ClassVar[tuple[str, ...]] = ()
    datasets: ClassVar[Mapping[str, str | WorkDataset]] = {}
    references: ClassVar[Mapping[str, str]] = {}
    facts: ClassVar[Mapping[str, Any]] = {}
    files: ClassVar[tuple[str, ...]] = ()
    environment: ClassVar[tuple[str, ...]] = ()
    params: ClassVar[Mapping[str, Any] | Params] = {}
    preload: ClassVar[tuple[str, ...] | None] = None
    seed: ClassVar[int] = 0
    threads: ClassVar[int] = 1

    def subject(self, place: Path) -> Path | WorkInput:
        """A small input artifact, made in the empty directory ``place``. Abstract: the plugin's test gives it."""
        raise NotImplementedError(f"{type(self).__name__} must have a method subject(self, place) -> Path")

    def inputs(self, place: Path) -> Mapping[str, WorkInput]:
        """Further inputs by role, made in the empty directory ``place``."""
        return {}

    def project(self, place: Path) -> None:
        """Write the project's files that parameters name (FileRef) into ``place``."""

    # -- the record --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The record's name: what the attribute ``technique``, ``backend``, ``metric`` or ``kind`` says."""
        found = getattr(self, self.what, "")
        assert isinstance(found, str), f"{type(self).__name__}.{self.what} must be a name"
        assert found, f"{type(self).__name__} must say its {self.what}: {self.what} = 'name'"
        return found

    @property
    def record(self) -> Any:
        return record(self.what, self.name)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the record, the main one first. A record without any is known by its manifest."""
        names = ("run", "compile", "load", "init", "validate", "profile")
        found = tuple(value for name in names if (value := getattr(self.record, name, None)))
        return found or (f"{plugin_of(self.what, self.name).module}:__name__",)

    def test_manifest_is_cheap(self) -> None:
        found = manifest_imports(plugin_of(self.what, self.name).module)
        assert not found, (
            f"the manifest imports {', '.join(found)}: every command imports all manifests. Import compressbuild.api "
            f"and the standard library there, and the rest in the functions' modules"
        )

    def test_records_are_valid(self) -> None:
        plugin = plugin_of(self.what, self.name)
        problems = [problem for problem in registry().problems if problem.plugin == plugin.name]
        assert not problems, f"plugin '{plugin.name}' {problems[0].message}. {problems[0].hint or ''}"

    def test_functions_are_there(self) -> None:
        """Each ``module:function`` exists, and its code can be followed."""
        uncovered(self.functions, ())

    # -- running -----------------------------------------------------------------------------------------------------

    @property
    def stack_needs(self) -> Needs:
        """What the stack takes. The kit calls functions in this Python, so modules of an environment count, too."""
        stack: Stack = self.record.stack
        return Needs(modules=stack.modules, install=stack.install)

    def needs(self) -> tuple[Needs, ...]:
        """What it takes to run the main function here."""
        return (self.stack_needs, self.record.needs, msgspec.convert(self.values(), self.params_type).needs())

    def request(self, place: Path, subject: WorkInput | None, params: Mapping[str, Any], **more: Any) -> WorkRequest:
        """The node, as the engine would order it."""
        project, beside = place / "project", place / "inputs"
        for directory in (project, beside):
            directory.mkdir(parents=True)
        self.project(project)
        inputs = {**({"subject": subject} if subject is not None else {}), **self.inputs(beside)}
        return WorkRequest(
            label=self.name,
            run=self.functions[0],
            params=dict(params),
            inputs=inputs,
            references=dict(self.references),
            datasets={
                name: entry if isinstance(entry, WorkDataset) else WorkDataset(loader=entry)
                for name, entry in self.datasets.items()
            },
            out="",
            scratch="",
            root=str(project),
            read_files=tuple(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()),
            factories=self.factories,
            facts=dict(self.facts),
            seed=self.seed,
            threads=self.threads,
            **more,
        )

    def run(self, place: Path, request: WorkRequest, **options: Any) -> Ran:
        """Run the record's main function, or another."""
        options.setdefault("run", self.functions[0])
        options.setdefault("owner", self.functions[0])
        return run(
            request,
            place / "run",
            preload=self.record.stack.preload if self.preload is None else self.preload,
            readable=self.files,
            environment=self.environment,
            **options,
        )

    _ran: ClassVar[Pair]

    @pytest.fixture
    def ran(self, tmp_path_factory: pytest.TempPathFactory) -> Pair:
        """Both runs, made once for all tests of the class."""
        if "_ran" not in vars(type(self)):
            require(*self.needs())
            places = [tmp_path_factory.mktemp(name) for name in ("subject", "first", "second")]
            type(self)._ran = self.run_both(places)
        return self._ran

    def run_both(self, places: list[Path]) -> Pair:
        """``places``: for the subject, and for each run. Abstract: each kind of contract runs something else."""
        raise NotImplementedError(
            f"{type(self).__name__} subclasses a contract that runs nothing: take TechniqueContract"
        )

    @property
    def given(self) -> Mapping[str, Any] | Params:
        """The example of parameters."""
        return self.params

    @property
    def params_type(self) -> type[Params]:
        found: type[Params] = getattr(self.record, "settings", None) or self.record.params
        return found

    @property
    def typed(self) -> dict[str, str]:
        """For a request: the type of its parameters."""
        kind = self.params_type
        return {"params_type": f"{kind.__module__}:{kind.__qualname__}"}

    def values(self) -> dict[str, Any]:
        try:
            return complete(self.params_type, values.written(self.given))
        except msgspec.ValidationError as error:
            raise AssertionError(f"its own example of parameters is refused: {error}") from None


class ParameterContract(Contract):
    """Of records with parameters.

    ``others``: another valid value of each parameter for which none can be guessed; ``beside``: what must stand beside
    that value. ``refuses``: parameters that must not be taken. ``unbounded``: numbers that need no range.
    """

    others: ClassVar[Mapping[str, Any]] = {}
    beside: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    refuses: ClassVar[Iterable[Mapping[str, Any]]] = ()
    unbounded: ClassVar[tuple[str, ...]] = ()

    def test_defaults_are_constant(self) -> None:
        """A default that is computed would change keys from plan to plan."""
        assert self.values() == self.values(), "a default of its parameters differs from call to call"

    def test_each_parameter_joins_the_key(self) -> None:
        now = self.values()
        for field in values.fields(self.params_type):
            name = field.encode_name
            guesses = [self.others[name]] if name in self.others else list(values.other_values(field, now[name]))
            bases: list[dict[str, Any]] = [now | dict(self.beside.get(name, {})), {}]
            tried = [self._keys(base, name, [base.get(name, now[name]), *guesses]) for base in bases]
            assert any(len(keys) > 1 for keys in tried), (
                f"no other valid value of '{name}' is known: others = {{'{name}': …}}"
            )
            # One guess may stand for the same: a record that is written out, and its defaults.
            assert any(len(set(keys)) > 1 for keys in tried), (
                f"parameter '{name}' does not join the key: two values of it give one key"
            )

    def _keys(self, base: Mapping[str, Any], name: str, given: Iterable[Any]) -> list[str]:
        """A key for each value that may stand beside the others."""
        found = []
        for value in given:
            with contextlib.suppress(msgspec.ValidationError):
                found.append(values.key(self.params_type, {**base, name: value}))
        return found

    def test_formatting_is_not_in_the_key(self) -> None:
        """Defaults left out or written, and another order, are the same parameters."""
        whole = self.values()
        turned = dict(reversed(whole.items()))
        keys = {values.key(self.params_type, each) for each in (values.written(self.given), whole, turned)}
        assert len(keys) == 1, "the same parameters, written in another order or with their defaults, give another key"

    def test_bad_parameters_are_refused(self) -> None:
        loose = [name for name in values.unbounded(self.params_type) if name not in self.unbounded]
        assert not loose, (
            f"parameter '{loose[0]}' takes any number: give it a range, Annotated[float, Meta(ge=0, le=1)], or list it "
            f"in 'unbounded'"
        )
        for bad in self.refuses:
            with pytest.raises(msgspec.ValidationError):
                complete(self.params_type, bad)
                pytest.fail(f"it takes {bad}: restrict the type of the parameter")


def code_of(contract: Contract) -> tuple[str, ...]:
    """What the key counts the code of; a type of the engine's own counts by the key's format."""
    named = (*contract.functions, contract.typed["params_type"])
    return tuple(each for each in named if not each.startswith("compressbuild."))
