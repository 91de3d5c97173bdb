"""How shapes and types are checked while tests run: numbers that the parser restricts are numbers."""

from beartype import BeartypeConf, FrozenDict, beartype
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

NUMBERS = {NonNegativeInt: int, PositiveInt: int, NonNegativeFloat: float | int, PositiveFloat: float | int}
checked = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict(NUMBERS)))
