"""task=workspace, against a server of the test's own on this machine."""

import csv
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.commands.forked import run_forked
from tests.conftest import Compose
from zf_lightning.analysis.transfer import Score
from zf_lightning.errors import UserError
from zf_lightning.results.tables import Table
from zf_lightning.tasks import train, workspace
from zf_lightning.tasks.transfer.tables import build_tables


class Dashboard(ThreadingHTTPServer):
    """Answers what saving a workspace and a report asks, and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.views: list[dict[str, Any]] = []
        self.refuses = False


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Dashboard

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found: dict[str, Any] = {}
        # wandb also sends figures about itself, which are not JSON.
        if self.path.endswith("/graphql"):
            asked = json.loads(body)
            if "upsertView" in asked["query"] and self.server.refuses:
                self.answer({"errors": [{"message": "project not found"}]})
                return
            if "upsertView" in asked["query"]:
                self.server.views.append(asked["variables"])
                view = {"id": "1", "name": asked["variables"]["name"], "type": "runs"}
                view |= {"project": {"name": "zf-lightning", "entityName": "someone"}}
                view |= {"displayName": "", "description": "", "spec": asked["variables"]["spec"]}
                found = {"upsertView": {"view": view, "inserted": True}}
            elif "models(" in asked["query"]:
                project = {"id": "1", "name": "zf-lightning", "entityName": "someone"}
                project |= {"createdAt": "2024-01-01", "isBenchmark": False, "user": None}
                pages = {"endCursor": None, "hasNextPage": False}
                edges = [{"node": project, "cursor": "1"}]
                found = {"models": {"edges": edges, "pageInfo": pages}}
            else:
                found = {
                    "viewer": {
                        "id": "1",
                        "entity": "someone",
                        "username": "someone",
                        "flags": "{}",
                        "teams": {"edges": []},
                    }
                }
        self.answer({"data": found})

    def answer(self, contents: dict[str, Any]) -> None:
        text = json.dumps(contents).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    server = Dashboard()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def save(dashboard: Dashboard, folder: Path, *, code: int = 0) -> str:
    """Run the command with an account on the test's server; what it printed."""
    account = {
        "HOME": str(folder),
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": f"http://127.0.0.1:{dashboard.server_address[1]}",
        "WANDB_API_KEY": "0" * 40,
    }
    return run_forked(folder, ["task=workspace", "hydra.run.dir=run"], account, code=code)


@pytest.mark.slow
def test_the_layout_is_saved_as_a_view(dashboard: Dashboard, tmp_path: Path) -> None:
    printed = save(dashboard, tmp_path)
    view, report = dashboard.views
    assert (view["entityName"], view["projectName"]) == ("someone", "zf-lightning")
    identity = view["name"].removeprefix("nw-").removesuffix("-v")
    assert f"/someone/zf-lightning?nw={identity}" in printed
    sections = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    pictures = [panel["config"]["mediaKeys"] for panel in sections[1]["panels"]]
    assert pictures == [[f"probe/conv{number}"] for number in range(1, 6)]
    assert sections[0]["name"] == "Errors"
    assert report["displayName"] == "Ablations of zf-lightning"
    assert "/someone/zf-lightning/reports/Ablations-of-zf-lightning" in printed


def test_a_refusal_is_one_sentence(dashboard: Dashboard, tmp_path: Path) -> None:
    dashboard.refuses = True
    assert "did not take the workspace" in save(dashboard, tmp_path, code=1)


def test_without_an_account_workspace_and_report_are_files(
    compose_config: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    wanted = ["task=workspace", "logger.wandb.group=my sweep", "logger.wandb.entity=someone"]
    result = workspace.run(compose_config(*wanted))
    assert result["url"] is None and "After wandb login" in caplog.text
    found = json.loads((tmp_path / "run" / "workspace.json").read_text())
    assert found["section"]["panelBankConfig"]["sections"][0]["name"] == "Errors"
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    grids = [block for block in report["blocks"] if block["type"] == "panel-grid"]
    (runs,) = grids[0]["metadata"]["runSets"]
    assert runs["name"] == "my sweep" and "my sweep" in json.dumps(runs["filters"])
    assert runs["grouping"][0]["name"] == "ablation.value"
    pictures = [panel["config"]["mediaKeys"] for panel in panels_of(grids[1])]
    assert pictures == [[f"probe/conv{number}"] for number in range(1, 6)]


def panels_of(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of a grid in a report."""
    return grid["metadata"]["panelBankSectionConfig"]["panels"]


def test_every_panel_shows_what_is_logged(
    compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    train.run(compose_config(*tiny, "callbacks=paper"))
    with (tmp_path / "run" / "metrics.csv").open() as file:
        logged = next(csv.reader(file))
    layout = workspace.build_workspace(entity="e", project="p", layers=["conv1"])
    plots = [panel for section in layout.sections for panel in section.panels]
    shown = {key for plot in plots for name in ("y", "metrics") for key in getattr(plot, name, [])}
    assert {str(getattr(key, "name", key)) for key in shown} <= set(logged)
    tables = {plot.table_name for plot in plots if hasattr(plot, "table_name")}
    assert {table.name for data in ("caltech101", "caltech256") for table in scored(data)} <= tables
    patterns = [plot.metric_regex for plot in plots if getattr(plot, "metric_regex", None)]
    assert len(patterns) == 2
    assert all(any(re.fullmatch(pattern, key) for key in logged) for pattern in patterns)


def scored(data: str) -> list[Table]:
    """The tables of one score."""
    precisions: list[float | None] = [50.0]
    score = Score("fc7", "svm", 30, 0, 50.0, precisions, 1.0, True, 30, 50)
    return build_tables([score], None, data=data, class_names=["one"])


def test_layers_are_the_models_or_those_asked_for(compose_config: Compose, tiny: list[str]) -> None:
    assert workspace.choose_layers(compose_config(*tiny))[0] == "conv1"
    asked = compose_config(*tiny, "probe.layers=[conv2,conv5]")
    assert workspace.choose_layers(asked) == ["conv2", "conv5"]
    foreign = compose_config("model=torchvision", "model.name=resnet18")
    with pytest.raises(UserError, match=r"probe.layers=\[conv1,conv5\]"):
        workspace.choose_layers(foreign)
    with pytest.raises(UserError, match="needs logger=wandb"):
        workspace.run(compose_config(*tiny, "logger=csv"))
