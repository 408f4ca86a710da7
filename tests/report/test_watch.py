"""The live page: who gets it, and that it follows a study that is stopped and started again."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from tests.report.browser import opened_browser, opened_page, skip_without_one

from isoflop.api import Run
from isoflop.report.live import Live
from isoflop.studies.store import exists

STUDY = """
model = "scripted(steps=3, skill=0.6, sleep_seconds=0.01)"
problems = "jsonl('{questions}')"
strategy = ["self_consistency(n=4)", "rebase(width=4)"]
reference = "self_consistency(n=4)"
prompt = "chat()"
sampling = "sampling()"
concurrency = 1
"""


@pytest.fixture
def study(tmp_path):
    """A study file of a study that takes a second or two, and the command that runs it."""
    questions = tmp_path / "q.jsonl"
    rows = [{"question": f"How much is {n} and 0?", "answer": str(n)} for n in range(24)]
    questions.write_text("\n".join(map(json.dumps, rows)))
    file = tmp_path / "study.toml"
    file.write_text(f'name = "live"\n{STUDY.format(questions=questions)}')
    return [sys.executable, "-m", "isoflop", "study", "run", str(file), "--out", str(tmp_path / "run")]


@contextmanager
def served(folder):
    """`isoflop watch` in a process of its own; its address."""
    command = [sys.executable, "-m", "isoflop", "watch", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), server.stderr.read()
        try:
            yield address
        finally:
            server.terminate()
            server.communicate()


def get(address):
    with urlopen(address) as answer:
        return answer.read().decode()


def test_only_who_knows_the_address_gets_the_page(hostile):
    with served(hostile.folder) as address:
        port = int(re.search(r":(\d+)/", address)[1])
        assert "Content-Security-Policy" in get(address)
        assert json.loads(get(f"{address}summary"))["study"]["hash"] == hostile.study.hash
        assert len(json.loads(get(f"{address}problem/0"))["attempts"]) == len(hostile.study.labels)
        refused = [f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/x/summary", f"{address}problem/99"]
        for wrong in refused:
            with pytest.raises(HTTPError, match="404"):
                get(wrong)
        with pytest.raises(HTTPError, match="400"):  # another name for this machine: DNS rebinding
            get(Request(f"{address}summary", headers={"Host": "evil.example"}))
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", address[address.index("/", 8) :])
        assert connection.getresponse().status == 405
        connection.close()


def test_it_says_where_there_is_no_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "isoflop", "watch", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "holds no run" in done.stderr


def test_a_run_is_read_again_only_where_it_has_moved(tmp_path, hostile):
    live = Live(hostile.folder)
    assert live.refresh()
    assert not live.refresh()
    assert live.version == 1
    missing = Live(tmp_path)
    assert not missing.refresh()
    assert "holds no run" in missing.trouble


def test_the_page_follows_a_study_that_is_killed_and_goes_on(study, tmp_path):
    skip_without_one()
    environment = os.environ | {"COLUMNS": "80"}
    folder = tmp_path / "run"
    first = subprocess.Popen(study, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: exists(folder) and done(folder) > 2)
        with served(folder) as address, opened_browser() as browser, opened_page(browser, address) as page:
            page.evaluate("window.kept = 'the same document'")
            before = attempts_shown(page)
            first.kill()
            first.wait()
            subprocess.run(study, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            page.locator("#sentence", has_text="of 24 problems").wait_for()  # the arms are complete
            assert before is None or before > 0
            assert page.evaluate("window.kept") == "the same document"  # it was not loaded again
            page.locator("#status", has_text="not running").wait_for()
            assert {url.split("/")[2] for url in page.asked} == {address.split("/")[2]}
    finally:
        first.kill()
        first.wait()
    assert done(folder) == 48


def attempts_shown(page):
    found = re.search(r"(\d+) of 48 attempts", page.locator("#status").inner_text())
    return None if found is None else int(found[1])


def done(folder):
    return Run.open(folder).status().done


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.1)
