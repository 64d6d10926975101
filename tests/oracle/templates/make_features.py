"""Makes features.json: what transformers' chat-template environment prints for the Jinja that templates use.

Run: python make_features.py   (writes features.json beside itself; needs transformers and jinja2)
"""

import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be brief. "},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What's \"this\"?\n"}]},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA disc.", "tool_calls": [
            {"function": {"name": "look", "arguments": {"x": 1, "deep": [True, None, 1.5, "é<&'"]}}}]},
        {"role": "user", "content": "And?"},
    ],
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {"b": 1, "a": [], "c": {}}}}],
    "documents": None,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "numbers": [1, 1.0, 0.1, 1e-5, 1e16, 1e22, 123456789012345680.0, -0.0, 1.5e300, 9007199254740993],
    "empty": [],
}

SNIPPETS = {
    "trailing newline": "a\n",
    "trim and lstrip": "x\n   {% if true %}\n  y\n   {% endif %}\nz\n\n",
    "white space control": "a  {%- if true -%}  b  {%+ endif +%}\n c {{- 'd' -}}  e",
    "comment lines": "a\n  {# a comment #}\nb{#- tight -#} c",
    "generation": "a{% generation %}\n b{{ messages[0].role }}{% endgeneration %}\nc",
    "generation tight": "a {%- generation -%} b {%- endgeneration -%} c",
    "generation scope": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "loop controls": "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}"
                     "{% if loop.last %}{% break %}{% endif %}{{ m.role }},{% endfor %}",
    "loop variables": "{% for m in messages %}{{ loop.index }}{{ loop.revindex0 }}{{ loop.first }}"
                      "{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if not loop.last }}{{ loop.length }};{% endfor %}",
    "loop filter and else": "{% for m in messages if m.role == 'user' %}{{ loop.index }}{% else %}none{% endfor %}"
                            "{% for m in empty %}{% else %}none{% endfor %}",
    "namespace": "{% set ns = namespace(found=false, n=0) %}{% for m in messages %}"
                 "{% set ns.n = ns.n + 1 %}{% set ns.found = m.role %}{% endfor %}{{ ns.n }}{{ ns.found }}",
    "loop scope": "{% set x = 1 %}{% for m in messages %}{% set x = 2 %}{% endfor %}{{ x }}",
    "slices": "{{ messages[1:]|length }}{{ messages[::-1][0].role }}{{ messages[:-1]|length }}{{ messages[-1].role }}"
              "{{ 'abcdef'[1:4] }}{{ 'abcdef'[::-1] }}{{ 'abcdef'[-2:] }}{{ messages[1:3][0].role }}",
    "slices of nothing": "{{ empty[1:] }}{{ ''[:-1] }}{{ empty[:-1]|length }}",
    "reversed slices of nothing": "{{ empty[::-1] }}{{ ''[::-1] }}",
    "undefined through filters": "{{ nothing|list }}{{ nothing|trim }}{{ nothing|join(',') }}{{ nothing|string }}"
                                 "{{ nothing|lower }}{{ nothing|count }}",
    "first of nothing": "{{ nothing|first }}",
    "lengths": "{{ 'aé'|length }}{{ messages[0]|length }}{{ messages[1:]|length }}{{ range(4)|length }}",
    "length of a number": "{{ 1|length }}",
    "sequences": "{{ 'a' is sequence }}{{ messages[0] is sequence }}{{ messages[1:] is sequence }}{{ 1 is sequence }}"
                 "{{ none is sequence }}{{ nothing is sequence }}",
    "iterables": "{{ none is iterable }}{{ 1 is iterable }}{{ nothing is iterable }}{{ messages[0].content is iterable }}{{ messages[1:] is iterable }}{{ messages[1:] is string }}",
    "tests": "{{ nothing is defined }}{{ documents is none }}{{ messages is iterable }}{{ 'a' is string }}"
             "{{ messages[0] is mapping }}{{ messages is sequence }}{{ 1 is number }}{{ true is boolean }}"
             "{{ 'a' is iterable }}{{ messages[0] is iterable }}{{ none is not none }}{{ 1 is integer }}"
             "{{ 1.0 is float }}{{ messages is mapping }}{{ true is true }}{{ 3 is odd }}{{ 'a' is sequence }}",
    "membership": "{{ 'role' in messages[0] }}{{ 'x' not in messages[0] }}{{ 'is' in 'disc' }}{{ 2 in [1, 2] }}",
    "undefined prints nothing": "[{{ nothing }}{{ messages[0].nothing }}{{ messages[0]['nothing'] }}]",
    "undefined is false": "{{ 'a' if nothing else 'b' }}{% if not messages[0].nothing %}c{% endif %}",
    "undefined iterates as empty": "{% for x in nothing %}x{% endfor %}[{{ nothing|length }}]",
    "undefined attribute of undefined": "{{ nothing.deeper }}",
    "undefined concatenation": "{{ 'a' ~ nothing }}{{ nothing ~ 'b' }}",
    "undefined addition": "{{ 'a' + nothing }}",
    "string and list addition": "{{ 'a' + messages[1].content }}",
    "string and number addition": "{{ 'a' + 1 }}",
    "none prints": "{{ none }}{{ documents }}{{ true }}{{ [none, true, 'a', 1.0] }}{{ {'a': 'b', 'c': [1]} }}",
    "list repr": "{{ ['it\\'s', \"say \\\"hi\\\"\", 'both \\' \"', 'é\\n\\\\'] }}",
    "tuple repr": "{{ (1, 'a') }}{{ (1,) }}",
    "item of text": "{{ messages[0].content[0]['type'] }}{{ messages[0].content[0].type is defined }}",
    "text iterates": "{% for c in 'aé' %}{{ c }}.{% endfor %}{{ 'aé'|list }}",
    "selectattr": "{{ messages[1].content|selectattr('type', 'equalto', 'text')|map(attribute='text')|list }}"
                  "{{ 'text'|selectattr('type', 'equalto', 'image')|list }}"
                  "{{ messages|rejectattr('role', 'equalto', 'user')|map(attribute='role')|join(',') }}",
    "string methods": "{{ ' a '.strip() }}{{ 'xxaxx'.strip('x') }}{{ 'a\\n'.rstrip('\\n') }}{{ ' a'.lstrip() }}|"
                      "{{ 'a,b,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ ' a  b '.split() }}{{ 'ab'.upper() }}"
                      "{{ 'AB'.lower() }}{{ 'ab cd'.title() }}{{ 'aB'.capitalize() }}{{ 'ab'.startswith('a') }}"
                      "{{ 'ab'.endswith(('b', 'c')) }}{{ 'aab'.replace('a', 'c') }}{{ 'aab'.replace('a', 'c', 1) }}"
                      "{{ 'abcb'.find('b') }}{{ 'abcb'.rfind('b') }}{{ 'abcb'.count('b') }}{{ 'a'.isdigit() }}"
                      "{{ ','.join(['a', 'b']) }}{{ 'x{}y{n}'.format(1, n=2) }}",
    "more string methods": "{{ 'prefix-a'.removeprefix('prefix-') }}{{ 'a.txt'.removesuffix('.txt') }}"
                           "{{ 'a=b=c'.partition('=')[2] }}{{ 'a=b=c'.rpartition('=')[0] }}{{ 'abc'.partition('x') }}",
    "think split": "{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}|"
                   "{{ messages[2].content.split('</think>')[0].split('<think>')[-1].strip('\\n') }}",
    "mapping methods": "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0].keys()|list }}"
                       "{{ messages[0].values()|list }}{{ messages[0].get('role') }}{{ messages[0].get('x', 'y') }}"
                       "{{ messages[0].get('x') }}{% for k, v in messages[0]|items %}{{ k }}{% endfor %}",
    "filters": "{{ ' a '|trim }}{{ 'user'|capitalize }}{{ 'a b'|upper }}{{ messages|length }}{{ [1, 2]|first }}"
               "{{ [1, 2]|last }}{{ [3, 1]|sort }}{{ nothing|default('d') }}{{ ''|default('e', true) }}{{ '1'|int + 1 }}"
               "{{ ['a', 'b']|join('-') }}{{ 'a'|string }}{{ [1, 1, 2]|unique|list }}{{ 'ab'|reverse }}{{ {'b': 1, 'a': 2}|dictsort }}"
               "{{ 'aXb'|replace('X', '-') }}{{ 'a\\nb'|indent(2) }}{{ 1.7|round }}{{ 1.7|int }}{{ [1, 2]|sum }}{{ -1|abs }}",
    "filter on expression": "{{ (messages[0].content if messages[0].content is string else '')|trim + '!' }}",
    "conditional expression": "{{ 'a' if false }}{{ ('b' if true else 'c') + 'd' }}",
    "arithmetic": "{{ 7 // 2 }}{{ 7 % 3 }}{{ 7 / 2 }}{{ 4 / 2 }}{{ 2 ** 3 }}{{ -7 // 2 }}{{ 1 + 2 * 3 }}{{ 'ab' * 2 }}",
    "comparison": "{{ (messages[0].role == 'user') != (0 % 2 == 0) }}{{ 1 < 2 < 3 }}{{ 'a' < 'b' }}{{ 1 == 1.0 }}",
    "boolean operators give operands": "{{ '' or 'a' }}{{ 'a' and 'b' }}{{ none or 'c' }}{{ not '' }}{{ 0 or [] }}",
    "numbers": "{% for n in numbers %}{{ n }} {% endfor %}",
    "number tojson": "{{ numbers|tojson }}",
    "tojson": "{{ tools|tojson }}{{ messages[2].tool_calls[0].function.arguments|tojson }}{{ 'a\\u0001/<b>'|tojson }}",
    "tojson indent": "{{ tools|tojson(indent=4) }}{{ tools|tojson(indent=none) }}",
    "tojson options": "{{ tools|tojson(separators=(',', ':')) }}{{ tools|tojson(sort_keys=true) }}"
                      "{{ 'é😀\\u007f'|tojson(ensure_ascii=true) }}{{ tools|tojson(indent=1, separators=(', ', ' : ')) }}",
    "tojson of keys": "{{ {2: 'a', none: 'b', true: 'c', 1.5: 'd'}|tojson }}{{ (1, 2)|tojson }}",
    "macro": "{% macro show(text, mark='!') -%}\n{{ text }}{{ mark }}\n{%- endmacro %}{{ show('a') }}{{ show('b', mark='?') }}"
             "{{ show(mark='.', text='c') }}",
    "call block": "{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}in{% endcall %}",
    "set block": "{% set x %}a{{ bos_token }}b{% endset %}{{ x }}{{ x|length }}",
    "filter block": "{% filter upper %}abc{% endfilter %}",
    "unpacking": "{% set a, b = 'x', 'y' %}{{ b }}{{ a }}{% for k, v in [('p', 1), ('q', 2)] %}{{ k }}{{ v }}{% endfor %}",
    "with": "{% with a = 1 %}{{ a }}{% endwith %}{{ a is defined }}",
    "raw": "{% raw %}{{ x }}{% endraw %}",
    "string escapes": "{{ 'a\\tb\\'c\\\\d\\u00e9\\x41' }}{{ \"it's\" }}{{ 'two' 'words' }}",
    "range and cycler": "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(1, 10, 4)|list }}{{ loop is defined }}",
    "dict function": "{{ dict(a=1)['a'] }}{{ dict(a=1, b=2)|length }}",
    "printf formatting": "{{ '%s-%d'|format('a', 2) }}",
    "percent formatting": "{{ '%s-%s' % ('a', 'b') }}",
    "raise": "{{ raise_exception('Only user and assistant roles are supported!') }}",
    "raise in a branch not taken": "{% if false %}{{ raise_exception('no') }}{% endif %}ok",
    "alternation check": "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
                         "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}",
    "strftime": "{{ strftime_now('') }}{{ strftime_now('%Y')|length }}{% if strftime_now is defined %}y{% endif %}",
    "no autoescape": "{{ '<b>&' }}{{ '<b>'|e }}",
    "chained attribute of none": "{{ documents.x }}",
    "missing method": "{{ 'a'.missing() }}",
    "list append is refused": "{% set x = [] %}{{ x.append(1) }}",
    "unknown filter": "{{ 'a'|nosuchfilter }}",
    "nested loop outer": "{% for a in [1, 2] %}{% set outer = loop %}{% for b in [1, 2] %}{{ outer.index }}{{ loop.index }} "
                         "{% endfor %}{% endfor %}",
    "recursive loop": "{% for n in [{'v': 1, 'c': [{'v': 2, 'c': []}]}] recursive %}{{ n.v }}{{ loop(n.c) }}{% endfor %}",
    "groupby": "{% for k, g in messages|groupby('role') %}{{ k }}{{ g|length }}{% endfor %}",
    "integer division of index": "{{ loop_index|default(5) // 2 }}",
    "multi line expression": "{{\n  'a'\n  ~ 'b'\n}}",
    "sort by attribute": "{% for p in messages[1].content|sort(attribute='type', reverse=true) %}{{ p.type }}{% endfor %}",
    "growing list": "{% set ns = namespace(l=[]) %}{% for m in messages %}{% set ns.l = ns.l + [m.role] %}{% endfor %}"
                    "{{ ns.l }}{{ ns.l|length }}{{ ns.l[-1] }}{{ ns.l[1:] }}{{ (ns.l + ['x'])|join('|') }}",
    "selecting": "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}"
                 "{{ messages|selectattr('tool_calls', 'defined')|list|length }}"
                 "{{ messages|map(attribute='content')|select('string')|list|length }}{{ ['a', 'b']|map('upper')|list }}"
                 "{{ messages|selectattr('role', 'in', ['user', 'system'])|list|length }}",
    "defined and not none": "{% if messages[2].tool_calls is defined and messages[2].tool_calls is not none %}a{% endif %}"
                            "{% if messages[0].tool_calls is defined and messages[0].tool_calls %}b{% endif %}"
                            "{% if tools is not none and tools|length > 0 %}c{% endif %}",
    "elif": "{% for m in messages %}{% if m.role == 'system' %}S{% elif m.role in ['user', 'tool'] %}U{% else %}A{% endif %}"
            "{% endfor %}",
    "iterating maps": "{% for k in messages[0] %}{{ k }}{% endfor %}{% for k in messages[0]|sort %}{{ k }}{% endfor %}"
                      "{{ messages[0]|list }}{{ messages[0].items()|list }}",
    "not in and not is": "{{ not 'a' in 'b' }}{{ 'a' is not string }}{{ not nothing }}{{ (nothing or 'x') is string }}",
    "safe and string": "{{ '<a>'|safe }}{{ [1]|tojson|string }}{{ 1|string + 'a' }}{{ '%.2f'|format(1.5) }}",
    "macro with defaults from outside": "{% set mark = '#' %}{% macro f(x, y=1) %}{{ mark }}{{ x }}{{ y }}{% endmacro %}"
                                        "{{ f('a') ~ f('b', 2) }}{{ f('c')|trim|upper }}",
    "macro over parts": "{%- macro visible(content) -%}{%- if content is string -%}{{- content -}}"
                        "{%- elif content is iterable and content is not mapping -%}{%- for item in content -%}"
                        "{%- if item is mapping and item.type == 'text' -%}{{- item.text -}}{%- elif item is string -%}"
                        "{{- item -}}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endmacro -%}"
                        "{%- for m in messages -%}[{{ visible(m.content) }}]{%- endfor -%}",
    "last query index": "{%- set ns = namespace(multi=true, last=messages|length - 1) -%}"
                        "{%- for m in messages[::-1] -%}{%- set index = (messages|length - 1) - loop.index0 -%}"
                        "{%- if ns.multi and m.role == 'user' and m.content is string -%}{%- set ns.multi = false -%}"
                        "{%- set ns.last = index -%}{%- endif -%}{%- endfor -%}{{ ns.last }}",
    "loop cycle and changed": "{% for m in messages %}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}{% endfor %}",
    "inline if without else in concatenation": "{{ 'a' ~ ('b' if false) ~ 'c' }}",
    "indent of blocks": "{% if true %}\n    {%- for m in messages %}\n  {{ m.role }}\n    {% endfor %}\n{% endif %}\nend",
    "quotes and unicode": "{{ 'A “quoted” – dash…' }}{{ '◁think▷' }}{{ '<｜User｜>' }}",
    "negative numbers": "{{ -1 }}{{ - 2 + 5 }}{{ [1, 2, 3][-2] }}{{ 1 - -1 }}",
    "index out of range": "[{{ [1][5] }}{{ messages[9] }}]",
    "attribute of index out of range": "{{ messages[9].role }}",
    "carriage returns": "a\r\nb\r\n",
}


def main():
    cases = []
    for name, template in SNIPPETS.items():
        case = {"name": name, "template": template}
        try:
            case["text"] = _compile_jinja_template(template).render(**CONTEXT)
        except Exception as error:  # any refusal counts; its words are Python's own
            case["error"] = str(error)
        cases.append(case)
    out = {
        "made_by": f"transformers {transformers.__version__}, jinja2 {jinja2.__version__}",
        "context": CONTEXT,
        "cases": cases,
    }
    path = pathlib.Path(__file__).with_name("features.json")
    path.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")


main()
