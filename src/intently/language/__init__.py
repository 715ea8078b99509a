"""Pre-trained language models read the catalogue.

`TextEncoder` turns texts into unit vectors with any transformers folder (an English sentence model comes
with the extra `demo`); `encode_catalogue` does it for every item of a shop. Vectors are cached by the
content of the text, so that a second run encodes only what is new. Nothing is fetched from a network,
no code of a model runs, and torch loads only when a text is really encoded the exact way.

    folder.py     finds a model folder and checks it      cache.py      vectors on disk, by content
    encoder.py    TextEncoder                             exact.py      torch, fp32
    catalogue.py  which text of an item is read           fast.py       ONNX Runtime, int8 (quantise.py)
"""

from intently.language.catalogue import catalogue_text, encode_catalogue
from intently.language.encoder import TextEncoder

__all__ = ["TextEncoder", "catalogue_text", "encode_catalogue"]
