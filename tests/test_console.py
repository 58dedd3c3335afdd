"""The command `cmbml`: the programs by name, in the words by which the user has called them."""

import subprocess
import sys
from pathlib import Path

import pytest

import cmbml
from cmbml.console import main, programs
from cmbml.core.wording import spoken


def called(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cmbml", *words])
        patch.setattr(sys, "path", list(sys.path))
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def test_every_program_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = {path.stem.removeprefix("main_") for path in Path(__file__).parents[1].glob("main_*.py")}
    assert scripts | {"fetch"} == set(programs())
    assert called() == called("--help") == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in programs())


def test_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--version") == 0
    assert capsys.readouterr().out == f"cmbml {cmbml.__version__}\n"


def test_misspelt_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("anlysis") == 1
    assert capsys.readouterr().err == "error: 'cmbml anlysis': there is no such command; did you mean 'analysis'?\n"


@pytest.mark.parametrize("command", ["clean", "verify", "status"])
def test_mends_are_in_the_words_of_the_user(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(command, f"system.root={tmp_path}", "dataset=none") == 1
    said = capsys.readouterr().err
    assert "build it first: cmbml sims dataset=none" in said
    assert "main_" not in said
    assert spoken("python main_sims.py") == "python main_sims.py"


def test_help_is_in_the_words_of_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("clean", "--help") == 0
    said = capsys.readouterr().out
    assert "cmbml clean dataset=demo method=control_channel\n" in said
    assert "main_" not in said


def test_paths_are_left_as_they_are() -> None:
    from cmbml.core.wording import as_console

    with as_console():
        assert spoken("/home/me/main_sims.py is run by main_sims.py") == "/home/me/main_sims.py is run by cmbml sims"


def test_configs_of_ones_own_are_found_and_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    (own / "scenario").mkdir(parents=True)
    (own / "scenario" / "mine.yaml").write_text(
        "nside: 8\nnside_sky: 8\nlmax: 23\nfields: I\nchannels: all\nlmax_scored: 16\n"
    )
    (own / "runner").mkdir()
    (own / "runner" / "serial.yaml").write_text("_target_: cmbml.core.runner.Serial\nthreads: 3\n")
    words = (f"system.root={tmp_path}", "scenario=mine", "plan_only=true")
    assert called("sims", *words) == 1
    assert "scenario=mine: there is no such option" in capsys.readouterr().err
    assert called("sims", f"--config-dir={own}", *words) == 0
    assert "total" in capsys.readouterr().out
    assert called("sims", "--config-dir", str(own), *words, "--cfg", "job") == 0
    assert "threads: 3" in capsys.readouterr().out
    assert called("sims", *words[:1], "--config-dir", str(tmp_path / "none")) == 1
    assert "there is no such folder" in capsys.readouterr().err


def test_fault_in_ones_own_config_names_that_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "method" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("name: mine\n\tchannel: 1\n")
    assert called("clean", "--config-dir", str(tmp_path), "method=mine") == 1
    assert f"{file}, line 2" in capsys.readouterr().err


def test_templates_are_refused_clearly_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ("sky.url=http://127.0.0.1:9/", "sky.retries=0", "sky.timeout_s=1")
    words = ("sky=pysm", f"sky.cache_folder={tmp_path}", *nowhere, f"system.root={tmp_path}")
    assert called("fetch", *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: cannot get dust_")
    assert "Mends: " in said


def test_package_is_light_to_import() -> None:
    code = "import sys, cmbml; print([name for name in ('torch', 'healpy', 'hydra', 'numpy') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
