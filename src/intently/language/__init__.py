"""Pre-trained language models read the catalogue.

`TextEncoder` turns texts into unit vectors with any transformers folder (an English and a multilingual
sentence model come with the extra `demo`; `choose_encoder` says which a shop gets); `encode_catalogue` does
it for every item of a shop. Vectors are cached by the content of the text, so that a second run encodes only
what is new. Nothing is fetched from a network, no code of a model runs, and torch loads only when a text is
really encoded the exact way.

    folder.py     finds a model folder and checks it      cache.py      vectors on disk, by content
    encoder.py    TextEncoder                             exact.py      torch, fp32
    catalogue.py  which text of an item is read           fast.py       ONNX Runtime, int8 (quantise.py)
    choice.py     which encoder a shop gets               multilingual.py  the Chinese one, made once
                                                          e5s1.py          the file it is made from
"""

from intently.language.catalogue import catalogue_text, encode_catalogue
from intently.language.choice import choose_encoder
from intently.language.encoder import TextEncoder

__all__ = ["TextEncoder", "catalogue_text", "choose_encoder", "encode_catalogue"]
