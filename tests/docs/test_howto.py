"""What the how-to pages show resolves, on the example's models, data and platforms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import EXAMPLE, ROOT, Block, blocks, with_example
from test_techniques import registry

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.machines.machines import Machines
from compressbuild.platforms import Facts

HOWTO = sorted((ROOT / "docs" / "howto").glob("*.md"))
BLOCKS = [
    block for page in HOWTO for block in blocks(page, "yaml") if re.search(r"^targets:", block.text, re.MULTILINE)
]


def as_compressfile(text: str) -> str:
    """The page's sections in place of the example's of the same name, or beside its entries. A whole file stays as it
    is."""
    if text.startswith("version:"):
        return text
    sections = re.split(r"(?m)^(?=\w+:\n)", text)
    whole = with_example(next(s for s in sections if s.startswith("targets:")))
    for section in sections:
        name, _, entries = section.partition(":\n")
        if name in ("platforms", "datasets"):
            for own in re.findall(r"^  ([\w-]+):", entries, re.MULTILINE):
                whole = re.sub(rf"(?m)^  {own}: \{{.*\n", "", whole)
            whole = re.sub(rf"(?m)^{name}:.*\n", f"{name}:\n{entries}", whole, count=1)
    return whole


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_targets_of_a_how_to_resolve(block: Block) -> None:
    plugins = registry()
    spec = loads(
        as_compressfile(block.text),
        Path("Compressfile"),
        catalogue=lambda: plugins.platforms,
        sources=plugins.sources_of,
    )
    graph = build_graph(spec, plugins, Facts.fixed({}))
    names = re.findall(r"^  ([\w-]+):", block.text.split("targets:\n")[1], re.MULTILINE)
    assert names or "${" in block.text
    assert set(names) <= graph.targets.keys()


def test_what_is_published_resolves() -> None:
    plugins = registry()
    found = [block for page in HOWTO for block in blocks(page, "yaml") if block.text.startswith("publish:")]
    assert found
    for block in found:
        spec = loads(f"{EXAMPLE}\n{block.text}", Path("Compressfile"), catalogue=lambda: plugins.platforms)
        assert set(spec.publish) == set(re.findall(r"^  ([\w-]+):", block.text, re.MULTILINE))
        build_graph(spec, plugins, Facts.fixed({}))


SHARED = [block for page in HOWTO for block in blocks(page, "yaml") if block.text.startswith("cache:")]


@pytest.mark.parametrize("block", SHARED, ids=str)
def test_a_shared_cache_resolves(block: Block) -> None:
    spec = loads(f"{EXAMPLE}\n{block.text}", Path("Compressfile"), catalogue=lambda: registry().platforms)
    assert spec.remote.url.startswith("s3://")
    assert spec.remote.trust


HOSTS = [block for page in HOWTO for block in blocks(page, "yaml") if block.text.startswith("platforms:\n  edge:")]


@pytest.mark.parametrize("block", HOSTS, ids=str)
def test_a_machine_resolves(block: Block) -> None:
    spec = loads(f"version: 1\n{block.text}", Path("Compressfile"), catalogue=lambda: registry().platforms)
    assert spec.hosts == {"user@edge"}


CLUSTERS = [block for page in HOWTO for block in blocks(page, "yaml") if re.search('host: "(slurm|ray)://', block.text)]


@pytest.mark.parametrize("block", CLUSTERS, ids=str)
def test_a_cluster_resolves(block: Block, tmp_path: Path) -> None:
    """Its options are those of the executor."""
    spec = loads(f"version: 1\n{block.text}", Path("Compressfile"), catalogue=lambda: registry().platforms)
    (address,) = spec.hosts
    assert Machines(registry(), tmp_path, "auto").problem(address) is None


def test_every_page_shows_something() -> None:
    assert {block.page for block in (*BLOCKS, *SHARED, *HOSTS, *CLUSTERS)} == set(HOWTO)
    assert "targets:" in EXAMPLE
