"""Golden values of packages/tokenizer: ids and offsets of the families of tokenizers, from Hugging Face's tokenizers.

Run from the repository's root: python bench/references/tokenizer_families.py TINYSHAKESPEARE
Writes packages/tokenizer/golden/<family>.json: a tokenizer trained on the start of the text given, with its answers.
"""
import json
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

golden = pathlib.Path(__file__).parents[2] / "packages/tokenizer/golden"
shakespeare = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
corpus = [shakespeare[:60_000], "naïve café 東京 日本語 Привет 👩‍👩‍👧 👍🏽 " * 20]
split = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
texts = [
    shakespeare[200_000:200_600], shakespeare[700_000:700_500], "", " ", "Hello, world!  Two  spaces\tand a tab\r\n\r\nnew lines   ",
    "don't won't they'll I'LL we've 12 345 6789 ½²Ⅷ٣", "naïve café cafe\u0301 e\u030a\u0301 ñ ﬁ Å Ünïcödé",
    "東京タワー 日本語のテキスト 한국어 \u1112\u1161\u11ab", "Emoji 👩‍👩‍👧 🇫🇷🇯🇵 👍🏽 ❤️!", "controls \u0000\u0007\u001b[0m \u200b zero",
    "<s>special</s> <|end|>tokens<|end|> and [MASK] [SEP]x", "snake_case camelCase https://example.org/a?b=c&d=%20",
]


def trained(model, trainer, normalizer=None, pre_tokenizer=None):
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def byte_level(normalizer, pre_tokenizer, **settings):
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>", "<|end|>", "<pad>"],
    )
    tokenizer = trained(models.BPE(**settings), trainer, normalizer, pre_tokenizer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def sentence_piece():
    """Llama 2: spaces are ▁, unknown characters fall back to bytes, nothing is cut before the merges."""
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, special_tokens=[])
    seed = trained(models.BPE(), trainer, None, pre_tokenizers.Metaspace())
    model = json.loads(seed.to_str())["model"]
    known = {token for token in model["vocab"] if all(ord(c) < 128 or c == "▁" for c in token)}
    tokens = ["<unk>", "<s>", "</s>", "<pad>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1]) if token in known]
    merges = [tuple(merge) for merge in model["merges"] if all(t in known for t in (*merge, "".join(merge)))]
    tokenizer = Tokenizer(models.BPE(
        vocab={token: i for i, token in enumerate(tokens)}, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True,
    ))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<pad>"])
    return tokenizer


def word_piece(lowercase):
    trainer = trainers.WordPieceTrainer(
        vocab_size=500, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "</s>"],
    )
    tokenizer = trained(
        models.WordPiece(unk_token="[UNK]"), trainer, normalizers.BertNormalizer(lowercase=lowercase),
        pre_tokenizers.BertPreTokenizer(),
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


families = {
    "gpt2": byte_level(None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "llama3": byte_level(
        None, pre_tokenizers.Sequence([pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]),
        ignore_merges=True,
    ),
    "qwen2": byte_level(
        normalizers.NFC(),
        pre_tokenizers.Sequence([pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]),
    ),
    "llama2": sentence_piece(),
    "bert": word_piece(True),
    "bert_cased": word_piece(False),
}
source = {"script": "bench/references/tokenizer_families.py", "versions": {"tokenizers": tokenizers.__version__}}
for name, tokenizer in families.items():
    cases = []
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        cases.append({
            "text": text, "ids": encoding.ids, "offsets": encoding.offsets,
            "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=False),
        })
    content = {"source": source, "tokenizer": json.loads(tokenizer.to_str()), "cases": cases}
    (golden / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
