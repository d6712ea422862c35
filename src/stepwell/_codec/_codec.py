"""The codec of one annotated type: values to text and back."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell._codec._errors import LimitExceeded, PayloadError, path_text
from stepwell._codec._flat import flat_record
from stepwell._codec._types import Refusal, Shape, annotation_text, decoder_for, shape_of
from stepwell._codec._walk import Fault, Verdict, difference, fault_in, fill_defaults, heaviest, survey
from stepwell._failure import failure_of

if TYPE_CHECKING:
    from stepwell._limits import Limits

_ENCODER: Final = msgspec.json.Encoder()
_WHERE: Final = re.compile(r"(?P<reason>.*) - at (?:`?key`? in )?`(?P<path>\$.*)`", re.DOTALL)
_CODECS_KEPT: Final = 1_024


class Codec:
    """Turns values of one annotated type into JSON text and back; made once per type, then shared.

    Raises `UnsupportedType` when it is made for a type whose values can't be stored.
    """

    __slots__ = ("_decoder", "_flat", "_shapes", "_takes_anything", "annotation")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self._decoder = decoder_for(annotation)
        self._takes_anything = annotation in (Any, object)
        self._shapes: dict[type[object], Shape] = {}
        self._flat = flat_record(annotation, self._decoder)

    def encode(self, value: object, *, limits: Limits, what: str) -> str:
        """Return text that decodes to a value equal to *value*, or raise `PayloadError` with the place of what can't.

        Plain JSON values must fit the annotation, and then come back as it says (a dict as the dataclass that it
        fits); the others must come back equal with equal types.
        *what* names the data in the error: `the output of step 'pay'`. Nothing that the value's own code raises
        leaves here as it is, but `KeyboardInterrupt`.
        """
        cause: BaseException | None = None
        large, text = False, b""
        try:
            if self._flat is not None and limits.depth > 1 and self._flat.holds(value):
                text = _ENCODER.encode(value)
                if len(text) <= limits.payload:
                    return text.decode()
            verdict = survey(value, self._shape_of, depth=limits.depth, size=limits.payload)
            large = verdict is Verdict.LARGE
            if verdict < Verdict.LARGE:
                text = _ENCODER.encode(value)
                large = len(text) > limits.payload
                if not large and (self._fits(text) if verdict is Verdict.PLAIN else self._comes_back(value, text)):
                    return text.decode()
        except KeyboardInterrupt:
            raise
        except Refusal:  # its place is found below
            pass
        except BaseException as error:  # the one place around code of the value's classes
            cause = error
        raise self._error(value, cause, limits, what, len(text) if large else None) from cause

    def canonical(self, value: object, *, limits: Limits, what: str) -> str:
        """Return the one text of a value by its content: keys sorted, defaults filled in; equal inputs, equal texts.

        Stricter than `encode`: the value must also fit the annotation. A dict that fits a dataclass has the text of
        the dataclass.
        """
        decoded = self.decode(self.encode(value, limits=limits, what=what), what=what)
        try:
            fill_defaults(decoded, self._shape_of)
            text = _ENCODER.encode(msgspec.to_builtins(decoded, order="sorted", str_keys=True))
            if len(text) <= limits.payload and self._comes_back(decoded, text):
                return text.decode()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also a TypeError for sets whose items have no order
            reason = f"no canonical form can be made of it: {failure_of(error).summary}"
            raise PayloadError(what, "$", reason) from error
        raise self._error(decoded, None, limits, what, len(text) if len(text) > limits.payload else None)

    def decode(self, text: str, *, what: str = "the stored value") -> Any:
        """Return the value of a text, or raise `PayloadError` with the place where it does not fit the type."""
        try:
            return self._decoder.decode(text)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # __post_init__ and the like run here
            raise self._misfit(error, what) from error

    def _shape_of(self, kind: type[object]) -> Shape:
        shape = self._shapes.get(kind)
        if shape is None:
            shape = self._shapes[kind] = shape_of(kind)
        return shape

    def _fits(self, text: bytes) -> bool:
        """Tell whether plain JSON can be read as the annotated type, so that no later step fails for it."""
        if self._takes_anything:
            return True
        try:
            self._decoder.decode(text)
        except msgspec.ValidationError:
            return False
        return True

    def _comes_back(self, value: object, text: bytes) -> bool:
        return difference(value, self._decoder.decode(text), self._shape_of) is None

    def _error(
        self, value: object, cause: BaseException | None, limits: Limits, what: str, size: int | None
    ) -> PayloadError:
        """Find out slowly what `encode` noticed fast; *size* is given if it is too large, 0 if not counted."""
        try:
            if size is not None:
                return self._too_large(value, limits, what, size)
            return self._explained(value, limits, what)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in encode
            return PayloadError(what, "$", f"its own code raised {failure_of(cause or error).summary}")

    def _explained(self, value: object, limits: Limits, what: str) -> PayloadError:
        fault = fault_in(value, self._shape_of, depth=limits.depth, size=limits.payload)
        if fault is not None:
            return _raised(fault, what) if fault.reason else self._too_large(value, limits, what, 0)
        try:
            copy = self._decoder.decode(_ENCODER.encode(value))
        except msgspec.ValidationError as error:
            return self._misfit(error, what)
        fault = difference(value, copy, self._shape_of)
        return _raised(fault or Fault(None, "it changed while it was encoded"), what)

    def _too_large(self, value: object, limits: Limits, what: str, size: int) -> LimitExceeded:
        path, weight = heaviest(value, self._shape_of)
        actual = size or max(weight, limits.payload + 1)
        reason = f"{'' if size else 'at least '}{actual:,} bytes of JSON, the limit is {limits.payload:,}"
        largest = f"; the largest part is {path_text(path)}" if path else ""
        advice = "; store it elsewhere and keep a reference, or raise Limits.payload"
        return LimitExceeded(what, "$", f"{reason}{largest}{advice}", limits.payload, actual)

    def _misfit(self, error: BaseException, what: str) -> PayloadError:
        """Tell what does not fit the annotated type, with the place that msgspec names."""
        told = failure_of(error)
        if not issubclass(type(error), msgspec.MsgspecError):
            return PayloadError(what, "$", f"decoding it raised {told.summary}")
        found = _WHERE.fullmatch(told.message)
        path, reason = ("$", told.message) if found is None else (found["path"], found["reason"])
        return PayloadError(what, path, f"{reason}, decoding it as {annotation_text(self.annotation)}")


@lru_cache(maxsize=_CODECS_KEPT)
def _cached(annotation: Any) -> Codec:
    return Codec(annotation)


def codec_for(annotation: Any) -> Codec:
    """Return the codec of an annotated type, the same one for the same type; raise `UnsupportedType` if it has none."""
    try:
        hash(annotation)
    except TypeError:  # Annotated[…] with a list in it, and the like
        return Codec(annotation)
    return _cached(annotation)


def check_input(annotation: Any, value: object, *, limits: Limits, what: str) -> str:
    """Return the canonical text of a workflow's input after checking that it fits the annotated type."""
    return codec_for(annotation).canonical(value, limits=limits, what=what)


def _raised(fault: Fault, what: str) -> PayloadError:
    if fault.limit is None:
        return PayloadError(what, path_text(fault.path), fault.reason)
    return LimitExceeded(what, path_text(fault.path), fault.reason, fault.limit, fault.actual)
