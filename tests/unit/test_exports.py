"""The public names: sorted, importable, and all there are."""

from __future__ import annotations

from types import ModuleType

import pytest

import stepwell
import stepwell.storage
import stepwell.testing


@pytest.mark.parametrize("module", [stepwell, stepwell.storage, stepwell.testing], ids=lambda module: module.__name__)
def test_all_is_sorted_and_each_name_of_it_can_be_imported(module: ModuleType) -> None:
    names: list[str] = module.__all__
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert [name for name in names if not hasattr(module, name)] == []


def test_all_is_what_can_be_imported() -> None:
    lazy = {"PostgresStorage"}
    public = lazy | {
        name
        for name, value in vars(stepwell).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert public == set(stepwell.__all__)


def test_every_error_of_the_library_is_public_and_of_one_family() -> None:
    from stepwell import _errors  # noqa: PLC0415

    errors = {name for name, value in vars(_errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert errors <= set(stepwell.__all__)
    assert all(issubclass(getattr(stepwell, name), stepwell.StepwellError) for name in errors)


def test_each_public_class_and_function_is_documented() -> None:
    values = {name: getattr(stepwell, name) for name in stepwell.__all__}
    assert [name for name, value in values.items() if callable(value) and not (value.__doc__ or "").strip()] == []
