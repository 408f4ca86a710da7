"""The run folder's SQLite file: every attempt one transaction; one writer, any number of readers meanwhile.

A SIGKILL at any moment leaves whole attempts or nothing of them (write-ahead log), and what unfinished attempts had
spent is on the books of their session. It decides nothing: what to run, and what a record means, is said elsewhere.

    with Store.writer(folder) as store:
        session = store.begin(command="isoflop study run study.toml", hardware="2 cores")
        store.add(row, samples, in_flight)
    Store.reader(folder).records()

The tables are written down in docs/record-format.md.
"""

from __future__ import annotations

import json
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isoflop.core import Problem
from isoflop.cost.ledger import Cost, Role
from isoflop.errors import StoreError
from isoflop.studies.lock import WriterLock
from isoflop.studies.record import COLUMNS, TREE_COLUMNS, Record, decode_costs, encode_costs, storable

FILE = "isoflop.db"
SCHEMA = 1
_APPLICATION = 0x69736F66  # "isof": marks the file as ours
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE problems (
  place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, question TEXT NOT NULL, gold TEXT, meta TEXT NOT NULL);
CREATE TABLE arms (place INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE, spec TEXT NOT NULL);
CREATE TABLE texts (key TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE attempts (
  arm INTEGER NOT NULL REFERENCES arms, problem INTEGER NOT NULL REFERENCES problems, seed INTEGER NOT NULL,
  stop TEXT NOT NULL, message TEXT NOT NULL, outcome TEXT NOT NULL, answer TEXT, chosen INTEGER, tied TEXT NOT NULL,
  candidates TEXT NOT NULL, spent TEXT NOT NULL, charged TEXT NOT NULL, seconds REAL NOT NULL,
  overshoot_seconds REAL NOT NULL, prompt TEXT REFERENCES texts, tree TEXT NOT NULL, tokens BLOB NOT NULL,
  logprobs BLOB NOT NULL, PRIMARY KEY (arm, problem, seed));
CREATE TABLE samples (
  key TEXT NOT NULL, arm INTEGER NOT NULL, problem INTEGER NOT NULL, seed INTEGER NOT NULL, seconds REAL NOT NULL,
  steps TEXT NOT NULL, tokens BLOB NOT NULL, logprobs BLOB NOT NULL, PRIMARY KEY (problem, seed, arm, key));
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY, state TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, pid INTEGER NOT NULL,
  host TEXT NOT NULL, hardware TEXT NOT NULL, versions TEXT NOT NULL, command TEXT NOT NULL,
  in_flight TEXT NOT NULL, lost TEXT NOT NULL);
"""
Key = tuple[int, int, int]  # (arm's place, problem's place, seed)
Costs = Mapping[Role, Cost]
SampleRow = tuple[str, float, tuple[str, bytes, bytes]]  # key, seconds, and the steps: columns, tokens, logprobs


class Store:
    """An open run file. Make one with `create`, `writer` or `reader`; close it (`with`)."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: WriterLock | None = None) -> None:
        self.path = path
        self._connection, self._lock = connection, lock
        self._session: int | None = None
        self._lost: dict[Role, Cost] = {}
        weakref.finalize(self, connection.close)  # records that fetch their trees later keep the store open

    @classmethod
    def create(
        cls, folder: Path, meta: Mapping[str, str], problems: Sequence[Problem], arms: Sequence[tuple[str, str]]
    ) -> None:
        """A new run file with the study, its problems and arms; StoreError where the folder holds a run already."""
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: the run folder cannot be made ({error.strerror}); choose another") from None
        with WriterLock(folder):
            if exists(folder):
                raise StoreError(f"{path} exists already; open it to go on, or choose another folder")
            with _translated(path), _closing(_connect(path, writable=True)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("BEGIN IMMEDIATE")
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                connection.execute(f"PRAGMA user_version={SCHEMA}")
                connection.executemany("INSERT INTO meta VALUES (?, ?)", [*meta.items(), ("created", _now())])
                rows = [(i, *_problem_row(problem)) for i, problem in enumerate(problems)]
                connection.executemany("INSERT INTO problems VALUES (?, ?, ?, ?, ?)", rows)
                connection.executemany("INSERT INTO arms VALUES (?, ?, ?)", [(i, *arm) for i, arm in enumerate(arms)])
                connection.execute("COMMIT")

    @classmethod
    def writer(cls, folder: Path) -> Store:
        """The one process that may write. StoreError names the holder where another does."""
        path = _existing(folder)
        lock = WriterLock(folder)
        try:
            with _translated(path):
                connection = _connect(path, writable=True)
                _check_ours(path, connection)
                [verdict] = connection.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise _damaged(path, verdict)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            lock.release()
            raise
        return cls(path, connection, lock)

    @classmethod
    def reader(cls, folder: Path) -> Store:
        """Read a run, also one that is being written, also on a read-only disk."""
        path = _existing(folder)
        with _translated(path):
            connection = _connect(path, writable=False)
            _check_ours(path, connection)
        return cls(path, connection)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a writer ends its session and leaves one plain file that can be copied."""
        try:
            if self._session is not None:
                self.end()
            if self._lock is not None:
                with suppress(sqlite3.Error):  # a reader is still on the log: it stays in place, which is as safe
                    self._connection.execute("PRAGMA journal_mode=DELETE")
        finally:
            self._connection.close()
            if self._lock is not None:
                self._lock.release()

    # Writing: one session at a time.

    def begin(self, *, pid: int, host: str, hardware: str, versions: Mapping[str, str], command: str) -> None:
        """Open this process's session; what killed ones had in flight becomes `lost`."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE sessions SET state='killed', lost=in_flight, in_flight='{}' WHERE state='running'"
            )
            cursor = connection.execute(
                "INSERT INTO sessions (state, started, pid, host, hardware, versions, command, in_flight, lost) "
                "VALUES ('running', ?, ?, ?, ?, ?, ?, '{}', '{}')",
                (_now(), pid, storable(host), storable(hardware), json.dumps(dict(versions)), storable(command)),
            )
            self._session = cursor.lastrowid
        self._lost = {}

    def add(
        self, row: Sequence[Any], prompt: tuple[str, str] | None, samples: Iterable[SampleRow], in_flight: Costs
    ) -> None:
        """One finished attempt, the samples it paid for, and what the others have spent so far: one transaction."""
        arm, problem, seed = row[:3]
        with self._transaction() as connection:
            if prompt is not None:
                connection.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", prompt)
            replaced = connection.execute(
                "SELECT spent FROM attempts WHERE arm=? AND problem=? AND seed=?", (arm, problem, seed)
            ).fetchone()
            if replaced is not None:
                self._lost = _sum(self._lost, decode_costs(replaced[0]))
            connection.execute(_INSERT, row)
            connection.executemany(
                "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(key, arm, problem, seed, seconds, *steps) for key, seconds, steps in samples],
            )
            self._book(connection, in_flight)

    def heartbeat(self, in_flight: Costs) -> None:
        """Book what unfinished attempts have spent so far."""
        with self._transaction() as connection:
            self._book(connection, in_flight)

    def lose(self, costs: Costs) -> None:
        """Book what was spent on attempts that will have to be made again."""
        self._lost = _sum(self._lost, costs)

    def note_hardware(self, hardware: str) -> None:
        """What the session runs on, said again once an engine is open and has found its device."""
        with self._transaction() as connection:
            connection.execute("UPDATE sessions SET hardware=? WHERE id=?", (storable(hardware), self._session))

    def end(self) -> None:
        """End the session in order; what is still in flight is lost work, too."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE sessions SET state='ended', ended=?, lost=in_flight, in_flight='{}' WHERE id=?",
                (_now(), self._session),
            )
        self._session = None

    def _book(self, connection: sqlite3.Connection, in_flight: Costs) -> None:
        # What a killed session loses is `in_flight` alone: costs of replaced attempts ride along in it.
        connection.execute(
            "UPDATE sessions SET in_flight=? WHERE id=?", (encode_costs(_sum(self._lost, in_flight)), self._session)
        )

    # Reading.

    def meta(self) -> dict[str, str]:
        """The study, its hash, the fingerprint of the problems, and when the run was made."""
        return {row["key"]: row["value"] for row in self._rows("SELECT key, value FROM meta")}

    def problems(self) -> list[Problem]:
        """The problems, in order."""
        rows = self._rows("SELECT id, question, gold, meta FROM problems ORDER BY place")
        return [Problem(row["id"], row["question"], row["gold"], json.loads(row["meta"])) for row in rows]

    def labels(self) -> list[str]:
        """The arms' labels, in order."""
        return [row["label"] for row in self._rows("SELECT label FROM arms ORDER BY place")]

    def finished(self) -> dict[Key, bool]:
        """Keys of all stored attempts; True where the attempt failed and may be rerun."""
        rows = self._rows("SELECT arm, problem, seed, stop='error' OR outcome='error' AS failed FROM attempts")
        return {(row["arm"], row["problem"], row["seed"]): bool(row["failed"]) for row in rows}

    def records(self) -> Iterator[Record]:
        """All attempts by arm, problem and seed, their trees fetched when asked for."""
        labels, problems = self.labels(), self.problems()
        summary = ", ".join(column for column in COLUMNS if column not in TREE_COLUMNS)
        for row in self._rows(f"SELECT {summary} FROM attempts ORDER BY arm, problem, seed"):
            key = (row["arm"], row["problem"], row["seed"])
            yield Record(labels[row["arm"]], problems[row["problem"]], dict(row), self._fetcher(key))

    def samples(self, problem: int, seed: int, arms: Iterable[int]) -> list[SampleRow]:
        """What pooled arms have drawn for one problem and seed."""
        places = ", ".join(map(str, arms))
        columns = "key, seconds, steps, tokens, logprobs"
        query = f"SELECT {columns} FROM samples WHERE problem=? AND seed=? AND arm IN ({places})"
        return [(key, seconds, tuple(steps)) for key, seconds, *steps in self._rows(query, (problem, seed))]

    def sessions(self) -> list[dict[str, Any]]:
        """All sessions, oldest first, with `lost` and `in_flight` as costs by role."""
        found = [dict(row) for row in self._rows("SELECT * FROM sessions ORDER BY id")]
        for session in found:
            session["versions"] = json.loads(session["versions"])
            session["lost"], session["in_flight"] = decode_costs(session["lost"]), decode_costs(session["in_flight"])
        return found

    def _fetcher(self, key: Key) -> Any:
        def fetch(columns: Sequence[str]) -> Sequence[Any]:
            query = (
                f"SELECT {', '.join(columns)} FROM (SELECT attempts.*, texts.text AS prompt_text FROM attempts "
                "LEFT JOIN texts ON texts.key=attempts.prompt) WHERE arm=? AND problem=? AND seed=?"
            )
            return tuple(next(self._rows(query, key)))

        return fetch

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[sqlite3.Row]:
        with _translated(self.path):
            yield from self._connection.execute(query, values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise


_INSERT = f"INSERT OR REPLACE INTO attempts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


def exists(folder: Path) -> bool:
    """Whether the folder holds a run file; one that a killed process left empty does not count."""
    path = folder / FILE
    if not path.is_file():
        return False
    if path.stat().st_size:
        with _translated(path), _closing(_connect(path, writable=False)) as connection:
            return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    return False


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    # Autocommit: transactions are opened by hand. A reader on a read-only disk cannot make the log's index, so it reads
    # the file as it stands.
    address = path.resolve().as_uri()
    connection = sqlite3.connect(
        address + ("?mode=rwc" if writable else "?mode=ro"),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )
    connection.row_factory = sqlite3.Row
    if writable:
        return connection
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        connection.close()
        connection = sqlite3.connect(address + "?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
    return connection


def _existing(folder: Path) -> Path:
    path = folder / FILE
    if not path.is_file():
        raise StoreError(f"{folder} holds no run ({FILE} is not there); give the folder of a run")
    return path


def _check_ours(path: Path, connection: sqlite3.Connection) -> None:
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise StoreError(f"{path} is no isoflop run: it belongs to another program or is empty; choose another folder")
    if version > SCHEMA:
        raise StoreError(f"{path} has record format {version}; this isoflop reads up to {SCHEMA}: install a newer one")


def _damaged(path: Path, detail: str) -> StoreError:
    return StoreError(
        f"{path} is damaged ({detail}); copy it aside, and save what can be read with: sqlite3 {path} .recover"
    )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as StoreErrors that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_CORRUPT:
            raise _damaged(path, str(error)) from error
        raise StoreError(f"{path}: {_ADVICE.get(code, str(error))}") from error


_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; all attempts stored before are intact: free space and run again to go on",
    sqlite3.SQLITE_READONLY: "the run folder cannot be written; change its permissions or copy the run elsewhere",
    sqlite3.SQLITE_CANTOPEN: "the run file cannot be opened; check that the folder exists and may be read and written",
    sqlite3.SQLITE_PERM: "the run folder cannot be written; change its permissions or copy the run elsewhere",
    sqlite3.SQLITE_NOTADB: "this is no SQLite file, so no isoflop run, or it is damaged from the first bytes on",
    sqlite3.SQLITE_BUSY: "another program holds the file locked; close it (an SQLite browser?) and run again",
    sqlite3.SQLITE_IOERR: "reading or writing failed; check the disk; attempts stored before are intact",
}


def _sum(a: Costs, b: Costs) -> dict[Role, Cost]:
    return {role: a.get(role, Cost()) + b.get(role, Cost()) for role in {**a, **b}}


def _problem_row(problem: Problem) -> tuple[str, str, str | None, str]:
    gold = None if problem.answer is None else storable(problem.answer)
    return storable(problem.id), storable(problem.question), gold, json.dumps(dict(problem.meta), default=str)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()
