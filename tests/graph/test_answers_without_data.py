"""A metric of answers needs ``evaluate: data`` only if the technique that makes them takes a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.errors import CompressfileError
from compressbuild.graph import Graph, build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

TEXT = """
version: 1
models: {chat: {llm: chat}}
evaluate: {metrics: [METRIC]}
targets:
  ids: {from: chat, steps: [tokenize.text: {text: [a.txt]}], evaluate: false}
  whole: {from: chat}
"""


def graph(metric: str) -> Graph:
    known = discover(cache=None)
    spec = loads(TEXT.replace("METRIC", metric), Path("Compressfile"), sources=known.sources_of)
    return build_graph(spec, known, Facts.fixed({}))


def test_ids_are_all_that_it_takes() -> None:
    made = graph("lm-perplexity: {tokens: ids, source: chat}")
    (plan,) = made.targets["whole"].metrics
    assert plan.node is not None
    answers = made.nodes[made.nodes[plan.node].inputs["subject"]]
    roles = {role: made.nodes[index].kind for role, index in answers.inputs.items()}
    assert roles == {"subject": "hf-model", "tokens": "token-ids", "source": "hf-model"}
    assert answers.run_with.keys() == {"subject", "source"}
    assert answers.datasets == ()


def test_one_pass_serves_all_with_equal_parameters() -> None:
    made = graph(", ".join(f"{name}: {{tokens: ids, source: chat}}" for name in ("lm-perplexity", "lm-kl")))
    subjects = {made.nodes[plan.node].inputs["subject"] for plan in made.targets["whole"].metrics if plan.node}
    assert len(subjects) == 1


def test_what_takes_a_dataset_still_asks_for_one() -> None:
    with pytest.raises(CompressfileError, match="metric 'top1' needs data to be measured on"):
        graph("top1")


@pytest.mark.parametrize("name", ["lm-greedy-agreement", "lm-decode"])
def test_a_metric_that_runs_the_artifact_gets_what_it_names(name: str) -> None:
    both = name == "lm-greedy-agreement"
    made = graph(f"{name}: {{tokens: ids{', source: chat' if both else ''}}}")
    (plan,) = made.targets["whole"].metrics
    assert plan.node is not None
    node = made.nodes[plan.node]
    roles = {role: made.nodes[index].kind for role, index in node.inputs.items()}
    assert roles == {"subject": "hf-model", "tokens": "token-ids", **({"source": "hf-model"} if both else {})}
    assert node.references == {"ids": "tokens", **({"chat": "source"} if both else {})}
    assert node.run_with.keys() == roles.keys() - {"tokens"}
    with pytest.raises(CompressfileError, match=r"'tokens'.*'idz'"):
        graph(f"{name}: {{tokens: idz{', source: chat' if both else ''}}}")


def test_tokens_that_nobody_declares() -> None:
    with pytest.raises(CompressfileError, match=r"'tokens'.*'idz'"):
        graph("lm-perplexity: {tokens: idz}")
