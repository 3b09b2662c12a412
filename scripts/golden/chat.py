"""Conversations rendered by chat templates, with the parts in {% generation %}.

Reference: transformers 5.24.0 (utils.chat_template_utils.render_jinja_template) with jinja2 3.1.6.
Command:   python scripts/golden/chat.py
Writes:    test/fixtures/chat.json: {variables, templates: {name: text}, conversations: {name: messages},
           rendered: [{template, conversation, plain, prompted (with add_generation_prompt), answers (texts)}]}
           or {template, conversation, error} where the template refuses

The templates are written for this test, in the manners of common checkpoints.
"""

import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

FILE = Path(__file__).resolve().parents[2] / "test/fixtures/chat.json"
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}

TEMPLATES = {
    "marks": """{%- if messages[0].role != 'system' -%}
{{ '<|begin|>system\\nBe helpful.<|end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
    {{ '<|begin|>' + message['role'] + '\\n' + message.content + '<|end|>' + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<|begin|>assistant\\n' }}
{%- endif -%}
""",
    "headers": """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set system = '' %}
    {%- set rest = messages %}
{%- endif %}
{%- if strftime_now is not defined %}{% set day = 'no day' %}{% endif %}
{{- '<|head|>system<|body|>\\n\\n' ~ (day if day is defined else 'a day') ~ '\\n' ~ system ~ '<|turn|>' }}
{%- for message in rest %}
    {{- '<|head|>' ~ message.role ~ '<|body|>\\n\\n' ~ message.content | trim ~ '<|turn|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|head|>assistant<|body|>\\n\\n' }}{% endif %}""",
    "instruct": """{{ bos_token }}{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('user and assistant must take turns, not ' + message.role) }}
{% endif %}
{% if message['role'] == 'user' %}
{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}
{%- elif message['role'] == 'assistant' %}
{{ ' ' + message['content'] + eos_token }}
{%- else %}
{{ raise_exception('only user and assistant, not ' + message.role) }}
{% endif %}
{% endfor %}""",
    "lines": """{% set ns = namespace(count=0) %}
{% for message in messages %}
  {% if message.role == 'user' %}
    {% set ns.count = ns.count + 1 %}
Question {{ ns.count }}: {{ message.content }}
  {% elif message.role == 'assistant' %}
Answer: {{ message.content }}{{ '\\n' if not loop.last else '\\n' }}
  {% else %}
{{ message.role | upper }}: {{ message.content }}

  {% endif %}
{% endfor %}
{% if add_generation_prompt %}
Answer:{% endif %}""",
    "generation": """{%- for message in messages %}
  {%- if message.role == 'assistant' %}
<|a|>{% generation %}{{ message.content }}<|e|>
{% endgeneration %}
  {%- else %}
{{ '<|' ~ message.role ~ '|>' }}
    {{- message.content }}<|e|>
{% endif %}
{% endfor %}
{%- if add_generation_prompt %}<|a|>{% endif %}""",
    "generation-tight": """{% for message in messages %}
{% if message.role == 'assistant' %}
A:
   {%- generation -%}
   {{ message.content ~ eos_token }}
   {%- endgeneration -%}
{% else %}
{{ message.role[0] | upper }}: {{ message.content }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}A:{% endif %}""",
    "macro": """{%- macro turn(message) -%}
[{{ message.role }}]{{ message | tojson if message.role == 'tool' else message.content }}[/]
{%- endmacro -%}
{%- for message in messages if message.content -%}
{{ turn(message) }}{# between turns #}
{% endfor -%}
{%- if add_generation_prompt %}[assistant]{% endif -%}
""",
}

CONVERSATIONS = {
    "one": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}],
    "two": [
        {"role": "user", "content": " Is it  \"late\"?\n"},
        {"role": "assistant", "content": "It is.\nVery."},
        {"role": "user", "content": "Why is it?"},
        {"role": "assistant", "content": "It is."},
    ],
    "system": [
        {"role": "system", "content": "  Answer in ünïcödé 🙂 {{ not a tag }} {% nor this %}  "},
        {"role": "user", "content": "日本?"},
        {"role": "assistant", "content": "はい 🙂"},
    ],
    "tool": [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "4", "name": "sum"},
        {"role": "assistant", "content": "4"},
    ],
    "unanswered": [{"role": "user", "content": "Anybody?"}],
}


def render(template, messages, prompt):
    marks = "{% generation" in template or "{%- generation" in template
    texts, spans = render_jinja_template(
        [messages],
        chat_template=template,
        return_assistant_tokens_mask=marks,
        add_generation_prompt=prompt,
        **VARIABLES,
    )
    return texts[0], [texts[0][start:end] for start, end in (spans[0] if marks else [])]


def row(name, template, conversation, messages):
    found = {"template": name, "conversation": conversation}
    try:
        plain, answers = render(template, messages, False)
    except Exception as error:
        return {**found, "error": str(error)}
    return {**found, "plain": plain, "prompted": render(template, messages, True)[0], "answers": answers}


def main():
    # transformers always has a clock, hedgehog only where a date is given.
    templates = {name: text.replace("strftime_now is not defined", "none is none") for name, text in TEMPLATES.items()}
    rows = [
        row(name, template, conversation, messages)
        for name, template in templates.items()
        for conversation, messages in CONVERSATIONS.items()
    ]
    data = {"variables": VARIABLES, "templates": TEMPLATES, "conversations": CONVERSATIONS, "rendered": rows}
    FILE.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
