"""What every test of the command line starts from."""

import json
import sys

import pytest

from isoflop.cli.main import run


@pytest.fixture
def isoflop(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder on 80 columns: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("ISOFLOP_DEBUG", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["isoflop", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"{i} + {i}?", "answer": str(2 * i)}) for i in range(6)))
    return path
