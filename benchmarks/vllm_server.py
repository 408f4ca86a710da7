"""A vLLM server as a child process, asked over HTTP: started, measured, put to sleep while others are measured.

with Server(venv, model, eager=True, binding="auto") as server:
    server.generate(prompts, new_tokens=128)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

START_SECONDS = 600


class Server:
    """`binding` is vLLM's VLLM_CPU_OMP_THREADS_BIND: `auto`, `nobind`, or cores such as `0-1`; `options` are more of
    `vllm serve`."""

    def __init__(
        self,
        venv: Path,
        model: str,
        *,
        eager: bool,
        binding: str,
        live: int,
        options: Sequence[str] = ("--no-enable-prefix-caching",),
        port: int = 8011,
    ) -> None:
        self.name = f"vllm {'eager' if eager else 'compiled'}, threads {binding}"
        self.url = f"http://127.0.0.1:{port}"
        command = [str(venv / "bin" / "vllm"), "serve", model, "--dtype", "bfloat16", "--max-model-len", "512"]
        command += ["--port", str(port), "--served-model-name", "policy", "--max-num-seqs", str(live)]
        command += [*options, *(["--enforce-eager"] if eager else [])]
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        environment |= {"VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_CPU_OMP_THREADS_BIND": binding, "HF_HUB_OFFLINE": "1"}
        environment |= {"VLLM_SERVER_DEV_MODE": "1"}  # so that its cache of prefixes can be emptied
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def __enter__(self) -> Server:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the server ends with us
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
                return self
            except OSError:
                time.sleep(1)
        self.__exit__(None, None, None)
        raise SystemExit(f"{self.name} did not start; try its command by hand")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wake()
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def sleep(self) -> None:
        """Stop the whole process group, so that an idle server's busy loops cost the others nothing."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Go on."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def generate(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
        """Seconds for all prompts at once, one connection each; temperature 1, the chosen token's log-probability."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as pool:
            made = list(pool.map(lambda prompt: self._complete(prompt, new_tokens), prompts))
        seconds = time.perf_counter() - began
        assert made == [new_tokens] * len(prompts), made
        return seconds

    def _complete(self, prompt: Sequence[int], new_tokens: int) -> int:
        body = {"model": "policy", "prompt": list(prompt), "max_tokens": new_tokens, "temperature": 1.0}
        data = json.dumps(body | {"logprobs": 0, "ignore_eos": True}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/completions", data, headers)
        with urllib.request.urlopen(request, timeout=3600) as reply:
            choice = json.load(reply)["choices"][0]
        return len(choice["logprobs"]["token_logprobs"])
