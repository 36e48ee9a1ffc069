"""The base of what routes answer with."""

from pydantic import BaseModel, ConfigDict


class Documented(BaseModel):
    """A model whose fields are described, in OpenAPI, by the docstrings under them."""

    model_config = ConfigDict(use_attribute_docstrings=True)
