"""Golden values of packages/tokenizer: merges, vocabulary and ids from Hugging Face's tokenizers."""

import json
import pathlib
import platform
import random

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

seed = 7
golden = pathlib.Path(__file__).parents[2] / "packages/tokenizer/golden"
prose = "\n".join(
    [
        "The river runs low in the late summer, and the rower who rows along it knows each stone by name.",
        "\"Don't hurry,\" she'd say, \"we'll be there when we're there; they've never started without us!\"",
        "Low water shows the lower stones; the lowest stones show only in the driest years, 1976 and 2018 among them.",
        "",
        "\tA tab starts this line.  Two spaces follow that sentence,   and three precede this clause.",
        "She counted: 1, 2, 3, 10, 100, 1000 – then ½ and ² and Ⅷ, for the fun of it.",
        "In Tōkyō (東京) the boatman calls 「おはよう」; in Москва he says «Привет, привет!»; in القاهرة he says مرحبا.",
        "Naïve café owners wrote cafe\u0301 with a combining accent: café, e\u030a, ñ.",
        "Emoji travel in families 👩\u200d👩\u200d👧 and flags 🇫🇷🇯🇵, with skin tones 👍🏽 and hearts ❤\ufe0f and more hearts ❤\ufe0f.",
        "aaaa aaaaa aaaaaaaa abababab babababa banana bananas bandana",
        "rowing rowed rower rowers throwing thrown thrower growing grown grower",
        "the the the the then than that this those these there theirs thereof",
        "a line ends with carriage return\r",
        "non-breaking\u00a0space, next\u0085line, zero\u200bwidth, mark\ufeff, null\u0000 and bell\u0007.",
        "",
    ]
)
probes = [
    "The lower the river, the slower the rower.",
    "  two  spaces\tand a tab\r\n\r\nnew lines   ",
    "don't won't they'll I'LL we've",
    "naïve café e\u0301 ﬁ 東京 Привет 👩‍👩‍👧 \u0000\u0007\u0085\ufeff\u200b end",
    "12 345 ²½ Ⅷ ٣",
    "stop<|endoftext|>go <|pad|><|endoftext|>",
    "",
]


def train(texts, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=["<|endoftext|>", "<|pad|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def tie_heavy(rng, letters, words):
    """Few letters: many equal counts, runs of one letter, and tokens that two different pairs spell."""
    return " ".join("".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(words))


rng = random.Random(seed)
cases = []
for texts, vocab_size in [
    ([prose], 420),
    (prose.splitlines(keepends=True), 300),
    ([tie_heavy(rng, "ab", 60)], 400),
    ([tie_heavy(rng, "aab", 90)], 330),
    ([tie_heavy(rng, "abc", 80), tie_heavy(rng, "cd", 40)], 500),
]:
    trained = json.loads(train(texts, vocab_size).to_str())
    model = trained["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    cases.append({"texts": texts, "vocabSize": vocab_size, "tokens": len(model["vocab"]), "merges": merges})

tokenizer = train([prose], 420)
shell = json.loads(tokenizer.to_str())
shell["model"]["vocab"], shell["model"]["merges"] = {}, []
(golden / "bpe.json").write_text(
    json.dumps(
        {
            "source": {
                "script": "bench/references/tokenizer_bpe.py",
                "versions": {"python": platform.python_version(), "tokenizers": tokenizers.__version__},
                "seed": seed,
            },
            "shell": shell,
            "vocab": tokenizer.get_vocab(),
            "cases": cases,
            "probes": [{"text": text, "ids": tokenizer.encode(text).ids} for text in probes],
        },
        ensure_ascii=False,
    )
    + "\n",
    encoding="utf-8",
)
