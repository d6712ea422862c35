"""Defects of definitions."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.storage import Capability, Definition
from tests.storage.defects.defective import Defective


class DefinitionsAreReplaced(Defective):
    """A definition is replaced though live executions use it."""

    caught_by = """
        a_new_definition_is_stored a_used_definition_is_kept the_same_digest_is_no_contradiction
        one_contradiction_does_not_affect_the_others an_unused_definition_is_replaced graphs_come_back_exactly
    """

    def _is_used(self, pair: Capability) -> bool:
        return False


class DefinitionsAreForGood(Defective):
    """A definition is never replaced."""

    caught_by = "an_unused_definition_is_replaced a_used_definition_is_kept ended_executions_use_no_definition"

    def _is_used(self, pair: Capability) -> bool:
        return True


class TheEndedUseDefinitions(Defective):
    """Ended executions count as using their definition."""

    caught_by = "ended_executions_use_no_definition a_used_definition_is_kept"

    def _is_used(self, pair: Capability) -> bool:
        return any((row.workflow, row.version) == pair for row in self._rows.values())


class VersionsShareADefinition(Defective):
    """Executions of another version use a definition."""

    caught_by = "name_and_version_make_a_definition"

    def _is_used(self, pair: Capability) -> bool:
        return any(row.workflow == pair[0] for row in self._rows.values())


class GraphsAreNotBroughtUpToDate(Defective):
    """Where the digest is the same the stored graph stays."""

    caught_by = "the_same_digest_is_no_contradiction graphs_come_back_exactly"

    def _define(self, definition: Definition) -> Definition | None:
        stored = self._definitions.get((definition.workflow, definition.version), definition)
        return super()._define(stored if stored.digest == definition.digest else definition)


class ContradictionsAreStored(Defective):
    """A definition that contradicts is returned, but the new one is stored."""

    caught_by = "a_used_definition_is_kept"

    def _define(self, definition: Definition) -> Definition | None:
        stored = super()._define(definition)
        self._definitions[definition.workflow, definition.version] = definition
        return stored


class OneContradictionStopsAll(Defective):
    """Definitions after one that contradicts aren't stored."""

    caught_by = "one_contradiction_does_not_affect_the_others"

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        for definition in definitions:
            if found := await super().define([definition]):
                return found
        return ()


class NothingDefinedContradicts(Defective):
    """A call without definitions tells of some."""

    caught_by = "nothing_to_define_is_no_error"

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        found = await super().define(definitions)
        return found if definitions else (Definition("w", "1", "a", "{}"),)
