"""Numbers as the fabric file has them: their bounds and units, and what they become on the switch."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from hitless.words import OFF, WEIGHT_MAX

US_PER_MS = 1000
FILE_FORM: ConfigDict = {"extra": "forbid"}
"""How pydantic reads a dataclass that stands in the fabric file. It takes a mapping, so only its fields are strict."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What the fabric file counts a number in."""

    name: str
    factor: int = 1
    """How many of the units in which the value is kept make one of these."""

    def written(self, value: int) -> str:
        """A kept value as it stands in the file."""
        return str(value // self.factor)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(lambda value: value * self.factor, handler(source))


@dataclass(frozen=True, slots=True)
class Shift(Unit):
    """A shift of a metric, or `off`."""

    def written(self, value: int) -> str:
        """A kept value as it stands in the file."""
        return "off" if value == OFF else str(value)

    def read(self, value: object) -> object:
        """The kept value of what stands in the file. Raises ValueError."""
        # YAML 1.2 reads `off` as text, YAML 1.1 as false: both are what a person means by it.
        if value is False or value in ("off", OFF):
            return OFF
        if type(value) is not int or not 0 <= value <= WEIGHT_MAX:
            raise ValueError(f"expected a {self.name} from 0 to {WEIGHT_MAX}, or off")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))


Milliseconds = Annotated[int, Field(strict=True, ge=0, le=86_400_000), Unit("ms", US_PER_MS)]
"""Written in milliseconds, kept in the switch's microseconds."""
Word = Annotated[int, Field(strict=True, ge=0, le=2**16 - 1)]
"""A number of 16 bits."""
LeftShift = Annotated[int, Shift("left shift")]
RightShift = Annotated[int, Shift("right shift")]
