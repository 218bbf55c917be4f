"""A server of Weights & Biases that is slow, or gone, when a run ends: it holds up nobody."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

#: A run that waits for a line before it ends, and then says how to upload it.
RUN = """
import sys
from zf_lightning.training.wandb_options import run_options
from zf_lightning.training.wandb_runs import close_wandb
about = dict.fromkeys(("entity", "group", "name")) | {"project": "p", "tags": []}
options = run_options(folder=sys.argv[1], mode="online", finish_timeout=2, **about)
import wandb
wandb.init(**options).log({"loss": 1.0})
print("logged", flush=True)
sys.stdin.readline()
print("upload:", close_wandb(), flush=True)
"""


class Server:
    """As much of the server as a run without files asks for; it can stop answering."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.asked: list[str] = []

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        query, variables = str(question.get("query")), question.get("variables") or {}
        self.asked.append(str(question.get("operationName")))
        if "upsertBucket" in query:
            project = {"id": "1", "name": "p", "entity": {"id": "1", "name": "me"}}
            name = variables.get("name")
            bucket = {"id": "1", "name": name, "displayName": name, "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": ""} for name in variables["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        if "viewer" in query:
            return {"viewer": {"id": "1", "entity": "me", "flags": "{}", "teams": {"edges": []}}}
        return {}


@contextmanager
def serving(server: Server) -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            question = json.loads(text) if self.path == "/graphql" else {}
            server.answers.wait(60)
            data = json.dumps({"data": server.answer(question)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield http
    finally:
        server.answers.set()
        http.shutdown()
        http.server_close()


@pytest.mark.parametrize("fate", ["well", pytest.param("slow", marks=pytest.mark.slow), "gone"])
def test_the_end_of_a_run_waits_so_long_and_no_longer(fate: str, tmp_path: Path) -> None:
    server = Server()
    with serving(server) as http:
        address = f"http://127.0.0.1:{http.server_address[1]}"
        account = {"WANDB_BASE_URL": address, "WANDB_API_KEY": 40 * "a", "WANDB_MODE": "online"}
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | account,
            text=True,
        )
        assert run.stdout is not None
        assert any(line == "logged\n" for line in iter(run.stdout.readline, ""))
        assert "UpsertBucket" in server.asked
        if fate == "slow":
            server.answers.clear()
        if fate == "gone":
            http.shutdown()
            http.server_close()
        said, _ = run.communicate("\n", timeout=50)
    assert run.returncode == 0
    (record,) = (tmp_path / "wandb").glob("run-*")
    assert list(record.glob("*.wandb"))
    upload = "None" if fate == "well" else f"cd {tmp_path} && wandb sync wandb/{record.name}"
    assert f"upload: {upload}\n" in said
