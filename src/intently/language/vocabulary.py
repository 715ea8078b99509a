"""A tokenizer learned from the corpus itself: WordPiece for BERT, byte-level BPE for RoBERTa and GPT.

WordPiece as BERT has it (Devlin et al., 2019): lower case, accents off, every Han character a word of its
own. Byte-level BPE as GPT-2 has it (Radford et al., 2019): any text is written without an unknown token,
emoji and mixed scripts too. Differently from both, the vocabulary is small (8,000 by default): titles of
one shop need few words, and most of a small model's weights would else be rare ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intently.errors import ArtifactError, InputError, MissingExtraError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KINDS: Final = ("bert", "roberta", "gpt")
LEAST_SIZE: Final = 300  # the 256 bytes, the special tokens and a few merges

_SPECIAL: Final = {
    "bert": {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "roberta": {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
    },
    "gpt": {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    },
}
_ENDS: Final = {"bert": "[CLS] $A [SEP]", "roberta": "<s> $A </s>", "gpt": "<|endoftext|> $A"}
_LONGEST_TEXT: Final = 2000  # characters of a text that the training of a vocabulary reads


def train_tokenizer(
    read: Callable[[], Iterable[str]], kind: str = "bert", *, size: int = 8000, max_tokens: int = 128
) -> Any:
    """A transformers tokenizer of at most `size` tokens; the same texts give the same one.

    read: gives the texts anew at each call; they are used as they stream by. max_tokens: where it cuts when
    asked to. Raises InputError for an unknown kind or a size that holds no vocabulary, MissingExtraError
    without transformers.
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}; allowed: {', '.join(KINDS)}", field="kind")
    if size < LEAST_SIZE:
        raise InputError(f"a vocabulary needs at least {LEAST_SIZE} tokens, got {size}", field="vocabulary")
    try:
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingExtraError("transformers", "train") from error
    special = list(dict.fromkeys(_SPECIAL[kind].values()))

    def short() -> Iterator[str]:
        return (text[:_LONGEST_TEXT] for text in read())

    tokenizer = _wordpiece(short, size, special) if kind == "bert" else _bytes(short(), size, special)
    _close(tokenizer, kind)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_tokens,
        model_input_names=["input_ids", "attention_mask"],
        **_SPECIAL[kind],
    )


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a transformers folder; no network, none of its code.

    Raises ArtifactError for one that cannot be read.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "train") from error
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a foreign library on a foreign folder: anything can come
        hint = "copy the model again"
        raise ArtifactError(f"the tokenizer in {folder} is damaged: {str(error)[:200]}", hint=hint) from error


def _wordpiece(read: Callable[[], Iterator[str]], size: int, special: list[str]) -> Tokenizer:
    """WordPiece, made repeatable.

    The trainer numbers the letters inside words in the order in which a hash map holds the words, another
    one at each run, and breaks ties by these numbers. Here every letter is numbered beforehand.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    normalizer = normalizers.BertNormalizer(lowercase=True)
    letters = _letters(map(normalizer.normalize_str, read()), max(100, size * 5 // 16))
    known = frozenset(letters)
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*special, *letters, *(f"##{letter}" for letter in letters)],
        show_progress=False,
    )
    texts = (normalizer.normalize_str(text) for text in read())
    trained.train_from_iterator((_without_others(text, known) for text in texts), trainer)
    tokenizer = Tokenizer(
        models.WordPiece(trained.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.add_special_tokens(special)  # of the trainer's special tokens only these stay special
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _letters(texts: Iterable[str], most: int) -> list[str]:
    """The most frequent characters but blanks, in their own order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    frequent = sorted(counts, key=lambda letter: (-counts[letter], letter))
    return sorted([letter for letter in frequent if not letter.isspace()][:most])


def _without_others(text: str, known: frozenset[str]) -> str:
    """Blanks in place of characters too rare to be learned."""
    return (
        text if known.issuperset(text.replace(" ", "")) else "".join(c if c in known else " " for c in text)
    )


def _bytes(texts: Iterator[str], size: int, special: list[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _close(tokenizer: Tokenizer, kind: str) -> None:
    """Special tokens around every text; GPT gets only the one before it, so that it can go on writing."""
    from tokenizers.processors import TemplateProcessing

    ends = [word for word in _ENDS[kind].split() if not word.startswith("$")]
    tokenizer.post_processor = TemplateProcessing(
        single=_ENDS[kind],
        special_tokens=[(word, tokenizer.token_to_id(word)) for word in dict.fromkeys(ends)],
    )
