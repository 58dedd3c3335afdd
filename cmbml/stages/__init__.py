"""The executors: each reads assets, calls science, and writes assets.

The folder `stages/` at the top of the repository is a link to this package.
"""

if __name__ == "stages":
    # The link can be imported where Python looks into the repository itself: every class would then exist twice.
    message = "the package is called cmbml.stages: import cmbml.stages, and write _target_: cmbml.stages..."
    raise ImportError(message)
