"""User data as JSON text and back: what goes in comes out equal, or an error tells which part of it can't.

Rule 1: plain JSON values (None, bool, int, finite float, str, list, dict with str keys; exact types) pass if they can
    be read as the annotated type.
Rule 2: anything else passes only if the annotation brings it back equal, with equal types. One widening is allowed,
    the one that type checkers allow: an int where a float is annotated comes back as the equal float.
Rule 3: a value is recognised by its exact type; code of the user's classes runs only under the guard in `Codec`.
Rule 4: work is bounded by the limits, before the encoder runs, also for values that share or contain themselves.

`_walk` reads values, `_types` reads annotations, `_errors` has what is raised, `_json` reads foreign JSON.
"""

from __future__ import annotations

from stepwell._codec._codec import Codec, check_input, codec_for
from stepwell._codec._errors import LimitExceeded, PayloadError, UnsupportedType
from stepwell._codec._json import canonical, decode_json

__all__ = [
    "Codec",
    "LimitExceeded",
    "PayloadError",
    "UnsupportedType",
    "canonical",
    "check_input",
    "codec_for",
    "decode_json",
]
