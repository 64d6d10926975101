"""Makes python.json and dates.json: what Python and Jinja2 give to templates in transformers' environment, beyond features.json.

Run: TZ=UTC LC_ALL=C python make_python.py   (writes both files beside itself; needs transformers and jinja2, on Linux with glibc,
whose `strftime` Python calls)
"""

import datetime
import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

CONTEXT = {
    "text": "The quick brown fox, jumps over\tthe  lazy dog.\nAnd again",
    "word": "straße",
    "empty": "",
    "list": ["b", "A", "c", "a"],
    "numbers": [3, 1.5, -2, True, 0],
    "people": [
        {"name": "Bo", "age": 3, "tags": ["x"]},
        {"name": "al", "age": 1, "tags": []},
        {"name": "Cy", "age": 3, "tags": ["x", "y"]},
    ],
    "map": {"b": 1, "a": [2, None], "C": {"d": "e f&g/h"}},
    "none": None,
}

# Each is an expression; printed in `{{ }}`.
EXPRESSIONS = r"""
'%s: %02d' % ('n', 5)
'%s' % 'a'
'%s' % 5
'%s' % none
'%s' % [1, 'a']
'%s' % (map,)
'%s %s' % ('a', 1.0)
'%r %r' % ('it\'s', 'a')
'%a' % 'é😀'
'%5s|%-5s|%.2s|%5.1s|' % ('ab', 'ab', 'abc', 'xyz')
'%05d|%+d|% d|%-5d|%5d|%+05d' % (42, 42, 42, 42, 42, -42)
'%d' % 3.99
'%d' % -3.99
'%d' % true
'%i %u' % (1, 2)
'%x %X %#x %o %#o %08x' % (255, 255, 255, 8, 8, 48879)
'%x' % -255
'%f %.2f %.0f %8.3f|%-8.1f|%+.1f' % (1.5, 2.345, 2.5, 3.14159, 2.25, 7)
'%e %.2E %g %G %g %g %g' % (12345.678, 0.00012, 0.0001, 1e-10, 1e20, 100000, 1234567)
'%#.3g %#.0f %010.3f %g' % (1.0, 2.0, -3.14159, 0.1)
'%f %F %e' % (1e400, -1e400, 1e400)
'%c%c' % ('a', 98)
'%c' % 'ab'
'100%% of %s' % 'it'
'%%' % ()
'%s' % ()
'%s %s' % 'a'
'%s' % ('a', 'b')
'no fields' % 'a'
'no fields' % ()
'no fields' % {}
'no fields' % []
'no fields' % [1]
'%(b)s-%(C)s' % map
'%(b)05d %(b)s' % map
'%(missing)s' % map
'%(b)s' % 'a'
'%d' % 'a'
'%f' % 'a'
'%*d|%-*d|%.*f' % (5, 42, 4, 7, 2, 3.14159)
'%*s' % ('a', 'b')
'%y' % 1
'%' % 1
'%ld %hd' % (1, 2)
'%s' % true
5 % 3
-5 % 3
5 % -3
5.5 % 2
-5.5 % 2
true % 2
5 % 0
'a' ~ 5 % 3
2 * 7 % 4
7 % 4 * 2
2 ** 3 % 5
-7 % 3
(7 % 4) % 2
'%s' % 'a' ~ 'b'
'%s%s' % ('a', 'b') + 'c'
('%s' % 'x')|upper
list|length % 3
'%d items' % list|length
'a' % 5
5 % 'a'
[1] % 2
'%s' % (1, 2)[0]
'%-10s|' % 'é'
'%.3s' % 'éàü€'
'%s and %s' % (list[0], people[0].name)
'%.10d' % 42
'%+.3d' % 42
'%#X' % 3054
'a,b,c'.rsplit(',', 1)
'a,b,c'.rsplit(',')
'a,b,c'.rsplit(',', maxsplit=1)
' a  b  c '.rsplit()
' a  b  c '.rsplit(none, 1)
' a  b  c '.split(none, 1)
' a  b  c '.split(maxsplit=1)
'a,b,c'.split(sep=',', maxsplit=1)
''.split()
''.split(',')
'abc'.split('')
'a--b--c'.rsplit('--', 1)
'aaa'.split('aa')
'aaa'.rsplit('aa')
'a\x1cb\x85c d'.split()
'\x1f a \x1c'.strip()
'abc'.index('b')
'abc'.index('x')
'abcabc'.index('b', 2)
'abcabc'.find('b', 2)
'abcabc'.find('b', 2, 4)
'abcabc'.find('b', -2)
'abcabc'.rfind('b', 0, 3)
'abcabc'.rindex('b')
'abc'.rindex('x')
'éàé'.index('é', 1)
'abcabc'.count('b', 2)
'abc'.count('')
'abc'.find('')
'abc'.rfind('')
'abc'.find('', 4)
['a', 'b'].index('b')
['a', 'b'].index('x')
['a', 'b', 'a'].index('a', 1)
('a', 'b').index('b')
('a', 'b', 'a').count('a')
[1, 2, 1].count(1)
['a'].copy()
{'a': 1}.copy()
'7'.zfill(3)
'-7'.zfill(4)
'+7'.zfill(4)
'abc'.zfill(2)
''.zfill(2)
'ab'.ljust(5) ~ '|'
'ab'.ljust(5, '*')
'ab'.rjust(5)
'ab'.rjust(5, '*')
'ab'.rjust(1)
'ab'.ljust(5, '**')
'ab'.center(5)
'ab'.center(6, '*')
'abc'.center(6, '*')
'a'.center(4, '*')
'ab'.center(5, '*')
'é'.center(3, 'ü')
'ab\tc\n\td'.expandtabs()
'ab\tc'.expandtabs(4)
'a\tb'.expandtabs(0)
'a\tb'.expandtabs(tabsize=2)
'aBc'.swapcase()
'Straße'.casefold()
word.upper()
'ŉ'.upper()
'ab cd-ef gh\'s'.title()
'they\'re bill\'s'.title()
'x1y a2b'.title()
'ab CD'.capitalize()
'ß'.capitalize()
'Ab Cd'.istitle()
'AB'.istitle()
'a1'.isidentifier()
'1a'.isidentifier()
'ab'.isprintable()
'a\n'.isprintable()
'12'.isdecimal()
'²'.isdecimal()
'²'.isdigit()
'½'.isdigit()
'½'.isnumeric()
'ab1'.isalnum()
'ab'.isalpha()
''.isalpha()
' \t'.isspace()
'\x1c'.isspace()
''.isspace()
'ab'.islower()
'aB'.islower()
'AB1'.isupper()
'é'.isascii()
''.isascii()
'a\nb\r\nc\x0bd\x85e\u2028f'.splitlines()
'a\nb\r\n'.splitlines(true)
'a\nb\n\n'.splitlines(keepends=true)
''.splitlines()
'\n'.splitlines()
'abc'.startswith('b', 1)
'abc'.endswith('b', 0, 2)
'abc'.startswith(('x', 'a'))
'abc'.startswith(['x', 'a'])
'abc'.startswith('')
'abc'.startswith('', 4)
'aXbX'.replace('X', '-', 1)
'abc'.replace('', '-')
'abc'.replace('', '-', 2)
'{} {}'.format('a', 1)
'{0} {1} {0}'.format('a', 'b')
'{a[b]} {a.b}'.format(a=map)
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:05d} {:+} {:,} {:x} {:b} {:.2f} {:e} {:%}'.format(42, 1, 1234567, 255, 5, 2.345, 1234.5, 0.25)
'{!r} {!s}'.format('a', 'b')
'{{}}'.format()
'{}'.format(none)
'{}'.format()
'{b}'.format_map(map)
'-'.join(['a', 'b'])
'-'.join('abc')
'-'.join([1, 2])
'-'.join({'a': 1, 'b': 2})
'abcabc'.strip('ac')
'abc'.lstrip('ba')
'abc'.rstrip('bc')
'a=b'.partition('=')
'a=b'.partition('')
'ab'.removeprefix('a')
'ab'.encode()
'abc'.translate({97: 'x', 98: none})
(5).bit_length()
(2.0).is_integer()
(2.5).is_integer()
map.get('x', 5)
map.keys()|list
map.values()|list
map.items()|list
map.pop('b')
map.update({'z': 1})
map.setdefault('z', 1)
map.clear()
list.append('z')
list.insert(0, 'z')
list.sort()
list.reverse()
list.pop()
list.remove('a')
list.extend(['z'])
dict.fromkeys(['a', 'b'], 0)
dict(a=1, **{'b': 2})
dict([('a', 1), ['b', 2]])
text|wordcount
'one two'|wordcount
'it\'s a-b c_d'|wordcount
''|wordcount
'élan vital 日本'|wordcount
text|truncate(20)
text|truncate(20, true)
text|truncate(20, killwords=true, end='')
text|truncate(length=9, leeway=0)
text|truncate(9, false, '…', 0)
text|truncate(48)
'abcdefghij'|truncate(7)
'abcdefghij'|truncate(5)
'abcdefghij'|truncate(5, leeway=4)
text|truncate
('word '*60)|truncate
text|truncate(2)
text|truncate(10, leeway=-1)
'abcdefghijkl'|truncate(6, leeway=0)
'a b/c?d&e=f+é~_.-'|urlencode
map|urlencode
[('a b', 'c d'), ('e', '/')]|urlencode
5|urlencode
none|urlencode
['ab', 'cd']|urlencode
'x'|center(5) ~ '|'
'x'|center|length
'xy'|center(width=5) ~ '|'
5|center(3)
text|indent
text|indent(2, true)
text|indent(width='> ', first=true)
'a\n\nb\n'|indent(2)
'a\n\nb\n'|indent(2, blank=true)
'a\n\nb'|indent(2, false, true)
''|indent(2, true)
'a\r\nb'|indent(1)
text|replace('the', 'a', 1)
'aaa'|replace('a', 'b', count=2)
'aaa'|replace('a', 'b')
5|replace('5', '6')
'ab'|replace('', '-')
text|title
'foo-bar (baz) [qux] {x} <y> it\'s'|title
'HELLO wORLD'|capitalize
'xxaxx'|trim('x')
' a '|trim(chars=' ')
5|trim
nothing|default('x')
''|default('x', true)
''|default('x', boolean=true)
''|default('x', boolean=false)
nothing|default(default_value='z')
nothing|d
none|default('x')
list|join(', ')
people|join(', ', attribute='name')
people|join(d='-', attribute='age')
[1, none, 1.0, 'a']|join('|')
nothing|first
nothing|last
[]|first
[]|last
''|first
'abc'|first
'abc'|last
list|first
map|first
list|sort
list|sort(reverse=true)
list|sort(true)
list|sort(case_sensitive=true)
people|sort(attribute='age,name')|map(attribute='name')|list
people|sort(attribute='name')|map(attribute='name')|list
list|unique|list
['a', 'A', 'b']|unique|list
['a', 'A', 'b']|unique(true)|list
people|unique(attribute='age')|map(attribute='name')|list
list|min
list|max
people|max(attribute='age')
[]|min
numbers|sum
people|sum(attribute='age')
people|sum('age', 10)
numbers|select('odd')|list
numbers|reject|list
people|map(attribute='age', default=0)|list
people|map(attribute='size', default='none')|list
people|map(attribute='tags.0')|list
people|selectattr('tags')|map(attribute='name')|list
people|rejectattr('age', 'gt', 1)|map(attribute='name')|list
list|map('center', 3)|list
list|map('upper')|join
[1, 2, 3, 4, 5]|batch(2)|list
[1, 2, 3, 4, 5]|batch(2, 'x')|list
[1, 2, 3, 4, 5]|slice(3)|list
[1, 2, 3, 4, 5]|slice(3, 'x')|list
[1, 2]|slice(4)|list
[1, 2]|slice(4, 'x')|list
[]|batch(3)|list
map|dictsort
map|dictsort(true)
map|dictsort(reverse=true)
{'a': 2, 'b': 1}|dictsort(by='value')
{'a': 2, 'b': 1}|dictsort(false, 'value')
people|groupby('age')|length
people|groupby('age')|map(attribute='grouper')|list
people|groupby('age')|map('first')|list
42.55|round(1)
42.55|round
2.5|round
-2.5|round
42.11|round(1, 'ceil')
42.19|round(1, 'floor')
42|round
1234|round(-2)
'3.7'|int
'x'|int
'x'|int(5)
'x'|int(default=7)
'0x1f'|int(base=16)
'1f'|int(0, 16)
none|int
3.99|int
'3.5'|float
'x'|float
'x'|float(1.5)
5|float
1e16|string
1e-5|string
[1e16, 1e-5, 1.0]|string
true|string
none|string
'a'|string
[nothing]|string
'ab'|list
map|list
'cba'|reverse
[1, 2]|reverse|list
-5|abs
1.5|abs
13|filesizeformat
1000|filesizeformat
1024|filesizeformat(true)
123456789|filesizeformat
1|filesizeformat
1500000000000000000000000000000|filesizeformat
1234567|filesizeformat(binary=true)
'<b>&\'"'|forceescape
'<b>&\'"'|escape
{'class': 'a b', 'id': none, 'x': '<'}|xmlattr
{'class': 'a'}|xmlattr(false)
'<p>a <b>b</b>\n  c &amp; d</p><!-- x -->'|striptags
'The quick brown fox jumps'|wordwrap(10)
'The quick brown fox jumps'|wordwrap(10, wrapstring='|')
'abcdefghijklmnop qr'|wordwrap(5)
'abcdefghijklmnop qr'|wordwrap(5, false)
'a\nbb cc dd\n\ne'|wordwrap(5)
'semi-automatic well-known'|wordwrap(8)
'semi-a wells-b z-yz'|wordwrap(6)
map|pprint
'a'|pprint
[1, 'a', none]|pprint
'%s %s'|format('a', 1)
'%(b)s'|format(**map)
'%d'|format(3.7)
'%s'|format
map|items|list
nothing|items|list
list|attr('x')
list|count
text|upper
text|lower
'a' is callable
dict is callable
raise_exception is callable
5 is divisibleby(2)
5 is divisibleby 5
4 is even
'a' is lower
'AB' is upper
'a' is in 'abc'
2 is eq 2
'upper' is filter
'nope' is filter
'even' is test
none is sameas none
5 is number
true is number
true is integer
1.0 is integer
1.5 is float
{} is mapping
'x' is escaped
5 is ge 5
5 is lessthan 6
cycler('a', 'b').next()
cycler('a', 'b').current
cycler()
joiner() ~ joiner('|')
joiner(', ')()
namespace(a=1).a
namespace({'a': 1}, b=2).b
namespace(a=1).missing is defined
range(3)|list
range(5, 0, -2)|list
range(0)|list
range(3)|length
range(100001)
(range(3))[1]
'abc'[1]
'abc'[-1]
'abc'[5]
'abc'[::2]
'abc'[::-1]
[][::-1]
''[::-1]
[1, 2, 3][::-1]
[1, 2, 3][5:]
'abcdef'[-2:]
'abcdef'[:-7]
'abcdef'[4:1:-1]
'abcdef'[-1:-4:-1]
[1, 2, 3][-1:-3:-1]
[1, 2, 3, 4, 5][1::2]
[1, 2, 3, 4, 5][:4:3]
[1, 2, 3, 4, 5][-9:9:2]
[1, 2, 3, 4, 5][9:-9:-2]
(1, 2, 3)[::-1]
'aéb'[::-1]
'abc'[::0]
list[1 + 0:list|length:2 - 1]
[[1, 2], [3]][::-1][0][::-1]
[1, 2] + [3]
(1, 2) + (3,)
[1] * 3
'ab' * 3
3 * 'ab'
[1, 2] == [1, 2]
'a' < 'B'
[1, 2] < [1, 3]
not none
1 in [1.0]
'a' in map
'x' in none
1 if false
(1 if false) is undefined
1.0
1e3
1e100
0.1 + 0.2
10 / 4
10 / 5
7 // 2
-7 // 2
7.5 // 2
2 ** 10
2 ** -1
2 ** 0.5
10 ** 20
1_000
none
[none, true, 1.0, 'a', {'b': (1,)}]
(1,)
()
{}
[]
{'a': 'it\'s', 2: "q\"'"}
'\x00\x1f\x7f\u200b'|pprint
['\x00\x1f\x7f\u200b\xa0é\\']
"a" "b" ~ 'c'
map.b
map['a'][0]
map.C.d
map.items
people[0].name.upper().lower()
people|map(attribute='name')|map('lower')|sort|join
people|map(attribute='name')
list|select('in', ['a', 'b'])
loop
caller
""".strip().splitlines()

# Whole templates.
TEMPLATES = {
    "cycler in a loop": "{% set c = cycler('odd', 'even') %}{% for x in list %}{{ c.next() }} {% endfor %}{{ c.current }}{% set _ = c.reset() %}{{ c.current }}",
    "joiner in a loop": "{% set comma = joiner(', ') %}{% for x in list %}{{ comma() }}{{ x }}{% endfor %}",
    "joiner without words": "{% set comma = joiner() %}{{ comma() }}{{ comma() }}{{ comma() }}",
    "namespace from a map": "{% set ns = namespace(map, extra=1) %}{{ ns.b }}{{ ns.extra }}{% set ns.b = 7 %}{{ ns.b }}",
    "namespace item": "{% set ns = namespace(a=1) %}{{ ns['a'] }}",
    "percent in a set": "{% set line = '%-6s|%4.1f' % ('ab', 2.25) %}{{ line }}",
    "percent over several lines": "{{ '%s-%s' % (\n  'a',\n  'b'\n) }}",
    "percent with names": "{{ '%(name)s is %(age)d' % people[0] }}",
    "percent in a condition": "{% if loop_index|default(3) % 2 == 1 %}odd{% endif %}",
    "percent in a filter's argument": "{{ list|join(' %s ' % '+') }}",
    "percent of a percent": "{{ '%%%s' % 'd' % 5 }}",
    "percent in brackets": "{{ list[7 % 4] }}{{ {'a': 5 % 3}['a'] }}{{ [4 % 3, '%s' % 1] }}",
    "percent near tags": "{%- if 5 % 3 == 2 -%}x{%- endif -%}",
    "percent with unary": "{{ -5 % 3 }}{{ not 4 % 2 }}{{ 5 % -3 }}",
    "percent and comparison": "{% for x in list %}{{ 'a' if loop.index0 % 2 == 0 else 'b' }}{% endfor %}",
    "long concatenation": "{{ " + " ~ ".join(f"'{i}'" for i in range(80)) + " }}",
    "long sum": "{{ " + " + ".join(str(i) for i in range(80)) + " }}",
    "long chain of filters": "{{ 'a'" + "|trim" * 100 + " }}",
    "many elif": "{% set x = 60 %}{% if x == 0 %}0" + "".join(f"{{% elif x == {i} %}}{i}" for i in range(1, 80)) + "{% endif %}",
    "groupby pairs": "{% for age, group in people|groupby('age') %}{{ age }}:{{ group|map(attribute='name')|join(',') }};{% endfor %}",
    "groupby attributes": "{% for g in people|groupby('age') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}",
    "groupby with default": "{% for k, g in people|groupby('size', default='-') %}{{ k }}{{ g|length }}{% endfor %}",
    "loop depth": "{% for a in [1] %}{{ loop.depth }}{{ loop.depth0 }}{{ loop.revindex }}{% endfor %}",
    "call with arguments": "{% macro list_of(items) %}{% for i in items %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) list_of(list) %}<{{ x }}>{% endcall %}",
    "macro varargs": "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}",
    "macro attributes": "{% macro f(a, b=1) %}{% endmacro %}{{ f.name }}",
    "filter block with arguments": "{% filter replace('a', 'b') %}banana{% endfilter %}{% filter center(7) %}x{% endfilter %}|",
    "set block with a filter": "{% set x | upper %}ab{% endset %}{{ x }}",
    "do is unknown": "{% do 1 %}",
    "include is unknown": "{% include 'x' %}",
    "line breaks in strings": "{{ 'a\nb' }}",
    "escapes": r"{{ '\n\t\\\'\"\x41\u00e9\101' }}",
    "comparison of times": "{% if strftime_now('%Y')|int > 2000 %}y{% endif %}{{ strftime_now('%f')|length }}{{ strftime_now('%Z%z') }}|",
    "loop over text": "{% for c in 'aé' %}[{{ c }}]{% endfor %}",
    "loop unpacks": "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "set unpacks": "{% set a, b = [1, 2] %}{{ a }}{{ b }}",
    "autoescape tag": "{% autoescape true %}{{ '<' }}{% endautoescape %}",
    "debug is unknown": "{{ debug() }}",
    "private attributes": "{{ ''.__class__ }}",
    "private attributes of maps": "{{ map.__class__ is defined }}",
    "empty braces": "{{ }}",
}

DATES = ["2024-07-05T09:03:07.000042", "2023-01-01T00:00:00", "2024-12-30T23:59:59.999999", "1999-12-31T12:30:00.5",
         "2020-02-29T13:05:09.123456", "2021-01-03T01:02:03", "0987-06-05T04:03:02"]
DIRECTIVES = [f"%{letter}" for letter in "aAbBcCdDeFgGhHIjklmMnpPrRSstTuUVwWxXyYzZ%f"]
FORMATS = DIRECTIVES + [
    "%-d", "%-m", "%-H", "%-I", "%-j", "%-y", "%_d", "%_m", "%_H", "%_j", "%0e", "%-e", "%^a", "%^B", "%#p", "%#a", "%#Z", "%5d", "%05d",
    "%_5d", "%-5d", "%10Y", "%10A", "%^10A", "%010A", "%Ey", "%Od", "%EY", "%OH", "%E%", "%!", "%Q", "%i", "%", "a%", "%-", "%5", "%E",
    "%d %B %Y", "%A, %-d %b", "%Y-%m-%dT%H:%M:%S.%fZ", "%%d", "%%%d", "", "née %Y – fin", "%I:%M %p", "%-I:%M%P", "%f%f", "%3f", "%-f",
    "%:z", "%+", "%L", "%N", "%J", "%v", "%E5d", "%_e", "%-l", "%-k", "%0k", "%0l", "%_y", "%_G", "%-S", "%_n", "%3n", "%-U", "%_W", "%-V",
    "%-F", "%_F", "%12F", "%^x", "%012D", "%12T", "%^c", "%-C", "%_C", "%3C", "%5s",
]


def render(template):
    try:
        return {"text": _compile_jinja_template(template).render(**CONTEXT)}
    except Exception as error:  # any refusal counts; its words are Python's own
        return {"error": f"{type(error).__name__}: {error}"}


def write(name, value):
    path = pathlib.Path(__file__).with_name(name)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main():
    made_by = f"transformers {transformers.__version__}, jinja2 {jinja2.__version__}"
    templates = {expression: f"{{{{ {expression} }}}}" for expression in EXPRESSIONS} | TEMPLATES
    cases = [{"name": name, "template": template} | render(template) for name, template in templates.items()]
    for case in cases:  # addresses differ from run to run
        if " at 0x" in case.get("text", ""):
            case["text"] = None
    write("python.json", {"made_by": made_by, "context": CONTEXT, "cases": cases})
    dates = []
    for iso in DATES:
        date = datetime.datetime.fromisoformat(iso)
        dates.append({"date": iso, "texts": {form: date.strftime(form) for form in FORMATS}})
    write("dates.json", {"made_by": "Python's datetime.strftime over glibc, LC_ALL=C, TZ=UTC", "dates": dates})


main()
