"""The run file: whole attempts or nothing, one writer, readers meanwhile, and clear words when something is wrong."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from isoflop.asking import Prompt
from isoflop.core import Attempt, Origin, Outcome, Problem, Step, Stop, Trajectory
from isoflop.cost.ledger import Cost
from isoflop.errors import StoreError
from isoflop.studies.record import encode
from isoflop.studies.store import FILE, SCHEMA, Store, exists

PROBLEM = Problem("p0", "How much?", "1", {"level": 3})
SESSION = {"pid": 1, "host": "here", "hardware": "2 cores", "versions": {}, "command": "test"}


def attempt(text: str = "one\n", flops: int = 5, outcome: Outcome = Outcome.CORRECT) -> Attempt:
    root = Trajectory.at(Origin(PROBLEM, Prompt("x"), "x", (1, 2), 0, "s"))
    spent = {"policy": Cost(decode_flops=flops, new_tokens=1)}
    stop = Stop.ERROR if outcome is Outcome.ERROR else Stop.FINISHED
    nodes = (root.extend(Step(text, (7,), (-0.5,)), 0),)
    return Attempt(None, PROBLEM, 0, stop, "", nodes, (0.5,), (), None, "1", (), outcome, spent, spent)  # type: ignore[arg-type]


def add(store: Store, made: Attempt, arm: int = 0, in_flight: int = 0) -> None:
    store.add(
        encode(made, arm, 0, "key"), ("key", "x"), [], {"policy": Cost(decode_flops=in_flight)} if in_flight else {}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with two arms and one stored attempt."""
    Store.create(tmp_path / "run", {"study": "{}", "hash": "abc"}, [PROBLEM], [("a", "{}"), ("b", "{}")])
    with Store.writer(tmp_path / "run") as store:
        store.begin(**SESSION)
        add(store, attempt())
    return tmp_path / "run"


def test_what_was_stored_is_read_back(folder: Path) -> None:
    with Store.reader(folder) as store:
        [record] = store.records()
        assert (record.arm, record.problem, record.answer, record.correct) == ("a", PROBLEM, "1", True)
        assert record.nodes[0].step.text == "one\n"
        assert record.prompt_text == "x"
        assert store.meta()["hash"] == "abc"
        assert store.finished() == {(0, 0, 0): False}


def test_a_finished_run_is_one_plain_file_readable_without_write_access(folder: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "isoflop.lock"]
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / FILE).write_bytes((folder / FILE).read_bytes())
    with Store.reader(copy) as store:
        assert len(list(store.records())) == 1
    assert [path.name for path in copy.iterdir()] == [FILE]


def test_readers_read_while_a_writer_writes(folder: Path) -> None:
    with Store.writer(folder) as writer, Store.reader(folder) as reader:
        writer.begin(**SESSION)
        add(writer, attempt(), arm=1)
        assert [record.arm for record in reader.records()] == ["a", "b"]


def test_a_second_process_is_refused_and_told_who_writes(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from isoflop.studies.store import Store\n"
        "store = Store.writer(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read(); store.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"is being written by process {other.pid} on .*wait for it or end it"):
            Store.writer(folder)
        other.kill()
    Store.writer(folder).close()  # the lock died with its holder


def test_what_a_killed_session_had_in_flight_becomes_lost(folder: Path) -> None:
    lost = Store.writer(folder)
    lost.begin(**SESSION)
    add(lost, attempt(), arm=1, in_flight=3)
    lost.heartbeat({"policy": Cost(decode_flops=11)})
    lost._connection.close()  # as after a SIGKILL: no end of session, the lock gone
    assert lost._lock is not None
    lost._lock.release()
    with Store.writer(folder) as store:
        store.begin(**SESSION)
        states = [(session["state"], session["lost"]) for session in store.sessions()]
    assert states == [("ended", {}), ("killed", {"policy": Cost(decode_flops=11)}), ("running", {})]


def test_an_orderly_end_books_what_was_in_flight(folder: Path) -> None:
    with Store.writer(folder) as store:
        store.begin(**SESSION)
        store.heartbeat({"policy": Cost(decode_flops=4)})
    with Store.reader(folder) as store:
        assert store.sessions()[-1]["lost"] == {"policy": Cost(decode_flops=4)}


def test_a_rerun_replaces_a_failed_attempt_and_books_what_that_had_spent(folder: Path) -> None:
    with Store.writer(folder) as store:
        store.begin(**SESSION)
        add(store, attempt(flops=7, outcome=Outcome.ERROR), arm=1)
        assert store.finished()[(1, 0, 0)] is True
        add(store, attempt(flops=2), arm=1)
        assert store.finished()[(1, 0, 0)] is False
    with Store.reader(folder) as store:
        assert [record.spent["policy"].flops for record in store.records()] == [5, 2]
        assert store.sessions()[-1]["lost"]["policy"].flops == 7


def test_a_full_disk_is_said_and_leaves_earlier_records_intact(folder: Path) -> None:
    with Store.writer(folder) as store:
        store.begin(**SESSION)
        [pages] = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreError, match="the disk is full; all attempts stored before are intact: free space"):
            add(store, attempt("long " * 100_000), arm=1)
        store._connection.execute("PRAGMA max_page_count=1000000")
        add(store, attempt("after\n"), arm=1)
    with Store.reader(folder) as store:
        assert [record.nodes[0].step.text for record in store.records()] == ["one\n", "after\n"]


def test_a_truncated_file_is_called_damaged(folder: Path) -> None:
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"is damaged \(.*copy it aside.*\.recover"):
        Store.writer(folder)


def test_scribbled_pages_are_called_damaged(folder: Path) -> None:
    whole = bytearray((folder / FILE).read_bytes())
    whole[4096:] = os.urandom(len(whole) - 4096)
    (folder / FILE).write_bytes(whole)
    with pytest.raises(StoreError, match="damaged"):
        Store.writer(folder)
    with pytest.raises(StoreError, match="damaged"), Store.reader(folder) as store:
        list(store.records())


@pytest.mark.parametrize("opener", [Store.writer, Store.reader])
class TestForeign:
    """What is no run of ours, opened either way."""

    def test_random_bytes(self, opener, tmp_path: Path) -> None:
        (tmp_path / FILE).write_bytes(os.urandom(5000))
        with pytest.raises(StoreError, match="this is no SQLite file, so no isoflop run"):
            opener(tmp_path)

    def test_another_programs_database(self, opener, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / FILE)
        connection.execute("CREATE TABLE attempts (x)")
        connection.close()
        with pytest.raises(StoreError, match="is no isoflop run: it belongs to another program"):
            opener(tmp_path)
        assert exists(tmp_path)  # and creating a run there does not overwrite it
        with pytest.raises(StoreError, match="exists already"):
            Store.create(tmp_path, {}, [], [])

    def test_a_newer_format(self, opener, folder: Path) -> None:
        connection = sqlite3.connect(folder / FILE)
        connection.execute(f"PRAGMA user_version={SCHEMA + 1}")
        connection.close()
        with pytest.raises(StoreError, match=f"record format {SCHEMA + 1}; this isoflop reads up to {SCHEMA}"):
            opener(folder)

    def test_no_run_at_all(self, opener, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="holds no run"):
            opener(tmp_path)


def test_a_file_left_empty_by_a_kill_is_no_run(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    assert not exists(tmp_path)
    Store.create(tmp_path, {}, [PROBLEM], [("a", "{}")])
    with Store.reader(tmp_path) as store:
        assert store.labels() == ["a"]


@pytest.fixture
def unwritable(folder: Path) -> Iterator[Path]:
    folder.chmod(0o555)
    (folder / FILE).chmod(0o444)
    (folder / "isoflop.lock").chmod(0o444)
    if os.access(folder, os.W_OK):  # root writes anywhere, unless the file is marked immutable
        folder.chmod(0o755)
        if subprocess.run(["chattr", "+i", folder / "isoflop.lock"], capture_output=True).returncode:
            pytest.skip("this user can write everywhere")
    yield folder
    subprocess.run(["chattr", "-i", folder / "isoflop.lock"], capture_output=True)
    folder.chmod(0o755)


def test_a_read_only_folder_can_be_read_but_not_run(unwritable: Path) -> None:
    with Store.reader(unwritable) as store:
        assert len(list(store.records())) == 1
    with pytest.raises(StoreError, match=r"cannot be written .*change its permissions or copy the run"):
        Store.writer(unwritable)


def test_a_run_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the run folder cannot be made"):
        Store.create(tmp_path / "file" / "run", {}, [], [])


def test_records_differ_from_attempts_in_nothing_a_figure_needs(folder: Path) -> None:
    made = replace(attempt(), seconds=1.25, overshoot_seconds=0.5, message="slow")
    with Store.writer(folder) as store:
        store.begin(**SESSION)
        add(store, made, arm=1)
    with Store.reader(folder) as store:
        record = list(store.records())[1]
    assert (record.seconds, record.overshoot_seconds, record.message) == (1.25, 0.5, "slow")
