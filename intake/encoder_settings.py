"""`[encoder]` of dataset.toml: the language model that encodes text, and others beside it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from intake.model_settings import Section
from intake.server_settings import EncoderServer

CandidateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class EncoderPrompts(Section):
    """`[encoder.prompts]`: what stands before a text, by what it is; None: as the model says.

    Attributes
    ----------
    item : before the text of an item
    behaviour : before what a user did
    query : before what a user typed
    """

    item: str | None = None
    behaviour: str | None = None
    query: str | None = None


class Encoder(Section):
    """`[encoder.candidates.<name>]`: another encoder, to be tried beside the main one.

    Attributes
    ----------
    model : a name on the Hugging Face hub, a folder, or the name that a server knows
    server : where the model is not computed here; `dimension` is then needed
    max_tokens : tokens of a text that the model reads; None: as its authors meant it
    pooling : how token vectors become one; None: as the model says
    prompts : what stands before each text
    dimension : leading numbers of a vector that are kept, of a model trained for it; None: all
    device : "cpu", "cuda", "cuda:1"; several, as "cuda:0, cuda:1"; None: CUDA where there is one
    dtype : numbers of the computation; None: the fastest that is precise enough
    batch_tokens : padded tokens of one forward pass; None: as the device likes it
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    server: EncoderServer | None = None
    max_tokens: Annotated[int, Field(ge=4)] | None = None
    pooling: str | None = None
    prompts: EncoderPrompts = EncoderPrompts()
    dimension: Annotated[int, Field(ge=1)] | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    batch_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What `describe_encoder` takes beside the model."""
        return {
            "max_tokens": self.max_tokens,
            "pooling": self.pooling,
            "prompts": self.prompts.model_dump(),
            "dimension": self.dimension,
            "server": None if self.server is None else self.server.model_dump(),
        }

    @property
    def placement(self) -> dict[str, Any]:
        """Where the encoder computes; vectors stay the same."""
        return {"device": self.device, "dtype": self.dtype, "batch_tokens": self.batch_tokens}


class MainEncoder(Encoder):
    """`[encoder]`: the language model that encodes text.

    Attributes
    ----------
    candidates : by name the encoders beside it, whose vectors are kept too
    """

    candidates: dict[CandidateName, Encoder] = Field(default_factory=dict)

    @property
    def every(self) -> Iterator[Encoder]:
        """Itself, and the candidates."""
        yield self
        yield from self.candidates.values()
