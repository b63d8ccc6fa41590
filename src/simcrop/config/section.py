"""What every group of settings is made of: the frozen base class and the types of the values."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
BelowOne = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=6, multiple_of=2)]  # three sine-cosine axes
Axes3 = tuple[Count, Count, Count]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Tree = TypeVar("Tree", bound=Section)
