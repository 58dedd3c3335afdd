"""What methods have learnt and the package brings along: files that `weights=NAME` finds wherever it is installed."""

from pathlib import Path

SUFFIX = ".safetensors"
FOLDER = Path(__file__).parent


def shipped() -> tuple[str, ...]:
    """Return the names of the files that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def weights_file(weights: Path) -> Path:
    """Return the file that is meant: the one of that name, or else the shipped one.

    Args:
        weights: a file, or a name of `shipped()`.
    """
    return FOLDER / f"{weights}{SUFFIX}" if not weights.exists() and str(weights) in shipped() else weights
