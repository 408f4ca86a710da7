"""Curves of a run of training thoughts, drawn from its log."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from isoflop.errors import StoreError
from isoflop.report.curves import draw_curves, running_mean


def test_what_was_logged_is_drawn_and_what_was_not_measured_is_left_out(tmp_path):
    from isoflop.cli.main import app

    common = {"weight": None, "thought_nats": 4.0, "gradient_norm_head": 0.5, "tokens_per_second": 1.0}
    lines = [{"step": n, "nats_without": 2.0, "nats_with": 2.0 / n, "reward": n, **common} for n in range(1, 6)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = CliRunner().invoke(app, ["quietstar", "curves", str(tmp_path)])

    assert told.exit_code == 0, told.output
    drawing = (tmp_path / "curves.svg").read_text()
    assert "Nats saved by a thought" in drawing
    assert "Gradient norms" in drawing
    assert "Mixing weight" not in drawing
    assert "Gate" not in drawing
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    before = (tmp_path / "curves.svg").read_bytes()
    draw_curves(tmp_path)
    assert (tmp_path / "curves.svg").read_bytes() == before  # drawn anew it is the same file


def test_a_running_mean_is_over_what_is_there():
    np.testing.assert_allclose(running_mean([1, 3, np.nan, 5], 2), [1, 2, 3, 5])
    assert np.isnan(running_mean([np.nan], 3)[0])


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"has no log.jsonl; give the folder \(--out\)"):
        draw_curves(tmp_path)
    (tmp_path / "log.jsonl").touch()
    with pytest.raises(StoreError, match="holds no step yet"):
        draw_curves(tmp_path)
