"""The parameters of the flows with their titles, bounds and examples: Prefect's run form is made from these.

None of them may be null: the form then shows one field for each instead of a choice of types.
"""

from typing import Annotated, Literal

from pydantic import Field

__all__ = ["Digest", "MaxCost", "Providers", "Retakes", "Spec", "Yes"]

Spec = Annotated[
    str,
    Field(
        title="Storyboard",
        description="A .yaml, .json or .csv storyboard: a path on the machine that renders, or a storage address.",
        examples=["specs/examples/liftoff.yaml", "s3://boards/liftoff.yaml"],
        min_length=1,
        max_length=1000,
    ),
]
Providers = Annotated[
    list[Literal["animatic", "shortapi", "sjinn"]],
    Field(
        title="Providers",
        description="In order of preference, instead of the board's own. animatic renders locally and costs nothing.",
        examples=[["animatic"], ["shortapi", "sjinn"]],
    ),
]
MaxCost = Annotated[
    str,
    Field(
        title="Most to spend (USD)",
        description="Refuse the run when it would cost more. Empty: the board's own caps.",
        examples=["5.00"],
        pattern=r"^([0-9]{1,7}(\.[0-9]{1,6})?( USD)?)?$",
    ),
]
Digest = Annotated[
    str,
    Field(
        title="Approved digest",
        description="Buy exactly the plan with this digest (`rushes plan` prints it). Empty: the board's auto_approve "
        "decides, and above it the run waits here for a decision.",
        examples=["3f8a1c0de9b24"],
        max_length=64,
    ),
]
Yes = Annotated[
    bool,
    Field(
        title="Buy without asking",
        description="Nobody is asked within the operator's RUSHES_AUTO_CAP and the board's auto_approve; above them the run waits.",
    ),
]
Retakes = Annotated[
    dict[str, str],
    Field(
        title="Retakes",
        description="Shots that are wanted anew, each with the reason.",
        examples=[{"SH020": "the visor is too dark"}],
    ),
]
