"""What errors say and carry that no scenario and no other unit ends with."""

from __future__ import annotations

from stepwell import DefinitionChanged, UnstoppableHandler


def test_a_changed_definition_is_told_with_what_differs_and_what_to_do() -> None:
    error = DefinitionChanged("import", "1", "- a\n+ b")
    assert (error.workflow, error.version, error.difference) == ("import", "1", "- a\n+ b")
    assert str(error).startswith("workflow 'import' version '1' differs from the one that live executions use; give ")
    assert str(error).endswith(":\n- a\n+ b")


def test_a_handler_that_does_not_stop_is_told_with_its_step() -> None:
    error = UnstoppableHandler("x", "load")
    assert (error.id, error.step) == ("x", "load")
    assert str(error) == "step 'load' of execution 'x' goes on although it was cancelled"
