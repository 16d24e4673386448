"""What missed a gate can be looked at, and is never in ``build/``."""

from __future__ import annotations

from pathlib import Path

from toyproject import one_collapsed

from compressbuild.evaluate.evidence import Evidence


def test_it_is_kept_beside_the_project_until_its_gates_hold(tmp_path: Path) -> None:
    toy = one_collapsed(tmp_path, "{shares: {min: 0.9}}")
    report, _ = toy.build()
    (target,) = report.targets
    assert (target.status, target.reason) == (
        "gate failed",
        "shares min fail; the new artifact is in .cbuild/rejected/t",
    )
    assert not (toy.root / "build/t").exists()
    kept = toy.root / ".cbuild/rejected/t"
    assert (kept / "value").read_text() == "bad"
    evidence = Evidence.read(kept)
    assert evidence is not None
    assert [verdict.verdict for verdict in evidence.gates] == ["fail"]
    assert not (kept / "provenance.json").exists(), "nothing vouches for it"
    toy.build()
    assert sorted(path.name for path in kept.parent.iterdir()) == ["t"]
    toy.write("Compressfile", (toy.root / "Compressfile").read_text().replace("min: 0.9", "min: 0.1"))
    assert toy.build()[0].targets[0].status == "published"
    assert not kept.exists()
    assert (toy.root / "build/t/value").read_text() == "bad"


def test_checking_keeps_nothing(tmp_path: Path) -> None:
    toy = one_collapsed(tmp_path, "{shares: {min: 0.9}}")
    assert toy.build(check=True)[0].targets[0].status == "gate failed"
    assert not (toy.root / ".cbuild/rejected").exists()


def test_where_it_cannot_be_kept_the_reason_says_so(tmp_path: Path) -> None:
    toy = one_collapsed(tmp_path, "{shares: {min: 0.9}}")
    toy.write(".cbuild/rejected", "a file in its place")
    (target,) = toy.build()[0].targets
    assert target.status == "gate failed"
    assert target.reason == ("shares min fail; the new artifact cannot be kept in .cbuild/rejected/t: File exists")
