"""Training networks with Lightning, for every method that has one."""

try:
    import lightning  # noqa: F401
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    message = f"{error.name} is not there; methods that learn need it: pip install -c constraints.txt -e '.[networks]'"
    raise ModuleNotFoundError(message, name=error.name) from error
