"""Datasets that were made before the program knew some of its keys."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outcomes import done, refused

Command = Callable[..., Any]


def test_a_dataset_is_of_no_kind_that_came_after_it(
    simulate: Callable[..., None], command: Command, tmp_path: Path
) -> None:
    simulate(tmp_path, "dataset=sky", train=0, test=1)
    (manifest,) = (tmp_path / "sky/runs").glob("*_sims/manifest.json")
    told = json.loads(manifest.read_text())
    for kind in ("patches", "hydrogen"):
        del told["config"][kind]
    manifest.write_text(json.dumps(told))
    assert "1 unit of work to do" in done(command("clean", tmp_path, "dataset=sky", "method=control_truth"))
    done(command("analysis", tmp_path, "dataset=sky", "methods=[control_truth]", "plan_only=true"))
    del told["config"]["instrument"]
    manifest.write_text(json.dumps(told))
    ran = command("clean", tmp_path, "dataset=sky", "method=control_truth")
    refused(ran, "older version, which did not say instrument; build it again")
