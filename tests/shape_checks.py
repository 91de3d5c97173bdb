"""Configure the shape and type checks of the tests: restricted number types of the parser count as plain numbers."""

from beartype import BeartypeConf, FrozenDict, beartype
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

WHOLE, REAL = (NonNegativeInt, PositiveInt), (NonNegativeFloat, PositiveFloat, ClosedUnitInterval)
NUMBERS = dict.fromkeys(WHOLE, int) | dict.fromkeys(REAL, float | int)
checked = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict(NUMBERS)))
