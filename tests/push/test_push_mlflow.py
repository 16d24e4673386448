"""``cbuild push`` to an MLflow registry: a real server on loopback, and a store in the file system."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Work
from servers import free_port, served

from compressbuild.build.verification import verify

mlflow = pytest.importorskip("mlflow")
PROGRAM = shutil.which("mlflow")

PUSH = ("push", "first", "mlflow://net")
ENTRY = '{to: "out/models", targets: ["*"]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("needs the mlflow server (pip install mlflow)")
    port, place = free_port(), tmp_path_factory.mktemp("mlflow")
    command = [
        PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", str(place / "artifacts"),
    ]  # fmt: skip
    with served(command, port, place, seconds=120):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client makes a database in the current directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry in files, which takes no server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file://{tmp_path}/mlruns"


def fetched(url: str, version: str, place: Path) -> Path:
    found = mlflow.MlflowClient(url, url).get_model_version("net", version)
    mlflow.artifacts.download_artifacts(
        run_id=found.run_id, artifact_path="model", dst_path=str(place), tracking_uri=url
    )
    return place / "model"


def life(toys: Work, url: str, tmp_path: Path) -> None:
    """Pushed, pushed again, replaced, and named by an alias."""
    env = {"MLFLOW_TRACKING_URI": url}
    assert toys(*PUSH, **env).out.startswith("first: pushed to models:/net/1 (3 of 3 files")
    assert not verify(fetched(url, "1", tmp_path / "1"), "first").mismatches
    assert "nothing uploaded" in toys(*PUSH, **env).out
    toys("first", "--set", "vars.salt=2")
    assert "models:/net/2 (3 of 3 files" in toys(*PUSH, "--set", "vars.salt=2", **env).out
    place = fetched(url, "2", tmp_path / "2")
    assert not verify(place, "first").mismatches
    assert (place / "value").read_bytes() == (toys.root / "build/first/value").read_bytes()
    toys.edit("Compressfile", ENTRY, "{to: 'mlflow://net', targets: [first], alias: champion}")
    assert "models:/net/2 (0 of 3 files" in toys("push", "--set", "vars.salt=2", **env).out
    client = mlflow.MlflowClient(url, url)
    champion = client.get_model_version_by_alias("net", "champion")
    assert (str(champion.version), champion.tags["compressbuild.target"]) == ("2", "first")
    assert champion.tags["compressbuild.artifact"] in champion.description
    assert client.get_run(champion.run_id).data.metrics == {"length": 1.0}


@pytest.mark.slow
def test_a_server(toys: Work, server: str, tmp_path: Path) -> None:
    life(toys, server, tmp_path)


@pytest.mark.slow
def test_a_server_that_wants_a_password_does_not_see_it_printed(toys: Work, server: str) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    env = {"MLFLOW_TRACKING_URI": gone, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    env["MLFLOW_TRACKING_TOKEN"] = "canary-mlflow"
    ran = toys(*PUSH, code=1, **env)
    assert ran.err.startswith("error: mlflow://net: MlflowException: ")
    assert "canary" not in ran.text


def test_a_store_in_the_file_system(toys: Work, store: str, tmp_path: Path) -> None:
    life(toys, store, tmp_path)


def test_what_comes_back_changed_gets_no_version(
    toys: Work, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = mlflow.MlflowClient.log_artifact

    def damaging(self, run: str, path: str, folder: str) -> None:
        copy = tmp_path / "damaged" / Path(path).name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(Path(path).read_bytes()[:-1] + b"x")
        plain(self, run, str(copy), folder)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifact", damaging)
        assert "came back with other bytes" in toys(*PUSH, code=1, MLFLOW_TRACKING_URI=store).err
    assert mlflow.MlflowClient(store, store).search_model_versions("name='net'") == []
    toys(*PUSH, MLFLOW_TRACKING_URI=store)


def test_no_address_of_a_server(toys: Work) -> None:
    assert "$MLFLOW_TRACKING_URI is not set" in toys(*PUSH, code=1, MLFLOW_TRACKING_URI="").err
