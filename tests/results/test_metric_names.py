"""Metric names are spelt in one module."""

import ast
import re

from tests.conftest import ROOT

METRIC = re.compile(
    r"(train|val|test)/(loss|top\d_error|images|learning_rate|stalled|seconds|bad_files)\w*"
    r"|data/wait|_tencrop|_centre_crop"
)


def test_no_other_file_spells_them() -> None:
    found = set()
    for folder in ("callbacks", "zf_lightning"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    if METRIC.fullmatch(node.value):
                        found.add(file.name)
    assert found == {"metric_names.py"}
