"""Sources of datasets: arrays, folders of images, and tables with numbers or text. No loader is written for them."""

from compressbuild.api import Check, Source, Stack, hookimpl

from .arrays.params import Npy, Npz
from .images.params import Images
from .tables.params import Csv, Jsonl, Parquet

_INSTALL = "pip install 'compressbuild[data]'"
_ARRAYS = Stack(modules=("numpy",), tools=("numpy",), preload=("numpy",), install=_INSTALL)
_IMAGES = _ARRAYS.also(modules=("PIL",), tools=("pillow",))
_TABLES = _ARRAYS.also(tools=("tokenizers",))
_PARQUET = _TABLES.also(modules=("pyarrow",), tools=("pyarrow",))


def _source(name, run, params, stack):
    return Source(name=name, of="dataset", run=run, params=params, stack=stack)


@hookimpl
def compressbuild_sources():
    yield _source("npz", "cbuild_data.arrays.files:npz", Npz, _ARRAYS)
    yield _source("npy", "cbuild_data.arrays.files:npy", Npy, _ARRAYS)
    yield _source("images", "cbuild_data.images.folder:images", Images, _IMAGES)
    yield _source("csv", "cbuild_data.tables.csv_files:csv_table", Csv, _TABLES)
    yield _source("jsonl", "cbuild_data.tables.jsonl_files:jsonl_table", Jsonl, _TABLES)
    yield _source("parquet", "cbuild_data.tables.parquet_files:parquet_table", Parquet, _PARQUET)


@hookimpl
def compressbuild_checks():
    yield Check(
        name="judged-on-its-own-data",
        run="cbuild_data.advice:judged_on_its_own_data",
        summary="calibrated on the rows that judge the result",
        reference="docs/howto/calibrate.md",
        priority=80,
    )
    yield Check(
        name="empty-calibration",
        run="cbuild_data.advice:empty_calibration",
        summary="calibrated on a dataset without samples",
        reference="docs/howto/calibrate.md",
        priority=95,
    )
    yield Check(
        name="few-samples",
        run="cbuild_data.advice:few_samples",
        summary="calibrated on too few samples",
        reference="docs/howto/calibrate.md; Nagel et al., A white paper on neural network quantization, 2021, "
        "arXiv:2106.08295",
        priority=70,
    )
    yield Check(
        name="samples-alike",
        run="cbuild_data.advice:samples_alike",
        summary="calibrated on samples that are all equal, or of one class",
        reference="docs/howto/calibrate.md; Nagel et al., A white paper on neural network quantization, 2021, "
        "arXiv:2106.08295",
        priority=75,
    )
