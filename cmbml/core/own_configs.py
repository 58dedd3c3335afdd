"""Configs of the user's own, in a folder beside those of the package: Hydra's `--config-dir`."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from cmbml.core.errors import ConfigError

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "cfg"
FLAGS = ("--config-dir", "-cd")
_own: list[Path] = []


class OwnConfigs(SearchPathPlugin):
    """Lets Hydra look into the user's folder before it looks into the package's, whoever composes."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put the user's folder, if there is one, before all others."""
        for folder in _own:
            search_path.prepend("command-line", f"file://{folder}")


def take_own_configs(words: list[str]) -> list[str]:
    """Take the folder that `--config-dir` names, for as long as no other call takes another.

    Args:
        words: of the command line.

    Returns:
        the other words.

    Raises:
        ConfigError: it is no folder.
    """
    found: list[str] = []
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag not in FLAGS:
            left.append(word)
        else:
            found.append(value if equals else next(rest, ""))
    _own.clear()
    if OwnConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(OwnConfigs)
    for folder in map(Path, found[-1:]):
        if not folder.name or not folder.is_dir():
            message = f"--config-dir {folder}: there is no such folder; it holds method/mine.yaml, ... as cfg/ does"
            raise ConfigError(message)
        _own.append(folder.resolve())
    return left


def own_words() -> list[str]:
    """Return what a command line says of the user's folder, from wherever it is called; nothing where there is none."""
    return [f"--config-dir={folder}" for folder in _own]


def config_file(path: str) -> Path:
    """Return a config file by its path below a folder of configs: the user's where there is one, or the package's."""
    return next((folder / path for folder in _own if (folder / path).is_file()), CONFIG_FOLDER / path)
