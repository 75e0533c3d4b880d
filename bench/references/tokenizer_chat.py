"""Golden values of packages/tokenizer: chat templates as apply_chat_template of Hugging Face's transformers renders them.

Run from the repository's root, after tokenizer_families.py: python bench/references/tokenizer_chat.py
Writes packages/tokenizer/golden/chat.json.
"""
import json
import pathlib
import tempfile

import transformers

golden = pathlib.Path(__file__).parents[2] / "packages/tokenizer/golden"
templates = {
    "ChatML": """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}""",
    "Llama": """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set system = 'You are helpful.' %}
    {%- set rest = messages %}
{%- endif %}
{{- '[system] ' + system + '\\n' }}
{%- for message in rest %}
    {%- if message['role'] == 'assistant' %}
        {{- '[assistant] ' }}
        {%- generation -%}
        {{- message['content'] | trim + eos_token }}
        {%- endgeneration -%}
        {{- '\\n' }}
    {%- else %}
        {{- '[' + message['role'] + '] ' + message['content'] | trim + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '[assistant] ' }}{%- endif %}""",
    "loose white space": """{% for message in messages %}
{% if message['role'] == 'user' %}
User: {{ message['content'] }}
{% elif message['role'] == 'assistant' %}
Assistant: {% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}

{% endif %}
{% endfor %}
{% if add_generation_prompt %}
Assistant:{% endif %}""",
}
conversations = [
    [{"role": "user", "content": "Hello, who are you?"}, {"role": "assistant", "content": "A café owner in 東京 👩‍👩‍👧."}],
    [
        {"role": "system", "content": " Be brief. "}, {"role": "user", "content": "One?\n"},
        {"role": "assistant", "content": "Two."}, {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": "Three, naïve one!"},
    ],
    [{"role": "user", "content": "What says the king?"}],
]
file = json.loads((golden / "llama3.json").read_text(encoding="utf-8"))["tokenizer"]
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "tokenizer.json"
    path.write_text(json.dumps(file))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(path), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
cases = []
for name, template in templates.items():
    for messages in conversations:
        for prompt in (False, True):
            settings = dict(chat_template=template, add_generation_prompt=prompt)
            encoded = tokenizer.apply_chat_template(
                messages, **settings, tokenize=True, return_dict=True, return_assistant_tokens_mask="endgeneration" in template
            )
            cases.append({
                "template": name, "messages": messages, "addGenerationPrompt": prompt,
                "text": tokenizer.apply_chat_template(messages, **settings, tokenize=False), "ids": encoded["input_ids"],
                "mask": encoded.get("assistant_masks"),
            })
source = {
    "script": "bench/references/tokenizer_chat.py", "versions": {"transformers": transformers.__version__},
    "tokenizer": "llama3.json",
}
content = {"source": source, "templates": templates, "cases": cases}
(golden / "chat.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
