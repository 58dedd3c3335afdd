"""What a user says under a name of the last release still counts, with a warning that says the new one."""

import logging

import pytest
from omegaconf import OmegaConf

from cmbml.core.executor import Executor
from cmbml.core.overrides import renamed, take_new_names


def test_old_keys_of_the_command_line_are_taken(caplog):
    with caplog.at_level(logging.WARNING):
        assert renamed(["+method.train.loss=l2", "seed=1"]) == ["+method.objective.loss=l2", "seed=1"]
    assert "method.train.loss is called method.objective.loss now" in caplog.text


def test_old_keys_of_a_config_are_taken(caplog):
    config = OmegaConf.create(
        {"given": {"mine": "my.Stage"}, "upstream": {"cmb": "their.Stage"}, "inherit": [], "from_dataset": ["seed"]}
    )
    OmegaConf.set_struct(config, True)
    with caplog.at_level(logging.WARNING):
        take_new_names(config)
    assert config == {"upstream": {"cmb": "their.Stage", "mine": "my.Stage"}, "from_dataset": []}
    assert "given is called upstream now" in caplog.text
    before = OmegaConf.to_container(config)
    take_new_names(config)
    assert config == before


@pytest.mark.parametrize(("old", "new"), [("exact", "reproducible"), ("sees", "restricts")])
def test_an_executor_that_speaks_of_what_is_called_otherwise_is_refused(old, new):
    with pytest.raises(TypeError, match=f"Mine.{old} has no effect: it is called {new} now"):
        type("Mine", (Executor,), {old: False})
