//! Puts the check into a template's text, behind each operation that can make something large.

use minijinja::Error;
use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Slice, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::syntax::SyntaxConfig;

use super::{CHECK, LARGEST, REMAINDER, SLICE, size, too_large};

/// In a chain of operations each this many are checked once. A check is a pair of brackets more, and the engine's parser takes only so
/// many within each other.
const EVERY: usize = 16;

/// The template with checks in it. One that cannot be parsed stays as it is: the compiler says why.
pub fn with_checks(template: &str) -> Result<String, Error> {
    let Ok(parsed) = parse(template, "", SyntaxConfig::default()) else {
        return Ok(template.to_owned());
    };
    let mut checks = Checks {
        template,
        insertions: Vec::new(),
        constants: 0,
    };
    checks.statement(&parsed)?;
    // Of checks that end in one place the inner one comes first: they were found in that order, and sorting keeps it.
    checks
        .insertions
        .sort_by_key(|insertion| (insertion.at, !insertion.closes));
    let mut text = String::with_capacity(template.len() + checks.insertions.len() * 12);
    let mut done = 0;
    for insertion in checks.insertions {
        text.push_str(&template[done..insertion.at]);
        text.push_str(&insertion.text);
        done = insertion.at + insertion.instead_of;
    }
    text.push_str(&template[done..]);
    Ok(text)
}

/// The longest text between tags that goes into a value, and not into what is rendered.
pub fn longest_captured(template: &str) -> usize {
    let parsed = parse(template, "", SyntaxConfig::default());
    parsed.map_or(0, |parsed| captured(&parsed, false))
}

fn captured(statement: &Stmt<'_>, within: bool) -> usize {
    let all = |statements: &[Stmt<'_>], within| {
        let each = statements.iter().map(|statement| captured(statement, within));
        each.max().unwrap_or(0)
    };
    match statement {
        Stmt::EmitRaw(text) if within => text.raw.len(),
        Stmt::Template(template) => all(&template.children, within),
        Stmt::ForLoop(each) => all(&each.body, within).max(all(&each.else_body, within)),
        Stmt::IfCond(condition) => all(&condition.true_body, within).max(all(&condition.false_body, within)),
        Stmt::WithBlock(with) => all(&with.body, within),
        Stmt::AutoEscape(escape) => all(&escape.body, within),
        Stmt::SetBlock(set) => all(&set.body, true),
        Stmt::FilterBlock(block) => all(&block.body, true),
        Stmt::Macro(definition) => all(&definition.body, true),
        Stmt::CallBlock(block) => all(&block.macro_decl.body, true),
        _ => 0,
    }
}

/// What goes into the text.
struct Insertion {
    at: usize,
    /// Whether it belongs to what ends there, not to what begins there.
    closes: bool,
    text: String,
    /// Bytes of the template that it takes the place of.
    instead_of: usize,
}

/// Where checks go.
struct Checks<'a> {
    template: &'a str,
    insertions: Vec<Insertion>,
    constants: usize,
}

impl Checks<'_> {
    fn insert(&mut self, at: u32, closes: bool, text: impl Into<String>) {
        self.insertions.push(Insertion {
            at: at as usize,
            closes,
            text: text.into(),
            instead_of: 0,
        });
    }

    /// Around an operation. A filter binds tighter than any operator, so no more brackets are needed.
    fn around(&mut self, span: Span) {
        self.insert(span.start_offset, false, "(");
        self.insert(span.end_offset, true, format!(")|{CHECK}"));
    }

    /// Around what makes nothing, but can take long; `first` is its first operand, and its span tells its end only. What the compiler computes is
    /// computed once.
    fn timed(&mut self, expression: &Expr<'_>, first: &Expr<'_>, span: Span) {
        if expression.as_const().is_none() {
            self.insert(begin_of(first), false, "(");
            self.insert(span.end_offset, true, format!(")|{CHECK}"));
        }
    }

    /// Operations one upon the other; `above` counts those since the last check. A chain of sums is checked now and then, since each
    /// of its values was checked; a product can be large at once.
    fn operation(&mut self, expression: &Expr<'_>, above: usize) -> Result<(), Error> {
        let Expr::BinOp(binary) = expression else {
            return self.expression(expression);
        };
        let grows = matches!(binary.op, BinOpKind::Add | BinOpKind::Mul | BinOpKind::Concat);
        self.operation(&binary.left, if grows { above + 1 } else { 0 })?;
        let operator = (matches!(binary.op, BinOpKind::Rem) && !is_number(&binary.left))
            .then(|| self.operator(binary.left.span(), binary.right.span()))
            .flatten();
        if let Some(at) = operator {
            self.insert(binary.span().start_offset, false, "(");
            self.replace(at, format!(")|{REMAINDER}("));
        }
        self.expression(&binary.right)?;
        if operator.is_some() {
            self.insert(binary.span().end_offset, true, ")");
        }
        if compares(binary.op) {
            self.timed(expression, &binary.left, binary.span());
        }
        if grows {
            self.constant(expression)?;
            if above.is_multiple_of(EVERY) || matches!(binary.op, BinOpKind::Mul) {
                self.around(binary.span());
            }
        }
        Ok(())
    }

    /// A slice. One with a step other than 1 becomes a filter: the engine's own does not count backwards as Python does.
    fn slice(&mut self, slice: &Slice<'_>, span: Span) -> Result<(), Error> {
        self.expression(&slice.expr)?;
        let places = slice
            .step
            .as_ref()
            .and_then(|step| self.slice_places(slice, step, span));
        let Some([open, first, second, close]) = places else {
            for part in [&slice.start, &slice.stop, &slice.step] {
                self.optional(part.as_ref())?;
            }
            // An item may be asked for right behind it.
            self.insert(span.start_offset.min(leftmost(&slice.expr)), false, "((");
            self.insert(span.end_offset, true, format!(")|{CHECK})"));
            return Ok(());
        };
        let absent = |part: &Option<Expr<'_>>| if part.is_none() { "none" } else { "" };
        // An item may be asked for right behind it.
        let start = span.start_offset.min(leftmost(&slice.expr));
        self.insert(start, false, "((");
        self.replace(open, format!(")|{SLICE}({}", absent(&slice.start)));
        self.optional(slice.start.as_ref())?;
        self.replace(first, format!(",{}", absent(&slice.stop)));
        self.optional(slice.stop.as_ref())?;
        self.replace(second, ",".to_owned());
        self.optional(slice.step.as_ref())?;
        self.replace(close, "))".to_owned());
        Ok(())
    }

    /// Where the brackets and the colons of a slice are.
    fn slice_places(&self, slice: &Slice<'_>, step: &Expr<'_>, span: Span) -> Option<[usize; 4]> {
        let find = |from: usize, to: usize, sign: char| {
            let between = self.template.get(from..to)?;
            between.find(sign).map(|at| from + at)
        };
        let begin = |part: &Expr<'_>| part.span().start_offset as usize;
        let end = |part: &Expr<'_>| part.span().end_offset as usize;
        let first_part = slice.start.as_ref().or(slice.stop.as_ref()).unwrap_or(step);
        let open = find(end(&slice.expr), begin(first_part), '[')?;
        let after_start = slice.start.as_ref().map_or(open + 1, end);
        let first = find(after_start, slice.stop.as_ref().map_or(begin(step), begin), ':')?;
        let after_stop = slice.stop.as_ref().map_or(first + 1, end);
        let second = find(after_stop, begin(step), ':')?;
        let close = find(end(step), span.end_offset as usize, ']')?;
        Some([open, first, second, close])
    }

    /// In place of one sign.
    fn replace(&mut self, at: usize, text: String) {
        self.insertions.push(Insertion {
            at,
            closes: true,
            text,
            instead_of: 1,
        });
    }

    /// Where between two operands the sign `%` is.
    fn operator(&self, left: Span, right: Span) -> Option<usize> {
        let (start, end) = (left.end_offset as usize, right.start_offset as usize);
        let mut signs = self.template.get(start..end)?.match_indices('%');
        let (at, _) = signs.next()?;
        signs.next().is_none().then_some(start + at)
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) -> Result<(), Error> {
        statements
            .iter()
            .try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Result<(), Error> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::ForLoop(each) => {
                self.expression(&each.iter)?;
                self.optional(each.filter_expr.as_ref())?;
                self.statements(&each.body)?;
                self.statements(&each.else_body)
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr)?;
                self.statements(&condition.true_body)?;
                self.statements(&condition.false_body)
            }
            Stmt::WithBlock(with) => {
                with.assignments
                    .iter()
                    .try_for_each(|(_, value)| self.expression(value))?;
                self.statements(&with.body)
            }
            Stmt::Set(set) => self.expression(&set.expr),
            Stmt::SetBlock(set) => {
                self.optional(set.filter.as_ref())?;
                self.statements(&set.body)
            }
            Stmt::AutoEscape(escape) => self.statements(&escape.body),
            Stmt::FilterBlock(block) => {
                self.expression(&block.filter)?;
                self.statements(&block.body)
            }
            Stmt::Macro(definition) => {
                self.expressions(&definition.defaults)?;
                self.statements(&definition.body)
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call)?;
                self.statements(&block.macro_decl.body)
            }
            Stmt::Do(call) => self.call(&call.call),
            // Text, `break` and `continue`; other templates are not there to be included.
            _ => Ok(()),
        }
    }

    fn expressions(&mut self, expressions: &[Expr<'_>]) -> Result<(), Error> {
        expressions
            .iter()
            .try_for_each(|expression| self.expression(expression))
    }

    fn optional(&mut self, expression: Option<&Expr<'_>>) -> Result<(), Error> {
        expression.map_or(Ok(()), |expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &Expr<'_>) -> Result<(), Error> {
        match expression {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::Slice(slice) => self.slice(slice, slice.span())?,
            Expr::UnaryOp(unary) => self.expression(&unary.expr)?,
            Expr::BinOp(_) => self.operation(expression, 0)?,
            Expr::Compare(compare) => {
                self.expression(&compare.expr)?;
                compare.ops.iter().try_for_each(|op| self.expression(&op.expr))?;
                self.timed(expression, &compare.expr, compare.span());
            }
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr)?;
                self.expression(&choice.true_expr)?;
                self.optional(choice.false_expr.as_ref())?;
            }
            Expr::Filter(filter) => {
                self.optional(filter.expr.as_ref())?;
                self.arguments(&filter.args)?;
                self.insert(filter.span().end_offset, true, format!("|{CHECK}"));
            }
            Expr::Test(test) => {
                self.expression(&test.expr)?;
                self.arguments(&test.args)?;
                self.timed(expression, &test.expr, test.span());
            }
            Expr::GetAttr(get) => self.expression(&get.expr)?,
            Expr::GetItem(get) => {
                self.expression(&get.expr)?;
                self.expression(&get.subscript_expr)?;
            }
            Expr::Call(call) => self.call(call)?,
            Expr::List(list) => self.collection(expression, list.span(), &list.items)?,
            Expr::Tuple(tuple) => self.expressions(&tuple.items)?,
            Expr::Map(map) => {
                self.expressions(&map.keys)?;
                self.collection(expression, map.span(), &map.values)?;
            }
        }
        Ok(())
    }

    /// A list or a map: checked unless it is the same each time.
    fn collection(&mut self, expression: &Expr<'_>, span: Span, items: &[Expr<'_>]) -> Result<(), Error> {
        self.expressions(items)?;
        if expression.as_const().is_none() {
            // An item may be asked for right behind it.
            self.insert(span.start_offset, false, "((");
            self.insert(span.end_offset, true, format!(")|{CHECK})"));
        }
        Ok(())
    }

    fn call(&mut self, call: &Call<'_>) -> Result<(), Error> {
        self.expression(&call.expr)?;
        self.arguments(&call.args)
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) -> Result<(), Error> {
        arguments.iter().try_for_each(|argument| match argument {
            CallArg::Pos(value)
            | CallArg::Kwarg(_, value)
            | CallArg::PosSplat(value)
            | CallArg::KwargSplat(value) => self.expression(value),
        })
    }

    /// What is the same each time is computed by the compiler, and kept.
    fn constant(&mut self, expression: &Expr<'_>) -> Result<(), Error> {
        if let Some(value) = expression.as_const() {
            self.constants += size(&value)?;
        }
        if self.constants > 4 * LARGEST {
            Err(too_large(4 * LARGEST))
        } else {
            Ok(())
        }
    }
}

/// Where an expression begins. The engine has what follows a first item or attribute begin there.
fn leftmost(expression: &Expr<'_>) -> u32 {
    let inner = match expression {
        Expr::Slice(slice) => Some(&slice.expr),
        Expr::GetItem(get) => Some(&get.expr),
        Expr::GetAttr(get) => Some(&get.expr),
        Expr::Call(call) => Some(&call.expr),
        _ => None,
    };
    let own = expression.span().start_offset;
    inner.map_or(own, |inner| own.min(leftmost(inner)))
}

/// Where an expression begins, or within the brackets with which it begins. What the engine says of comparisons, filters and tests is where
/// something in them begins.
fn begin_of(expression: &Expr<'_>) -> u32 {
    match expression {
        Expr::BinOp(binary) => begin_of(&binary.left),
        Expr::Compare(compare) => begin_of(&compare.expr),
        Expr::IfExpr(choice) => begin_of(&choice.true_expr),
        Expr::Test(test) => begin_of(&test.expr),
        Expr::Filter(filter) => {
            let inner = filter.expr.as_ref();
            inner.map_or(filter.span().start_offset, begin_of)
        }
        Expr::Slice(slice) => begin_of(&slice.expr),
        Expr::GetItem(get) => begin_of(&get.expr),
        Expr::GetAttr(get) => begin_of(&get.expr),
        Expr::Call(call) => begin_of(&call.expr),
        other => other.span().start_offset,
    }
}

fn compares(op: BinOpKind) -> bool {
    use BinOpKind::{Eq, Gt, Gte, In, Lt, Lte, Ne};
    matches!(op, Eq | Ne | Lt | Lte | Gt | Gte | In)
}

fn is_number(expression: &Expr<'_>) -> bool {
    matches!(expression, Expr::Const(constant) if constant.value.is_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_stand_around_what_can_grow() {
        for (template, expected) in [
            ("a{{ b }}c", "a{{ b }}c"),
            ("{{ a ~ b ~ c }}", "{{ (a ~ b ~ c)|__check }}"),
            ("{{ a * 2 * 3 }}", "{{ ((a * 2)|__check * 3)|__check }}"),
            ("{{ (a + b)[0] * 2 }}", "{{ (((a + b)|__check)[0] * 2)|__check }}"),
            (
                "{{ a|trim ~ b|join('-') }}",
                "{{ (a|trim|__check ~ b|join('-')|__check)|__check }}",
            ),
            (
                "{{ 7 % 3 }}{% if a % 2 %}{% endif %}",
                "{{ 7 % 3 }}{% if (a )|__remainder( 2) %}{% endif %}",
            ),
            (
                "{{ '%s' % (a ~ 'b')%c }}",
                "{{ (('%s' )|__remainder( ((a ~ 'b')|__check)))|__remainder(c) }}",
            ),
            (
                "{{ a[::-1] }}{{ a[1:2] }}",
                "{{ ((a)|__slice(none,none,-1)) }}{{ ((a[1:2])|__check) }}",
            ),
            (
                "{{ (a ~ b)[c + 1 : d[0] : (2)].e }}",
                "{{ ((((a ~ b)|__check))|__slice((c + 1)|__check , d[0] , (2))).e }}",
            ),
            (
                "{{ a.b[::-1][0][::-1] }}",
                "{{ ((((a.b)|__slice(none,none,-1))[0])|__slice(none,none,-1)) }}",
            ),
            ("{{ -a%-b }}", "{{ (-a)|__remainder(-b) }}"),
            ("{{ [1, 'x'] }}{{ [a] }}", "{{ [1, 'x'] }}{{ (([a])|__check) }}"),
            (
                "{% set x = {'k': a - 1} %}",
                "{% set x = (({'k': a - 1})|__check) %}",
            ),
            (
                "{% filter upper %}{% endfilter %}",
                "{% filter upper|__check %}{% endfilter %}",
            ),
            (
                "{% for e in 'ü' ~ a %}{{ 'ö' ~ e }}{% endfor %}",
                "{% for e in ('ü' ~ a)|__check %}{{ ('ö' ~ e)|__check }}{% endfor %}",
            ),
            ("{{ a ~ }}", "{{ a ~ }}"),
            (
                "{% if messages[0].role == 'x' and -a is even %}{% elif 'b' not in (a ~ b)|trim %}{% endif %}",
                "{% if (messages[0].role == 'x')|__check and (-a is even)|__check %}{% elif ('b' not in ((a ~ b)|__check)|trim|__check)|__check %}{% endif %}",
            ),
            (
                "{{ not a == b and (c) < 2 < d or e is not in f }}",
                "{{ not (a == b)|__check and ((c) < 2 < d)|__check or (e is not in f)|__check }}",
            ),
        ] {
            assert_eq!(with_checks(template).unwrap(), expected);
        }
    }
}
