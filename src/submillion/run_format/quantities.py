"""The number types of a run's JSON files, each with the range that a reader relies on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=0, le=2**53)]
"""A number of rows, parameters or steps; exact as a float too."""
Share = Annotated[float, Field(ge=0, le=1 + 1e-9, allow_inf_nan=False)]
"""A share, accuracy or probability; a sum of rounded ones may exceed 1 in its last digits."""
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
"""A finite number that figures can be scaled to."""
Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
"""A finite number of seconds, megabytes or texts, not below zero."""
