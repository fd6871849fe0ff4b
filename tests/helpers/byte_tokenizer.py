"""A small tokenizer that is trained when a test asks for it."""

import pytest

WORDS = "the cat sat on a mat and it was good. The dog ran! yes no 12 3 é 🙂 system user assistant think\n\n"


def build(bos=True, sentencepiece=False, eos="<|im_end|>"):
    """A small tokenizer: byte-level BPE, or BPE that puts a space before every text, as SentencePiece does."""
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers import decoders, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>" if sentencepiece else None))
    special = ["<s>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if sentencepiece:
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        alphabet = sorted(set(WORDS + "|<>:;?,abcdefghijklmnopqrstuvwxyzQ" + "▁"))
    else:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=list(alphabet), show_progress=False
    )
    inner.train_from_iterator([WORDS] * 5, trainer)
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>" if bos else None, eos_token=eos, pad_token="<|pad|>",
        additional_special_tokens=special[1:3], clean_up_tokenization_spaces=False,
    )  # fmt: skip
