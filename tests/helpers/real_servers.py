"""Real inference servers as child processes, for `make test-engines`: started, waited for, stopped.

with VllmServer("path/to/model", "policy") as url: ...
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

START_SECONDS = 900
# vLLM 0.32 on a CPU ends where a prompt with a seed is read in parts: "CPU Generator does not use offset".
WHOLE_PROMPTS = ("--no-enable-chunked-prefill",)
LLAMA = """
import sys, time, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path, settings.port = sys.argv[1], int(sys.argv[2])
settings.n_ctx, settings.n_parallel = 4096, 2
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(settings)
while True: time.sleep(1)
"""


def setting(name, what):
    """A path from the environment. Nothing is skipped for want of one: the stage fails and says what to give."""
    value = os.environ.get(name)
    if not value or not Path(value).exists():
        pytest.fail(f"make test-engines needs {name}=PATH, {what}; it is {value!r}", pytrace=False)
    return value


class _Server:
    """A process group of its own, so that whatever a server starts ends with it."""

    def __init__(self, command, port, **environment):
        self.url, self._log = f"http://127.0.0.1:{port}", f"/tmp/isoflop-server-{port}.log"
        settings = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", **environment}
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                ["nice", "-n", "5", *command], env=kept | settings, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=10).close()
                return self.url
            except OSError:
                time.sleep(1)
        self.__exit__()
        pytest.fail(f"the server did not start; the end of {self._log}:\n{Path(self._log).read_text()[-2000:]}")

    def __exit__(self, *_):
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def VllmServer(model, name, *options):
    """vLLM on the CPU."""
    home = setting("ENGINES_VLLM", "a virtual environment with a vLLM that runs on this machine")
    port = _free_port()
    command = [f"{home}/bin/vllm", "serve", str(model), "--served-model-name", name, "--port", str(port)]
    limits = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
    return _Server([*command, "--enforce-eager", *WHOLE_PROMPTS, *options], port, **limits)


def LlamaServer(file):
    """llama.cpp, from PyPI's xllamacpp."""
    port = _free_port()
    home = os.environ.get("ENGINES_LLAMA")
    python = f"{home}/bin/python" if home else sys.executable
    return _Server([python, "-c", LLAMA, str(file), str(port)], port)


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
