"""An MLflow model registry. The files go to a run of their own, and are read back; then a model version names them.

Versions stay: a push adds one. A version of somebody else says nothing of what is pushed here.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO

from compressbuild.api import Content, Parcel, UserError

from .params import Mlflow

_ADDRESS = re.compile(r"mlflow://(?P<name>[\w. -]+)")
_TRACKING, _EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
_QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
_FOLDER = "model"
_MARK, _SEAL = "compressbuild.artifact", "provenance.json"


def open_place(address: str, options: Mlflow) -> Model:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError("it is no registered model's address", hint=f"write mlflow://name; ${_TRACKING} says where")
    if not os.environ.get(_TRACKING):
        raise UserError(
            f"${_TRACKING} is not set", hint=f"set it to your server: {_TRACKING}=https://mlflow.example.org"
        )
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    client = MlflowClient(os.environ[_TRACKING], os.environ.get("MLFLOW_REGISTRY_URI"))
    return Model(address, client, found["name"], options)


class Artifacts:
    """The files of a run."""

    def __init__(self, client: Any, run: str) -> None:
        self.run = run
        self._client = client

    def names(self) -> Collection[str]:
        found, pending = set(), [_FOLDER]
        while pending:
            for each in self._client.list_artifacts(self.run, pending.pop()):
                if each.is_dir:
                    pending.append(each.path)
                else:
                    found.add(each.path.removeprefix(f"{_FOLDER}/"))
        return found

    def open(self, name: str) -> BinaryIO:
        with tempfile.TemporaryDirectory(prefix="cbuild-push-") as scratch:
            path = self._client.download_artifacts(self.run, f"{_FOLDER}/{name}", scratch)
            # Of a store in the file system it is the stored file itself.
            return open(path, "rb")


class Model:
    def __init__(self, address: str, client: Any, name: str, options: Mlflow) -> None:
        self.address = address
        self._client = client
        self._name = name
        self._options = options
        self._version: Any = None  # the newest that a push made
        self._known = False  # whether the model is registered

    def current(self) -> Content | None:
        from mlflow.exceptions import MlflowException

        self._version, self._known = None, True
        try:
            self._client.get_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._known = False
            return None
        found = self._client.search_model_versions(f"name='{self._name}'")
        ours = [each for each in found if _MARK in each.tags and each.status == "READY"]
        if not ours:
            return None
        self._version = max(ours, key=lambda each: int(each.version))
        content = Artifacts(self._client, self._version.run_id)
        return content if _SEAL in content.names() else None

    def described(self, parcel: Parcel) -> bool:
        found = self._version
        return found is not None and found.description == parcel.card and self._has_alias(found.version)

    def publish(self, parcel: Parcel, keep: frozenset[str], check: Callable[[Content], None]) -> str:
        if self._version is not None and keep == {file.name for file in parcel.files}:
            check(Artifacts(self._client, self._version.run_id))
            self._client.update_model_version(self._name, self._version.version, description=parcel.card)
            return self._named(self._version.version)
        experiment = self._experiment()
        tags = {"mlflow.runName": parcel.target, **self._tags(parcel)}
        run = self._client.create_run(experiment, tags=tags).info
        status = "FAILED"
        try:
            self._upload(run.run_id, parcel)
            check(Artifacts(self._client, run.run_id))
            status = "FINISHED"
        finally:
            self._client.set_terminated(run.run_id, status)
        if not self._known:
            self._client.create_registered_model(self._name)
        made = self._client.create_model_version(
            self._name,
            source=f"{run.artifact_uri}/{_FOLDER}",
            run_id=run.run_id,
            tags=self._tags(parcel),
            description=parcel.card,
        )
        return self._named(made.version)

    def tidy(self) -> None:
        """A failed run stays, as others do; no version names it."""

    def _upload(self, run: str, parcel: Parcel) -> None:
        for file in parcel.files:
            self._client.log_artifact(run, str(file.path), str(Path(_FOLDER, file.name).parent))
        for name, value in parcel.metrics.items():
            self._client.log_metric(run, name, value)

    def _named(self, version: Any) -> str:
        if self._options.alias is not None and not self._has_alias(version):
            self._client.set_registered_model_alias(self._name, self._options.alias, version)
        return f"models:/{self._name}/{version}"

    def _has_alias(self, version: Any) -> bool:
        from mlflow.exceptions import MlflowException

        if self._options.alias is None:
            return True
        try:
            there = self._client.get_model_version_by_alias(self._name, self._options.alias)
        except MlflowException:
            return False
        return str(there.version) == str(version)

    def _experiment(self) -> str:
        name = os.environ.get(_EXPERIMENT) or "compressbuild"
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found is not None else self._client.create_experiment(name))

    @staticmethod
    def _tags(parcel: Parcel) -> dict[str, str]:
        said = {"target": parcel.target, "kind": parcel.kind, **parcel.labels}
        return {_MARK: parcel.artifact, **{f"compressbuild.{name}": value for name, value in said.items()}}
