"""Makes forms.json: what templates print when a message's content is one string, and when it is a list of parts.

Run: python make_forms.py   (writes forms.json beside itself; needs transformers and jinja2)

Each conversation is rendered by transformers' own environment with the content of every role in either form. `texts` has the prompt for
each choice of forms, named by one letter a role (`s` for a string, `p` for parts); nothing where the template refuses it. Which of them is right
follows from the prompts alone: every message's words stand in it, and no list in Python's notation does.
"""

import itertools
import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = pathlib.Path(__file__).parent

CONVERSATIONS = {
    "user": [("user", "How many discs?")],
    "system": [("system", "Be brief."), ("user", "How many discs?")],
    "turns": [("user", "How many discs?"), ("assistant", "Two."), ("user", "Which colours?")],
    "all": [("system", "Be brief."), ("user", "How many discs?"), ("assistant", "Two."), ("user", "Which colours?")],
}

TURN = "<|im_start|>{{ m.role }}\n"
END = "<|im_end|>\n"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
PARTS = "{% for part in m.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}"

OWN = {
    "prints": "{% for m in messages %}" + TURN + "{{ m.content }}" + END + "{% endfor %}" + ASK,
    "adds": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}" + ASK,
    "joins with ~": "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\n' }}{% endfor %}",
    "trims": "{% for m in messages %}" + TURN + "{{ m.content | trim }}" + END + "{% endfor %}" + ASK,
    "formats": "{% for m in messages %}{{ '%s: %s\n' % (m.role, m.content) }}{% endfor %}",
    "parts alone": "{% for m in messages %}" + TURN + PARTS + END + "{% endfor %}" + ASK,
    "first part": "{% for m in messages %}" + TURN + "{{ m.content[0].text }}" + END + "{% endfor %}" + ASK,
    "either": "{% for m in messages %}" + TURN + "{% if m.content is string %}{{ m.content }}{% else %}" + PARTS
              + "{% endif %}" + END + "{% endfor %}" + ASK,
    "system is a string": "{% if messages[0].role == 'system' %}<s>{{ messages[0].content }}</s>{% set messages = messages[1:] %}{% endif %}"
                          "{% for m in messages %}" + TURN + PARTS + END + "{% endfor %}" + ASK,
    "user is a string": "{% for m in messages %}{% if m.role == 'user' %}<u>{{ m.content }}</u>{% else %}" + TURN + PARTS + END
                        + "{% endif %}{% endfor %}" + ASK,
    "assistant is a string": "{% for m in messages %}{% if m.role == 'assistant' %}<a>{{ m.content.split('</think>')[-1] }}</a>{% else %}"
                             + TURN + PARTS + END + "{% endif %}{% endfor %}" + ASK,
    "no system": "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
                 + TURN + "{{ m.content }}" + END + "{% endfor %}" + ASK,
    "wants a system": "{% if messages[0].role != 'system' %}{{ raise_exception('a system message comes first') }}{% endif %}"
                      "{% for m in messages %}" + TURN + "{{ m.content }}" + END + "{% endfor %}" + ASK,
    "refuses strings": "{% for m in messages %}{% if m.content is string %}{{ raise_exception('lists only') }}{% endif %}" + TURN + PARTS + END
                       + "{% endfor %}" + ASK,
    "refuses lists": "{% for m in messages %}{% if m.content is not string %}{{ raise_exception('strings only') }}{% endif %}" + TURN
                     + "{{ m.content }}" + END + "{% endfor %}" + ASK,
    "looks for a mark": "{% for m in messages %}{% if '<image>' not in m.content %}" + TURN + "{% endif %}{{ m.content }}" + END
                        + "{% endfor %}" + ASK,
}


def render(template, special, messages, form):
    content = lambda text, letter: text if letter == "s" else [{"type": "text", "text": text}]
    messages = [{"role": role, "content": content(text, form[role])} for role, text in messages]
    try:
        return _compile_jinja_template(template).render(messages=messages, add_generation_prompt=True, tools=None, documents=None, **special)
    except Exception:  # whatever it is, there is no prompt
        return None


def main():
    templates = {name: (text, {}) for name, text in OWN.items()}
    for folder in sorted(HERE.iterdir()):
        if (folder / "renders.json").exists():
            special = json.loads((folder / "renders.json").read_text())["special"]
            templates[folder.name] = ((folder / "chat_template.jinja").read_text(), special)
    cases = []
    for name, (template, special) in templates.items():
        for about, messages in CONVERSATIONS.items():
            roles = list(dict.fromkeys(role for role, _ in messages))
            texts = {}
            for letters in itertools.product("sp", repeat=len(roles)):
                text = render(template, special, messages, dict(zip(roles, letters)))
                if text is not None:
                    texts["".join(letters)] = text
            case = {"name": name, "about": about, "roles": roles, "messages": messages, "texts": texts}
            if name in OWN:
                case["template"] = template
            cases.append(case)
    made_by = f"transformers {transformers.__version__}, jinja2 {jinja2.__version__}"
    text = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "forms.json").write_text(f'{{"made_by": "{made_by}", "cases": [\n{text}\n]}}\n')


main()
