"""Exported tables, read back by the libraries that people read them with."""

import json
from pathlib import Path

import pytest

from isoflop.errors import SpecError
from isoflop.report.export import FORMATS, export
from isoflop.report.export_schema import TABLES


@pytest.fixture(scope="module")
def exported(hostile, tmp_path_factory):
    return {form: Path(export(hostile, tmp_path_factory.mktemp(form), form)[0]).parent for form in FORMATS}


def with_pandas(path):
    import pandas

    if path.suffix == ".parquet":
        frame = pandas.read_parquet(path)
    elif path.suffix == ".jsonl":
        frame = pandas.read_json(path, lines=True, dtype=False, precise_float=True)
    else:
        frame = pandas.read_csv(path, dtype={"gold": str, "answer": str, "label": str})
    return frame.to_dict("list")


def with_polars(path):
    import polars

    if path.suffix == ".parquet":
        frame = polars.read_parquet(path)
    else:
        read = polars.read_ndjson if path.suffix == ".jsonl" else polars.read_csv
        frame = read(path, infer_schema_length=None)
    return frame.to_dict(as_series=False)


def with_duckdb(path):
    import duckdb

    reader = {".parquet": "read_parquet", ".jsonl": "read_json_auto"}.get(path.suffix, "read_csv_auto")
    options = ", header=true, parallel=false, max_line_size=10000000" if path.suffix == ".csv" else ""
    result = duckdb.connect().sql(f"select * from {reader}('{path}'{options})")
    rows = result.fetchall()
    return {name: [row[place] for row in rows] for place, name in enumerate(result.columns)}


def with_datasets(path, cache):
    import datasets

    kind = {".parquet": "parquet", ".jsonl": "json"}.get(path.suffix, "csv")
    datasets.disable_progress_bars()
    found = datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(cache))
    return {name: found[name][:] for name in found.column_names}


READERS = {"pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb, "datasets": with_datasets}


@pytest.mark.filterwarnings("default")  # the readers' own
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("table", ["attempts", "nodes"])
def test_every_reader_gets_every_row_as_the_run_holds_it(exported, hostile, tmp_path, table, reader, form):
    path = exported[form] / f"{table}.{form}"
    found = READERS[reader](path, tmp_path) if reader == "datasets" else READERS[reader](path)
    assert set(found) == {field.name for field in TABLES[table]}
    records = list(hostile.attempts)
    if table == "attempts":
        assert list(found["correct"]) == [record.correct for record in records]
        assert found["charged_total_flops"] == [record.charged_total.flops for record in records]
        assert [str(seed) for seed in found["seed"]] == ["0"] * len(records)
        return
    nodes = [node for record in records for node in record.nodes]
    assert [int(tokens) for tokens in found["tokens"]] == [len(node.step.tokens) for node in nodes]
    assert sum(found["flops"]) == sum(record.charged_total.flops for record in records)
    texts = [node.step.text for node in nodes]
    if form == "csv":  # what CSV readers make of control characters and line ends is theirs
        texts, found["text"] = ([text[:5] for text in each if text.isprintable()] for each in (texts, found["text"]))
    assert list(found["text"]) == texts


def test_each_row_names_its_attempt_and_the_tables_agree(exported):
    lines = {name: (exported["jsonl"] / f"{name}.jsonl").read_text().rstrip("\n").split("\n") for name in TABLES}
    rows = {name: [json.loads(line) for line in given if line] for name, given in lines.items()}
    key = ("run", "arm", "problem", "seed")
    for attempt in rows["attempts"]:
        own = {name: [row for row in rows[name] if all(row[k] == attempt[k] for k in key)] for name in TABLES}
        assert len(own["nodes"]) == attempt["nodes"]
        assert len(own["candidates"]) == attempt["candidates"]
        [chosen] = [row for row in own["candidates"] if row["chosen"]]
        assert chosen["node"] == attempt["chosen_node"]
        assert chosen["text"] == attempt["solution"]
        assert own["nodes"][chosen["node"]]["fate"] in ("voted", "closed")


def test_every_column_is_written_down():
    said = (Path(__file__).parents[2] / "docs" / "record-format.md").read_text()
    for table, fields in TABLES.items():
        assert f"`{table}`" in said
        for field in fields:
            if not field.name.startswith(("charged_", "spent_")):
                assert f"`{field.name}`" in said, f"{table}.{field.name}"


@pytest.mark.parametrize(("form", "table", "message"), [("parket", "nodes", "parquet"), ("csv", "node", "nodes")])
def test_a_wrong_name_is_answered_with_the_right_ones(hostile, tmp_path, form, table, message):
    with pytest.raises(SpecError, match=message):
        export(hostile, tmp_path, form, [table])
