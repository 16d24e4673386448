"""A contract for each technique, metric and kind of the bad plugin; all but the good ones must fail."""

from cbuild_bad.manifest import BACKENDS, CENSUSES, METRICS, RUNNERS, TECHNIQUES

from compressbuild.api.conformance import BackendContract, KindContract, MetricContract, TechniqueContract


def made(place, text="value 123\n"):
    place.mkdir(parents=True, exist_ok=True)
    (place / "value.txt").write_text(text)
    return place


class OfTechnique(TechniqueContract):
    others = {"factor": 0.75}

    def subject(self, place):
        return made(place)

    def unfit(self, place):
        yield made(place, "value unfit\n")


class OfBackend(BackendContract):
    others = {"factor": 0.75}
    unfit_params = ({"factor": 0.9},)

    def subject(self, place):
        return made(place)


class OfMetric(MetricContract):
    def subject(self, place):
        return made(place)

    def unfit(self, place):
        yield made(place, "value unfit\n")


class OfKind(KindContract):
    def subject(self, place):
        return made(place)


def contract(base, attribute, name):
    return type(f"Test_{name}", (base,), {attribute: name})


for word in TECHNIQUES.split():
    name = f"bad.{word.replace('_', '-')}"
    globals()[f"Test_{word}"] = contract(OfTechnique, "technique", name)
for word in ("manifest", "silent", "lost"):
    globals()[f"Test_heavy_{word}"] = contract(OfTechnique, "technique", f"heavy.{word}")
for word in METRICS.split():
    globals()[f"Test_{word}"] = contract(OfMetric, "metric", f"bad.{word.replace('_', '-')}")
for word in BACKENDS.split():
    globals()[f"Test_{word}"] = contract(OfBackend, "backend", f"bad.{word.replace('_', '-')}")
for word in (*RUNNERS.split(), *CENSUSES.split(), "blind", "mute", "renamed"):
    globals()[f"Test_{word}"] = contract(OfKind, "kind", f"bad-{word.replace('_', '-')}")
Test_good.unfit_params = ({"factor": 0.9},)  # noqa: F821  made above
Test_moving.others = {"factor": -1}  # noqa: F821  made above
Test_moving.unbounded = ("factor",)  # noqa: F821
